"""The native core where things go wrong: threads at once, memory and threads that run out, forks, sanitizers."""

import os
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest

from igr.config import FeatureConfig
from igr.field import native
from igr.field.features import feature_levels

ROOT = Path(__file__).resolve().parents[2]
SMALL = FeatureConfig(levels=4, coarsest=4, finest=40, log2_rows=14)

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="limits memory as Linux does")

START = """
    import resource
    import numpy as np
    from igr.config import FeatureConfig
    from igr.field.features import feature_levels
    from igr.field.native import NativeCore

    def core(threads, **sizes):
        made = NativeCore(3, feature_levels(FeatureConfig(**sizes), 3), 2, 64, 100.0, 1.2, threads)
        for values in made.parameters().values():
            values[...] = np.linspace(-0.1, 0.1, values.size).reshape(values.shape)
        return made

    def more_memory(count):
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + count, -1))

    x = np.random.default_rng(0).uniform(-1, 1, (1000, 3)).astype(np.float32)
    ones = np.ones(1000, np.float32), np.ones((1000, 3), np.float32)
"""


def program(code: str, **environment: str) -> str:
    """What a program prints on stdout; it must end well."""
    command = [sys.executable, "-c", textwrap.dedent(START) + textwrap.dedent(code)]
    run = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return run.stdout.strip()


@needs_linux
def test_a_step_without_memory_is_an_exception_that_changes_nothing():
    code = """
        one, other = core(2), core(2)
        for made in (one, other):
            made.forward(x)
            made.backward(*ones)
        other.adam(1e-3)
        more_memory(1 << 20)
        try:
            one.adam(1e-3)
        except MemoryError:
            print("MemoryError", one.step_count)
        resource.setrlimit(resource.RLIMIT_AS, (-1, -1))
        one.adam(1e-3)
        print(all(np.array_equal(v, other.parameters()[k]) for k, v in one.parameters().items()))
    """
    assert program(code) == "MemoryError 0\nTrue"


@needs_linux
def test_where_the_system_refuses_threads_those_there_are_compute():
    code = """
        small = dict(levels=2, coarsest=4, finest=8)
        x = np.random.default_rng(0).uniform(-1, 1, (40_000, 3)).astype(np.float32)
        alone, many = core(1, **small), core(400, **small)
        wanted = alone.evaluate(x)
        more_memory(100 << 20)  # a dozen stacks
        print(np.array_equal(many.evaluate(x), wanted))
    """
    assert program(code) == "True"


@needs_linux
def test_all_cores_of_a_process_share_its_threads():
    code = """
        def threads():
            return int(next(l for l in open("/proc/self/status") if l.startswith("Threads")).split()[1])

        before = threads()
        cores = [core(4, levels=2, coarsest=4, finest=8) for _ in range(20)]
        for made in cores:
            made.evaluate(np.tile(x, (10, 1)))
        print(threads() - before)
    """
    assert program(code) == "3"


@needs_linux
def test_a_forked_child_computes_the_same_and_frees_a_core():
    code = """
        import os, signal
        made = core(4, levels=2, coarsest=4, finest=8)
        x = np.tile(x, (10, 1))
        wanted = made.evaluate(x)
        if os.fork() == 0:
            signal.alarm(120)
            same = np.array_equal(made.evaluate(x), wanted)
            del made
            os._exit(0 if same else 1)
        print(os.waitstatus_to_exitcode(os.wait()[1]), np.array_equal(made.evaluate(x), wanted))
    """
    assert program(code) == "0 True"


def test_derivatives_are_counted_when_it_is_their_turn():
    core = native.NativeCore(3, feature_levels(SMALL, 3), 2, 64, 100.0, 1.2, 1)
    few, many = np.zeros((10, 3), np.float32), np.zeros((200_000, 3), np.float32)
    for _ in range(3):
        core.forward(few)
        other = threading.Thread(target=core.forward, args=(many,))
        other.start()
        while other.is_alive():
            try:
                core.backward(np.ones(10, np.float32), np.ones((10, 3), np.float32))
            except ValueError as refusal:  # it came after the other's forward
                assert "df must be of length 200000" in str(refusal)  # noqa: PT017
        other.join()


def build(folder: Path, *options: str) -> None:
    """The native core, and whatever else the options ask for, built in a folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cmake, ninja = shutil.which("cmake", path=path), shutil.which("ninja", path=path)
    if not (cmake and ninja and shutil.which("g++")):
        pytest.skip("needs cmake, ninja and g++")
    configure = [cmake, "-S", ROOT, "-B", folder, f"-DPython_EXECUTABLE={sys.executable}", *options]
    configure += ["-G", "Ninja", f"-DCMAKE_MAKE_PROGRAM={ninja}", "-DCMAKE_CXX_COMPILER=g++"]
    for command in (configure, [cmake, "--build", folder, "--parallel", "2"]):
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout[-4000:]


@pytest.mark.slow
@pytest.mark.parametrize("sanitizer", ["", "thread", "address,undefined"])
def test_threads_failing_memory_and_forks_under_sanitizers(tmp_path, sanitizer):
    if sanitizer and not has_library("tsan" if sanitizer == "thread" else "asan"):
        pytest.skip(f"g++ has no library for {sanitizer}")
    build(tmp_path, "-DIGR_STRESS=ON", f"-DIGR_SANITIZE={sanitizer}")
    # Without random addresses, which the thread sanitizer cannot always cope with.
    alone = ["setarch", "-R"] if sanitizer == "thread" and shutil.which("setarch") else []
    environment = os.environ | {"TSAN_OPTIONS": "die_after_fork=0 halt_on_error=1"}
    run = subprocess.run(
        [*alone, tmp_path / "stress"], env=environment, capture_output=True, text=True, check=False, timeout=1200
    )
    assert (run.returncode, run.stdout) == (0, "done\n"), run.stderr[-4000:]
    assert not run.stderr


def has_library(name: str) -> str:
    """Where g++ keeps a sanitizer's library, "" if nowhere."""
    asked = ["g++", f"-print-file-name=lib{name}.so"]
    found = (
        subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        if shutil.which("g++")
        else ""
    )
    return found if Path(found).is_absolute() else ""


EXERCISE = """
    import importlib.util, sys
    import numpy as np

    spec = importlib.util.spec_from_file_location("igr.field._core", sys.argv[1])
    module = importlib.util.module_from_spec(spec)
    sys.modules["igr.field._core"] = module
    spec.loader.exec_module(module)
    from igr.field import native
    from igr.config import FeatureConfig
    from igr.field.features import feature_levels

    assert native._core is module
    rng = np.random.default_rng(0)
    for name in native.instruction_sets():
        for dimension in (2, 3):
            for features, width in ((1, 32), (2, 64), (4, 64)):
                config = FeatureConfig(levels=4, features=features, coarsest=4, finest=40, log2_rows=10)
                levels = feature_levels(config, dimension)
                core = native.NativeCore(dimension, levels, features, width, 50.0, 1.2, 5, name)
                for values in core.parameters().values():
                    values[...] = rng.normal(0, 0.1, values.shape)
                for n in (0, 1, 100, 3000):
                    x = rng.uniform(-2, 2, (n, dimension)).astype(np.float32)
                    x[: n // 10] = np.nan if n == 100 else 1e30
                    f, g = core.forward(x)
                    core.backward(np.ones_like(f), np.ones_like(g))
                    core.gradients()
                    core.adam(1e-3)
                    core.evaluate(x), core.evaluate_with_gradient(x)
                core.level_weights = np.array([1, 0, 0.5, 0], np.float32)
                core.evaluate_with_gradient(x)
    native.peak_rate(name, 2)
    print("done")
"""


@pytest.mark.slow
def test_sanitizers_find_nothing_at_the_binding(tmp_path):
    preload = has_library("asan")
    if not preload:
        pytest.skip("g++ has no libasan")
    build(tmp_path, "-DIGR_SANITIZE=address,undefined")
    built = next(tmp_path.glob("_core*"))
    environment = os.environ | {
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONPATH": str(ROOT / "src"),
        "PYTHONMALLOC": "malloc",
    }
    command = [sys.executable, "-c", textwrap.dedent(EXERCISE), built]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.strip() == "done", run.stderr[-4000:]
    assert "runtime error" not in run.stderr
