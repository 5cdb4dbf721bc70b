"""The native core against a plain float64 reference, on every instruction set of the machine."""

from __future__ import annotations

import os

import numpy as np
import pytest

from igr.config import FeatureConfig
from igr.field import native
from igr.field.features import HASH_PRIMES, Level, feature_levels

pytestmark = pytest.mark.numerical

if not native.available():
    pytest.skip(native.unavailable_reason(), allow_module_level=True)

SETS = native.instruction_sets()
BETA, BOUND = 20.0, 1.2
SIZES = [(3, 2, 64), (2, 2, 64), (3, 1, 32), (2, 4, 32), (3, 4, 64)]


def levels_for(dimension: int, features: int, count: int = 4) -> list[Level]:
    """A few levels, the coarse ones dense and the fine ones hashed."""
    config = FeatureConfig(levels=count, features=features, coarsest=4, finest=40, log2_rows=10)
    levels = feature_levels(config, dimension)
    assert not levels[0].hashed
    assert levels[-1].hashed
    return levels


FORCED = os.environ.get("IGR_INSTRUCTION_SET", "auto")
THREADS = int(os.environ.get("IGR_THREADS", "2"))


def make_core(dimension=3, *, features=2, width=64, threads=THREADS, instruction_set=FORCED, seed=0):
    core = native.NativeCore(
        dimension, levels_for(dimension, features), features, width, BETA, BOUND, threads, instruction_set
    )
    rng = np.random.default_rng(seed)
    for name, values in core.parameters().items():
        scale = {"table": 0.3, "bias3": 0.1}.get(name, 1 / np.sqrt(values.shape[-1]))
        values[...] = rng.normal(0, scale, values.shape)
    return core


def points_for(dimension: int, n: int, seed: int = 1) -> np.ndarray:
    """Points inside the cube and, every tenth, up to 1.5 times its half edge away along each axis."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-BOUND, BOUND, (n, dimension))
    x[::10] *= 1.5
    return x.astype(np.float32)


class Reference:
    """The field in float64 torch, written for clarity."""

    def __init__(self, core, levels):
        self.torch = pytest.importorskip("torch")
        self.levels, self.weights = levels, core.level_weights
        self.parameters = {
            name: self.torch.tensor(value.astype(np.float64), requires_grad=True)
            for name, value in core.parameters().items()
        }

    def features(self, x, level: Level):
        torch, dimension = self.torch, x.shape[1]
        place = ((x / BOUND + 1) / 2 * level.resolution).clamp(0, level.resolution)
        cell = place.detach().floor().clamp(max=level.resolution - 1)
        t, cell = place - cell, cell.long()
        total = 0
        for corner in np.ndindex(*[2] * dimension):
            index = cell + torch.tensor(corner)
            row, weight = torch.zeros(len(x), dtype=torch.long), torch.ones(len(x), dtype=torch.float64)
            for axis in range(dimension):
                own = index[:, axis]
                row = row ^ (own * HASH_PRIMES[axis]) if level.hashed else row * (level.resolution + 1) + own
                weight = weight * (t[:, axis] if corner[axis] else 1 - t[:, axis])
            row = row % level.rows if level.hashed else row
            total = total + weight[:, None] * self.parameters["table"][level.offset + row]
        return total

    def __call__(self, points):
        torch, p = self.torch, self.parameters
        x = torch.tensor(points.astype(np.float64), requires_grad=True)
        inputs = [float(w) * self.features(x, level) for w, level in zip(self.weights, self.levels, strict=True)]
        h = torch.cat([x, *inputs], 1)
        for layer in "12":
            h = torch.nn.functional.softplus(h @ p["weight" + layer].T + p["bias" + layer], BETA, threshold=1e9)
        f = h @ p["weight3"] + p["bias3"]
        return f, torch.autograd.grad(f.sum(), x, create_graph=True)[0]

    def derivatives(self, f, g, df, dg):
        names = list(self.parameters)
        loss = (f * self.torch.tensor(df)).sum() + (g * self.torch.tensor(dg)).sum()
        return dict(
            zip(names, self.torch.autograd.grad(loss, [self.parameters[name] for name in names]), strict=True)
        )


def assert_close(ours, truth, tolerance=1e-4):
    truth = np.asarray(truth.detach() if hasattr(truth, "detach") else truth)
    assert np.abs(ours - truth).max() <= tolerance * max(np.abs(truth).max(), 1e-6)


def random_directions(n: int, dimension: int):
    rng = np.random.default_rng(2)
    return rng.normal(size=n).astype(np.float32), rng.normal(size=(n, dimension)).astype(np.float32)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize(
    ("dimension", "features", "width"), [(3, 2, 64), (2, 2, 64), (3, 1, 32), (2, 4, 32), (3, 4, 64)]
)
def test_values_gradients_and_derivatives_agree_with_float64(dimension, features, width, instruction_set):
    core = make_core(dimension, features=features, width=width, instruction_set=instruction_set)
    assert core.instruction_set == instruction_set
    core.level_weights = np.array([1.0, 0.7, 1.0, 0.3], np.float32)
    x = points_for(dimension, 333)
    reference = Reference(core, levels_for(dimension, features))
    f, g = core.forward(x)
    true_f, true_g = reference(x)
    assert_close(f, true_f)
    assert_close(g, true_g)
    df, dg = random_directions(len(x), dimension)
    core.backward(df, dg)
    truth = reference.derivatives(true_f, true_g, df, dg)
    for name, gradient in core.gradients().items():
        assert_close(gradient, truth[name])
    assert_close(core.evaluate(x), true_f)
    assert_close(core.evaluate_with_gradient(x)[1], true_g)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("dimension", [2, 3])
def test_gradient_is_the_slope_of_the_value(dimension, instruction_set):
    core = make_core(dimension, instruction_set=instruction_set)
    x = np.random.default_rng(3).uniform(-1, 1, (500, dimension)).astype(np.float32)
    _, g = core.evaluate_with_gradient(x)
    step = np.float32(2**-10)
    fine = levels_for(dimension, 2)[-1].resolution / (2 * BOUND)
    near_cell_border = np.abs((x + BOUND) * fine - np.round((x + BOUND) * fine)) < 2 * step * fine
    for axis in range(dimension):
        offset = np.zeros((1, dimension), np.float32)
        offset[0, axis] = step
        slope = (core.evaluate(x + offset) - core.evaluate(x - offset)) / (2 * step)
        smooth = ~near_cell_border.any(1)  # the slope jumps where a cell ends, on coarser grids too
        assert np.median(np.abs(slope - g[:, axis])[smooth]) < 2e-3
        assert np.quantile(np.abs(slope - g[:, axis])[smooth], 0.9) < 0.02


def train(core, steps: int = 5, n: int = 1000) -> dict[str, np.ndarray]:
    """Parameters after a few steps on a made-up loss."""
    for step in range(steps):
        x = points_for(core.dimension, n, seed=step)
        f, g = core.forward(x)
        core.backward((f / n).astype(np.float32), (g / n).astype(np.float32))
        core.adam(1e-2)
    return {name: values.copy() for name, values in core.parameters().items()}


@pytest.mark.parametrize("dimension", [2, 3])
def test_results_do_not_depend_on_the_number_of_threads_and_repeat_exactly(dimension):
    runs = [train(make_core(dimension, threads=threads)) for threads in (1, 1, 2, 3, 16)]
    for run in runs[1:]:
        for name, values in run.items():
            np.testing.assert_array_equal(values, runs[0][name])


def test_instruction_sets_step_alike():
    """Each step from the same state; what Adam then does with the derivatives is compared with torch's below."""
    cores = [make_core(instruction_set=name) for name in SETS]
    for step in range(10):
        x = points_for(3, 1000, seed=step)
        df, dg = random_directions(1000, 3)
        found = []
        for core in cores:
            for name, values in core.parameters().items():
                values[...] = cores[0].parameters()[name]
            f, g = core.forward(x)
            core.backward(df, dg)
            found.append({"f": f.copy(), "g": g.copy()} | {k: v.copy() for k, v in core.gradients().items()})
        for one in found[1:]:
            for name, values in one.items():
                assert_close(values, found[0][name])
        cores[0].adam(1e-2)


@pytest.mark.parametrize("instruction_set", SETS)
@pytest.mark.parametrize("features", [1, 2, 4])
def test_adam_is_torchs_on_the_mlp_and_leaves_untouched_rows_alone(features, instruction_set):
    torch = pytest.importorskip("torch")
    core = make_core(features=features, instruction_set=instruction_set, threads=3)
    truth = {name: torch.tensor(value.copy()) for name, value in core.parameters().items()}
    optimizer = torch.optim.Adam([v for k, v in truth.items() if k != "table"], lr=1e-2, betas=(0.8, 0.95))
    table, first, second = (np.zeros(core.parameters()["table"].shape) for _ in range(3))
    table += core.parameters()["table"]
    for step in range(1, 4):
        x = points_for(3, 100, seed=step)
        core.forward(x)
        core.backward(*random_directions(100, 3))
        gradients = {name: values.copy() for name, values in core.gradients().items()}
        for name, value in truth.items():
            value.grad = torch.tensor(gradients[name])
        optimizer.step()
        core.adam(1e-2, beta1=0.8, beta2=0.95, epsilon=1e-8, table_rate=3e-2)
        rows = (gradients["table"] != 0).any(1)
        assert 0 < rows.mean() < 1
        first[rows] = 0.8 * first[rows] + 0.2 * gradients["table"][rows]
        second[rows] = 0.95 * second[rows] + 0.05 * gradients["table"][rows].astype(float) ** 2
        change = 3e-2 / (1 - 0.8**step) * first / (np.sqrt(second / (1 - 0.95**step)) + 1e-8)
        table[rows] -= change[rows]
    assert core.step_count == 3
    for name, values in core.parameters().items():
        np.testing.assert_allclose(values, table if name == "table" else truth[name], rtol=2e-5, atol=2e-6)
    np.testing.assert_allclose(core.moments()["table"][0], first, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(core.moments()["table"][1], second, rtol=1e-4, atol=1e-6)
    state = optimizer.state[truth["weight2"]]
    np.testing.assert_allclose(core.moments()["weight2"][0], state["exp_avg"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(core.moments()["weight2"][1], state["exp_avg_sq"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("off", [[1, 3], [2, 3], [0, 1, 2, 3]])
def test_levels_that_are_off_have_no_part_in_anything(off):
    core, levels = make_core(), levels_for(3, 2)
    weights = np.ones(4, np.float32)
    weights[off] = 0
    core.level_weights = weights
    np.testing.assert_array_equal(core.level_weights, weights)
    before = core.parameters()["table"].copy()
    train(core, 2)
    changed = (core.parameters()["table"] != before).any(1)
    for i, level in enumerate(levels):
        assert changed[level.offset : level.offset + level.rows].any() == (i not in off)
    columns = [3 + 2 * i + k for i in off for k in range(2)]
    assert not core.moments()["weight1"][0][:, columns].any()
    f = core.evaluate(points_for(3, 500))
    for i in off:  # not even read
        core.parameters()["table"][levels[i].offset : levels[i].offset + levels[i].rows] = np.nan
    np.testing.assert_array_equal(core.evaluate(points_for(3, 500)), f)


def test_outside_the_cube_features_are_those_of_its_boundary():
    core = make_core()
    for name in ("weight1", "weight2"):
        core.parameters()[name][...] = np.abs(core.parameters()[name])
    core.parameters()["weight1"][:, :3] = 0  # the features alone
    x = points_for(3, 200, seed=5) * np.float32(1.7)
    inside = np.clip(x, -BOUND, BOUND)
    f, g = core.evaluate_with_gradient(x)
    np.testing.assert_allclose(f, core.evaluate(inside), atol=2e-5)
    assert (g[np.abs(x) > BOUND] == 0).all()
    assert (g[np.abs(x) < BOUND] != 0).mean() > 0.9
    corner = np.full((1, 3), BOUND, np.float32)
    assert core.evaluate_with_gradient(corner)[1].all()  # the boundary belongs to the cube


@pytest.mark.parametrize("instruction_set", SETS)
def test_any_number_of_points_gives_each_point_its_own_value(instruction_set):
    core = make_core(instruction_set=instruction_set)
    x = points_for(3, 1000)
    f, g = (a.copy() for a in core.forward(x))
    for n in (0, 1, 2, 47, 48, 49, 97, 1000):
        for values, slopes in (core.forward(x[:n]), core.evaluate_with_gradient(x[:n])):
            np.testing.assert_array_equal(values, f[:n])
            np.testing.assert_array_equal(slopes, g[:n])
        np.testing.assert_allclose(core.evaluate(x[:n]), f[:n], atol=1e-6)


def test_derivatives_of_few_points_do_not_see_those_of_an_earlier_larger_batch():
    fresh, used = make_core(), make_core()
    used.forward(points_for(3, 3000, seed=9))
    used.backward(*random_directions(3000, 3))
    x = points_for(3, 31)
    for core in (fresh, used):
        core.forward(x)
        core.backward(*random_directions(31, 3))
    for name, values in fresh.gradients().items():
        np.testing.assert_array_equal(values, used.gradients()[name])


def test_no_points_no_derivatives():
    core = make_core()
    core.forward(points_for(3, 300))
    core.backward(*random_directions(300, 3))
    core.forward(np.empty((0, 3), np.float32))
    core.backward(np.empty(0, np.float32), np.empty((0, 3), np.float32))
    assert not any(values.any() for values in core.gradients().values())
    core.adam(1e-2)
    assert core.step_count == 1


def test_evaluation_leaves_training_alone():
    core, other = make_core(), make_core()
    x = points_for(3, 500)
    for one in (core, other):
        one.forward(x)
    core.evaluate(points_for(3, 2000, seed=7))
    core.evaluate_with_gradient(points_for(3, 2000, seed=8))
    for one in (core, other):
        one.backward(*random_directions(500, 3))
    for name, values in core.gradients().items():
        np.testing.assert_array_equal(values, other.gradients()[name])


def test_points_that_are_not_numbers_give_values_that_are_not():
    core = make_core()
    x = points_for(3, 100)
    x[7], x[8] = np.nan, np.inf
    f = core.evaluate(x)
    assert not np.isfinite(f[[7, 8]]).any()
    np.testing.assert_array_equal(
        np.delete(f, [7, 8]), np.delete(core.evaluate(np.nan_to_num(x, posinf=0)), [7, 8])
    )


@pytest.mark.parametrize("instruction_set", SETS)
def test_where_the_value_is_not_a_number_neither_is_the_gradient(instruction_set):
    core = make_core(instruction_set=instruction_set)
    x = points_for(3, 100)
    x[[7, 60], [0, 2]] = np.nan
    for f, g in (core.evaluate_with_gradient(x), core.forward(x)):
        assert np.isnan(f[[7, 60]]).all()
        assert np.isnan(g[[7, 60]]).all()
        assert np.isfinite(np.delete(g, [7, 60], axis=0)).all()


def test_views_share_memory_and_keep_the_core_alive():
    core = make_core()
    bias = core.parameters()["bias3"]
    x = points_for(3, 10)
    before = core.evaluate(x)
    bias += 1
    np.testing.assert_allclose(core.evaluate(x), before + 1, rtol=1e-5)
    del core
    bias += 1


@pytest.mark.parametrize(
    "x", [np.zeros((4, 3)), np.zeros((4, 2), np.float32), np.zeros((3, 4), np.float32).T, np.zeros(3, np.float32)]
)
def test_points_of_another_type_shape_or_order_are_refused(x):
    core = make_core()
    for call in (core.forward, core.evaluate, core.evaluate_with_gradient):
        with pytest.raises(ValueError, match=r"x must be a float32 array in C order of shape \(n, 3\)"):
            call(x)


def test_calls_out_of_order_are_refused():
    core = make_core()
    x, (df, dg) = points_for(3, 10), random_directions(10, 3)
    with pytest.raises(RuntimeError, match="forward"):
        core.backward(df, dg)
    with pytest.raises(RuntimeError, match="backward"):
        core.adam(1e-3)
    core.forward(x)
    with pytest.raises(ValueError, match="df must be"):
        core.backward(df[:5], dg)
    with pytest.raises(ValueError, match="dg must be"):
        core.backward(df, dg[:, :2].copy())
    core.backward(df, dg)
    core.level_weights = np.array([1, 1, 0, 0], np.float32)
    with pytest.raises(RuntimeError, match="backward"):
        core.adam(1e-3)
    with pytest.raises(ValueError, match="in \\[0, 1\\]"):
        core.level_weights = np.array([1, 2, 0, 0], np.float32)
    with pytest.raises(ValueError, match="level_weights must be"):
        core.level_weights = np.array([1, 0], np.float32)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dimension": 4}, "dimension must be 2 or 3"),
        ({"features": 3}, "features must be 1, 2 or 4"),
        ({"width": 48}, "width 32 or 64"),
        ({"threads": 0}, "threads"),
        ({"instruction_set": "mmx"}, "'mmx' is not available"),
        ({"levels": [Level(8, 100, 0, False)]}, "a level needs"),
        ({"levels": [Level(8, 100, 0, True)]}, "power of two"),
        ({"levels": [Level(4, 125, 0, False)] * 100}, "too many levels"),
    ],
)
def test_sizes_that_the_core_does_not_have_are_refused(change, message):
    sizes = {"dimension": 3, "levels": levels_for(3, 2), "features": 2, "width": 64, "threads": 1} | change
    with pytest.raises(ValueError, match=message):
        native.NativeCore(
            sizes["dimension"], sizes["levels"], sizes["features"], sizes["width"], BETA, BOUND, sizes["threads"],
            sizes.get("instruction_set", "auto"),
        )  # fmt: skip


def test_peak_rate_and_phases_are_measured():
    assert all(native.peak_rate(name, 1) > 0 for name in SETS)
    core = make_core()
    train(core, 2)
    assert set(core.phase_seconds()) == {"features", "mlp", "scatter", "adam"}
    assert all(seconds > 0 for seconds in core.phase_seconds().values())
