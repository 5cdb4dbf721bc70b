"""Blocks on several processes or machines, by Dask: each is meshed once the fits near it are there.

The workers need the folder under the same path, nothing else is sent. A worker that dies is replaced and its block
done again; what a block comes out as depends on neither the worker nor the order.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import InputError
from ..machine import MOST_THREADS, processors
from .work import Work

if TYPE_CHECKING:
    from distributed import Client

MEANT = "use tcp://HOST:PORT of a Dask scheduler, or local:N for N processes on this machine"


def on_cluster(work: Work, address: str) -> Iterator[tuple[str, int]]:
    """Fit and mesh every block that is not yet, by the workers at an address; each as it is done."""
    with connected(address) as client:
        from distributed import as_completed

        pieces, folder, fits = work.missing("piece"), str(work.folder.resolve()), {}
        for block in work.needed(pieces):
            fits[block] = client.submit(_done, folder, "block", block, key=f"fit block {block} of {folder}")
        meshes = []
        for piece in pieces:
            after = [fits[near] for near in work.partition.near(piece) if near in fits]
            name = f"mesh block {piece} of {folder}"
            meshes.append(client.submit(_done, folder, "piece", piece, after, key=name))
        for future in as_completed([*fits.values(), *meshes]):
            yield future.result()


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """The scheduler at an address, or one with its own workers on this machine, for a while.

    Raises:
        InputError: Dask is not installed, nobody answers, or it is no address.
    """
    try:
        from distributed import Client, LocalCluster
    except ImportError:
        raise InputError("a cluster needs Dask, which is not installed: pip install 'igr[cluster]'") from None
    kind, _, count = address.partition(":")
    if kind != "local":
        try:
            client = Client(address, timeout=10)
        except (OSError, ValueError) as problem:
            raise InputError(f"no Dask scheduler answers at {address} ({problem}); {MEANT}") from None
        with client:
            yield client
        return
    if not count.isdecimal() or not 1 <= int(count) <= MOST_THREADS:
        raise InputError(f"--cluster {address!r} names no number of processes; {MEANT}")
    threads = {"IGR_THREADS": str(max(1, processors() // int(count))), "OMP_NUM_THREADS": "1"}
    how = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0", "env": threads}
    with LocalCluster(n_workers=int(count), **how) as workers, Client(workers) as client:
        yield client


def _done(folder: str, kind: str, block: int, after: object = None) -> tuple[str, int]:
    """Fit or mesh a block, in a worker."""
    work = _work(folder)
    (work.fit_block if kind == "block" else work.mesh)(block)
    return kind, block


@functools.cache
def _work(folder: str) -> Work:
    return Work(folder)
