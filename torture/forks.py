"""Tests in forks of one process that has the slow imports behind it: `python -m torture.forks TEST …`.

Each line on standard input starts the tests once, and is answered by pytest's status (0: all passed), or by minus
the signal that ended it. Only the first run, of the unchanged program, leaves compiled modules for the next ones.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import sys

CPU_SECONDS, SECONDS = 60, 600
"""What a run may take before it is killed: of the processor, so that a busy machine decides nothing, and in all."""
BYTES = 6 << 30
"""Memory that a run may ask for."""


def main() -> None:
    """Answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    import igl  # noqa: F401
    import pytest  # noqa: F401
    import scipy.spatial  # noqa: F401
    import torch  # noqa: F401
    import trimesh  # noqa: F401

    assert "igr" not in sys.modules
    for _ in sys.stdin:
        child = os.fork()
        if child == 0:
            os._exit(_status(sys.argv[1:]))
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what the tests left running
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        print(status, file=answers, flush=True)


def _status(tests: list[str]) -> int:
    import pytest

    os.setsid()
    signal.alarm(SECONDS)
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_DATA, (BYTES, BYTES))
    return int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", "-m", "not slow", *tests]))


if __name__ == "__main__":
    main()
