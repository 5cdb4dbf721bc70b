"""Settings of the whole suite."""

import os
import signal
import sys

import hypothesis
import pytest

# The same examples every time: what is random is tried by `make torture`. They take the time they
# need: a test that fails where the machine is busy says nothing.
hypothesis.settings.register_profile(
    "suite", derandomize=True, deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("suite")
# Torch's threads spin at every small operation, which costs more than they gain on the suite's small arrays.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Compiling takes a minute each time; a slow test of its own turns it on.
os.environ["TORCH_COMPILE_DISABLE"] = "1"
# What runs in the background of a shell ignores Ctrl-C, and so would every command that the tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _torch_begins_alike():
    """What a test draws from torch's own generator does not depend on the tests before it."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def ellipsoids(tmp_path_factory):
    """A folder of nine ellipsoids that grow along one axis, metres."""
    import numpy as np
    from families import AXES, ellipsoid

    folder = tmp_path_factory.mktemp("ellipsoids")
    for index, axes in enumerate(AXES):
        np.save(folder / f"e{index}.npy", ellipsoid(axes, 2000, index).astype(np.float32))
    return folder
