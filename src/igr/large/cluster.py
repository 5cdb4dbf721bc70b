"""Blocks, or many scans, on several processes or machines, by Dask.

The workers need the folder under the same path, nothing else is sent. A worker that dies is replaced and its block
done again; what a block comes out as depends on neither the worker nor the order.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import InputError
from ..machine import MOST_THREADS, processors
from .work import Work

if TYPE_CHECKING:
    from distributed import Client, Future

MEANT = "use tcp://HOST:PORT of a Dask scheduler, or local:N for N processes on this machine"


def on_cluster(work: Work, address: str) -> Iterator[tuple[str, int]]:
    """Fit and mesh every block that is not yet, by the workers at an address, each mesh once the fits near it are
    there; each as it is done."""
    with connected(address) as client:
        from distributed import as_completed

        pieces, folder, fits = work.missing("piece"), str(work.folder.resolve()), {}
        for block in work.needed(pieces):
            fits[block] = client.submit(_done, folder, "block", block, key=f"fit block {block} of {folder}")

        def meshes() -> list[Future]:
            made = []
            for piece in pieces:
                after = [fits[near] for near in work.asks[piece] if near in fits]
                name = f"mesh block {piece} of {folder}"
                made.append(client.submit(_done, folder, "piece", piece, after, key=name))
            return made

        planned = work.find_step()
        futures = as_completed([*fits.values(), *(meshes() if planned else [])])
        for future in futures:
            done = future.result()
            if not planned and work.find_step():
                planned = True
                futures.update(meshes())
            yield done


def each(address: str, work: Callable[..., Any], items: Mapping[str, tuple]) -> Iterator[tuple[str, Any]]:
    """What `work` makes of each of the items, by the workers at an address; by name, as they are done."""
    with connected(address) as client:
        from distributed import as_completed

        names = {client.submit(work, *item, key=f"{work.__name__} {name}"): name for name, item in items.items()}
        for future in as_completed(names):
            yield names[future], future.result()


def check_address(address: str) -> None:
    """Refuse what cannot be the address of a cluster, before any work.

    Raises:
        InputError: it is so, or Dask is not installed.
    """
    kind, _, rest = address.partition(":")
    known = rest.isdecimal() and 1 <= int(rest) <= MOST_THREADS if kind == "local" else rest.startswith("//")
    if not known:
        raise InputError(f"--cluster {address!r} is no address of a cluster; {MEANT}")
    if importlib.util.find_spec("distributed") is None:
        raise InputError("a cluster needs Dask, which is not installed: pip install 'igr[cluster]'")


@contextlib.contextmanager
def connected(address: str) -> Iterator[Client]:
    """The scheduler at an address, or one with its own workers on this machine, for a while.

    Raises:
        InputError: nobody answers, or as `check_address`.
    """
    check_address(address)
    from dask import config
    from distributed import Client, LocalCluster

    kind, _, count = address.partition(":")
    if kind != "local":
        try:
            client = Client(address, timeout=10)
        except (OSError, ValueError) as problem:
            raise InputError(f"no Dask scheduler answers at {address} ({problem}); {MEANT}") from None
        with client:
            yield client
        return
    threads = {"IGR_THREADS": str(max(1, processors() // int(count))), "OMP_NUM_THREADS": "1"}
    how = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": ":0"}
    environment = config.set({"distributed.nanny.pre-spawn-environ": threads})  # Dask's would trim memory at once
    with environment, LocalCluster(n_workers=int(count), **how) as workers, Client(workers) as client:
        yield client


def _done(folder: str, kind: str, block: int, after: object = None) -> tuple[str, int]:
    """Fit or mesh a block, in a worker."""
    work = _work(folder)
    (work.fit if kind == "block" else work.mesh)(block)
    return kind, block


@functools.cache
def _work(folder: str) -> Work:
    return Work(folder)
