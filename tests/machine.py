"""What tests ask of the machine: a free port, the memory that something takes."""

import socket
import tracemalloc
from contextlib import contextmanager


def free_port():
    """A port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def memory_below(megabytes):
    """Fails where Python has more than so many megabytes allocated at any time within."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < megabytes * 1e6
    finally:
        tracemalloc.stop()
