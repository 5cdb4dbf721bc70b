"""What is asked of the machine: threads, devices, precision, a compiler."""

import os
import sys

import pytest

import igr
from igr import machine as parallel
from igr.errors import InputError
from igr.field import torch_field
from igr.field.field import make_field

torch = pytest.importorskip("torch")


@pytest.fixture
def machine(monkeypatch):
    """A machine of 8 processors without limits; files that say something else go into what is returned."""
    files = {}
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(parallel, "read_lines", lambda path: files.get(str(path), []))
    for name in ("IGR_THREADS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return files


@pytest.mark.parametrize(("ranks", "share"), [("1", 8), ("2", 4), ("3", 2), ("99", 1), ("0", 8), ("many", 8)])
def test_ranks_share_the_threads_and_each_has_one(machine, monkeypatch, ranks, share):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", ranks)
    assert parallel.threads() == share


def test_a_process_bound_to_some_processors_takes_no_more_threads(machine, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {5})
    assert parallel.threads() == 1


@pytest.mark.parametrize(
    ("limits", "share"),
    [
        ({"cpu.max": "200000 100000"}, 2),
        ({"cpu.max": "150000 100000"}, 2),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "2000000 100000"}, 8),
        ({"cpu.max": ""}, 8),
        ({"b/cpu.max": "max 100000", "cpu.max": "300000 100000"}, 3),  # of the group above
    ],
)
def test_threads_follow_the_quota_of_control_groups(machine, limits, share):
    machine["/proc/self/cgroup"] = ["0::/a/b"]
    machine |= {f"/sys/fs/cgroup/a/{name}": [text] for name, text in limits.items()}
    assert parallel.threads() == share


def test_threads_follow_the_quota_of_old_control_groups(machine):
    machine["/proc/self/cgroup"] = ["5:memory:/a", "4:cpu,cpuacct:/a"]
    machine["/sys/fs/cgroup/cpu/a/cpu.cfs_quota_us"] = ["-1"]
    machine["/sys/fs/cgroup/cpu/a/cpu.cfs_period_us"] = ["100000"]
    assert parallel.threads() == 8
    machine["/sys/fs/cgroup/cpu/cpu.cfs_quota_us"] = ["400000"]
    machine["/sys/fs/cgroup/cpu/cpu.cfs_period_us"] = ["100000"]
    assert parallel.threads() == 4


def test_threads_can_be_asked_for(machine, monkeypatch):
    monkeypatch.setenv("IGR_THREADS", "3")
    assert parallel.threads() == 3
    for wrong in ("0", "-1", "two"):
        monkeypatch.setenv("IGR_THREADS", wrong)
        with pytest.raises(InputError, match=f"IGR_THREADS is '{wrong}', expected a number of threads, 1 to 1024"):
            parallel.threads()


def test_an_instruction_set_can_be_asked_for(monkeypatch):
    native = pytest.importorskip("igr.field._core")
    for name in native.instruction_sets():
        monkeypatch.setenv("IGR_INSTRUCTION_SET", name)
        assert make_field(igr.FAST, 3).machine()["program"] == f"native, {name}"
    monkeypatch.setenv("IGR_INSTRUCTION_SET", "mmx")
    with pytest.raises(InputError, match=r"IGR_INSTRUCTION_SET is 'mmx'; this machine has \w+"):
        make_field(igr.FAST, 3)


@pytest.mark.parametrize(("name", "device"), [("cpu", "cpu"), ("torch", "cpu"), ("meta", "meta")])
def test_a_device_that_is_there_is_used(name, device):
    assert parallel.torch_device(name) == device


@pytest.mark.parametrize("gpu", [True, False])
def test_a_gpu_is_used_where_there_is_one(monkeypatch, gpu):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    assert parallel.torch_device("auto") == ("cuda" if gpu else "cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:97"])
def test_a_device_that_is_not_there_is_refused_in_one_sentence(name):
    with pytest.raises(InputError, match=f"device '{name}' cannot be used here .*; try --device cpu") as refusal:
        parallel.torch_device(name)
    assert "\n" not in str(refusal.value)


def test_without_torch_the_install_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"pip install 'igr\[torch\]'"):
        parallel.torch_device("auto")


@pytest.mark.parametrize("feature", ["avx512_bf16", "amx_bf16", "avx2"])
def test_wide_layers_take_bfloat16_where_the_processor_has_it(monkeypatch, feature):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {feature: True}, raising=False)
    assert parallel.in_bfloat16("auto", 512, "cpu") == (feature != "avx2")
    assert not parallel.in_bfloat16("auto", 64, "cpu")
    assert parallel.in_bfloat16("bfloat16", 64, "cpu")
    assert not parallel.in_bfloat16("float32", 512, "cpu")


@pytest.mark.parametrize("missing", ["compiler", "leave"])
def test_a_network_runs_uncompiled_where_there_is_no_compiler_or_no_leave(monkeypatch, missing):
    network = torch.nn.Linear(2, 1)
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "0" if missing == "compiler" else "1")
    monkeypatch.setenv("CXX", "a-compiler-that-is-not-there")
    assert torch_field.compiled(network) is network


def test_a_network_that_cannot_be_compiled_runs_as_it_is_and_torch_is_left_alone(monkeypatch):
    """Torch was told, for the whole process, to hide all failures of its compiler."""
    config, failures = torch._dynamo.config, []

    def failing(network, **options):
        def compiled(*inputs):
            failures.append(inputs)
            raise torch._dynamo.exc.BackendCompilerFailed(failing, RuntimeError("no room on disk"), None)

        return compiled

    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "0")
    monkeypatch.setenv("CXX", sys.executable)
    monkeypatch.setattr(torch, "compile", failing)
    network, x = torch.nn.Linear(2, 1), torch.ones(3, 2)
    before = config.suppress_errors
    quick = torch_field.compiled(network)
    for _ in range(3):
        torch.testing.assert_close(quick(x), network(x))
    assert len(failures) == 1
    assert config.suppress_errors == before
    assert list(quick.parameters()) == list(network.parameters())
