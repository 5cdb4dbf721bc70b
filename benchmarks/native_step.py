"""Time of the native training step by phase, of evaluation, and the share of the machine's peak in the MLP.

python benchmarks/native_step.py [--torch]     (with --torch also the eager torch reference, same batch)
"""

from __future__ import annotations

import sys
import time

import numpy as np

from igr import config
from igr.config import FAST
from igr.field import field, native
from igr.machine import processors

POINTS, STEPS, ROUNDS = 8704, 300, 7


def sphere_batch(rng: np.random.Generator) -> np.ndarray:
    """Half the points on a bumpy sphere, half near it or anywhere: the spread of a fit's batches."""
    direction = rng.normal(size=(POINTS, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    x = direction * (0.8 + 0.1 * np.sin(5 * direction[:, :1]))
    x[POINTS // 2 :] += rng.normal(0, 0.01, (POINTS - POINTS // 2, 3))
    x[-512:] = rng.uniform(-1.1, 1.1, (512, 3))
    return x.astype(np.float32)


def loss_derivatives(f: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Derivatives of mean |f| on the first half and 0.1 mean (|g| - 1)² on the second."""
    half = POINTS // 2
    df, dg = np.zeros_like(f), np.zeros_like(g)
    df[:half] = np.sign(f[:half]) / half
    length = np.sqrt((g[half:] * g[half:]).sum(1, keepdims=True))
    dg[half:] = g[half:] * (0.2 / half * (1 - 1 / np.maximum(length, 1e-6)))
    return df, dg


def multiply_adds(network: config.FeatureConfig) -> int:
    """Products and sums that the MLP's step needs for a point, value, gradient and all derivatives."""
    inputs = 3 + network.levels * network.features
    return 8 * network.width * inputs + 6 * network.width**2 + 3 * network.width


def step_times(core: native.NativeCore, batches: list[np.ndarray]) -> dict[str, float]:
    """Milliseconds of a step (forward, backward and adam) and of its phases, the least of many steps."""
    best: dict[str, float] = {}
    for i in range(STEPS):
        before = core.phase_seconds()
        start = time.perf_counter()
        f, g = core.forward(batches[i % len(batches)])
        forward = time.perf_counter() - start
        df, dg = loss_derivatives(f, g)
        start = time.perf_counter()
        core.backward(df, dg)
        core.adam(1e-3)
        step = forward + time.perf_counter() - start
        after = core.phase_seconds()
        times = {name: (after[name] - before[name]) * 1e3 for name in after} | {"step": step * 1e3}
        best = {name: min(value, best.get(name, value)) for name, value in times.items()}
    return best


def evaluation_rate(evaluate, x: np.ndarray) -> float:
    """Million points a second, best of several."""
    rates = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        evaluate(x)
        rates.append(len(x) / (time.perf_counter() - start) * 1e-6)
    return max(rates)


def make_core(threads: int, instruction_set: str) -> native.NativeCore:
    made = field.NativeField(FAST, 3, threads=threads)
    from igr.field.features import feature_levels

    n = FAST.network
    assert isinstance(n, config.FeatureConfig)
    core = native.NativeCore(
        3, feature_levels(n, 3), n.features, n.width, n.beta, n.bound, threads, instruction_set
    )
    for name, values in core.parameters().items():
        values[...] = made.core.parameters()[name]
    return core


def main() -> None:
    rng = np.random.default_rng(0)
    batches = [sphere_batch(rng) for _ in range(8)]
    grid = np.stack(np.meshgrid(*[np.linspace(-1, 1, 80)] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = np.ascontiguousarray(grid, np.float32)
    network = FAST.network
    assert isinstance(network, config.FeatureConfig)
    work = 2e-6 * multiply_adds(network) * POINTS  # 10^6 operations; divided by ms: 10^9 a second
    print(
        f"{POINTS} points, {network.levels} levels x {network.features}, 2 x {network.width}; "
        f"ms a step, least of {STEPS} steps"
    )
    wanted = [name for name in sys.argv[1:] if not name.startswith("-")] or native.instruction_sets()
    for name in wanted:
        for threads in sorted({1, processors()}):
            core = make_core(threads, name)
            times = step_times(core, batches)
            peak = native.peak_rate(name, threads)
            rate = work / times["mlp"]
            phases = "  ".join(f"{phase} {times[phase]:.2f}" for phase in native.PHASES)
            shuffled = evaluation_rate(core.evaluate, rng.permutation(grid))
            print(
                f"{name:9s} {threads} threads: step {times['step']:.2f}  {phases}  "
                f"MLP {rate:.0f} of {peak:.0f} GFLOP/s, {rate / peak:.0%}  "
                f"evaluation {evaluation_rate(core.evaluate, grid):.1f} M points/s ({shuffled:.1f} shuffled)"
            )
    if "--torch" in sys.argv:
        reference = field.make_field(FAST, 3, device="torch")
        seconds = []
        for i in range(6):
            start = time.perf_counter()
            f, g = reference.distance_and_gradient(reference.array(batches[i]), training=True)
            df, dg = loss_derivatives(f.numpy(), g.numpy())
            reference.backward(reference.array(df), reference.array(dg))
            reference.update(1e-3)
            seconds.append(time.perf_counter() - start)
        rate = evaluation_rate(lambda x: reference.distance(reference.array(x)), grid[:100000])
        print(f"torch: step {min(seconds) * 1e3:.1f}  evaluation {rate:.2f} M points/s")


if __name__ == "__main__":
    main()
