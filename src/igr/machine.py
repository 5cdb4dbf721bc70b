"""Device, threads and ranks: the only place that looks at the machine."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    from torch import nn

logger = logging.getLogger(__name__)

WIDE = 256
"""Layers of this width gain more by products in bfloat16 than the conversions cost."""
MOST_THREADS = 1024
"""What may be asked for by IGR_THREADS."""


def threads() -> int:
    """Threads for this process: IGR_THREADS, or all processors that it may use, shared among its ranks
    (LOCAL_WORLD_SIZE).

    Raises:
        InputError: IGR_THREADS is no number of threads.
    """
    asked = os.environ.get("IGR_THREADS", "")
    if asked:
        if not asked.isdecimal() or not 1 <= int(asked) <= MOST_THREADS:
            raise InputError(f"IGR_THREADS is {asked!r}, expected a number of threads, 1 to {MOST_THREADS}")
        return int(asked)
    ranks = os.environ.get("LOCAL_WORLD_SIZE", "1")
    return max(1, processors() // max(1, int(ranks) if ranks.isdecimal() else 1))


def processors() -> int:
    """Processors that this process may use: those it is bound to, and no more than its control groups' quota."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(bound, _processor_quota())))


def _processor_quota() -> float:
    """How many processors' time the control groups of this process may take; infinity without a limit."""
    quota = math.inf
    for group in control_groups("cpu"):
        old = [line for name in ("quota", "period") for line in read_lines(group / f"cpu.cfs_{name}_us")[:1]]
        for text in (*read_lines(group / "cpu.max")[:1], " ".join(old)):  # both are "quota period"
            limit, _, period = text.partition(" ")
            if limit.isdecimal() and period.isdecimal() and int(period) > 0:  # not "max", not -1
                quota = min(quota, int(limit) / int(period))
    return quota


def control_groups(controller: str) -> Iterator[Path]:
    """The folders of the control groups of this process that may limit `controller` ("cpu", "memory"): its own
    and those above it, version 2 and 1; none elsewhere than on Linux."""
    for line in read_lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = Path("/sys/fs/cgroup") / (controller if controllers else "")
        group = mount / path.lstrip("/")
        yield from (folder for folder in (group, *group.parents) if folder == mount or mount in folder.parents)


def read_lines(path: Path) -> list[str]:
    """The lines of a file of the system's; none where it cannot be read."""
    try:
        return path.read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []


def torch_device(name: str) -> str:
    """The torch device for `name`: "auto" is a GPU if there is one, "torch" the CPU.

    Raises:
        InputError: torch is not installed, or there is no such device here.
    """
    try:
        import torch
    except ImportError:
        raise InputError("this needs PyTorch, which is not installed: pip install 'igr[torch]'") from None
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name in ("torch", "cpu"):
        return "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise InputError(f"device {name!r} cannot be used here ({reason}); try --device cpu") from None
    return name


def in_bfloat16(precision: str, width: int, device: str) -> bool:
    """Whether training steps of a network so wide are in bfloat16, by `Config.precision`, on a torch device."""
    if precision != "auto":
        return precision == "bfloat16"
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        return width >= WIDE and torch.cuda.is_bf16_supported()
    if kind != "cpu":
        return False
    found = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return width >= WIDE and bool(found.get("avx512_bf16") or found.get("amx_bf16"))


def wait_asleep() -> None:
    """Let torch's threads sleep while they wait for each other, unless OMP_WAIT_POLICY says otherwise.

    For programs, before torch is imported. By default they spin: where others use the cores too, a thread that
    waits takes the time of the one that it waits for, and small steps take five times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def rank_and_ranks() -> tuple[int, int]:
    """This process among those that torchrun started: (0, 1) if there is no other.

    Raises:
        InputError: RANK and WORLD_SIZE are no numbers, or do not fit together.
    """
    given = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not all(text.isdecimal() for text in given) or not int(given[0]) < int(given[1]):
        raise InputError(f"RANK={given[0]} and WORLD_SIZE={given[1]} make no sense; torchrun sets them")
    return int(given[0]), int(given[1])


@contextmanager
def joined_ranks() -> Iterator[tuple[int, int]]:
    """Connect the processes that torchrun started, for a while; one alone needs no connection."""
    rank, ranks = rank_and_ranks()
    if ranks == 1:
        yield rank, ranks
        return
    import torch
    from torch import distributed
    from torch.distributed.rendezvous import rendezvous

    # A restart by torchrun gets the same store, in which the addresses of the first start still stand.
    start = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    store = distributed.PrefixStore(start, next(rendezvous("env://"))[0])  # type: ignore[reportPrivateImportUsage]
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, store=store, rank=rank, world_size=ranks)
    try:
        yield rank, ranks
        distributed.barrier()  # nobody leaves while another still needs it
    finally:
        distributed.destroy_process_group()


def across_ranks(network: nn.Module) -> nn.Module:
    """The module whose derivatives are averaged over the ranks; itself where there is one process."""
    if rank_and_ranks()[1] == 1:
        return network
    from torch.nn.parallel import DistributedDataParallel

    return DistributedDataParallel(network)


def mean_over_ranks(values: list[float]) -> list[float]:
    """The mean of each value over the ranks, the same on all of them."""
    ranks = rank_and_ranks()[1]
    if ranks == 1:
        return values
    import torch
    from torch import distributed

    total: Any = torch.tensor(values, dtype=torch.float64)
    distributed.all_reduce(total)
    return (total / ranks).tolist()


ADVICE = "use fewer points, a lower resolution (--resolution), or a machine with more memory"


def available() -> float:
    """Bytes that this process can still take before the system, or a control group that it is in, runs out."""
    import psutil

    free = [float(psutil.virtual_memory().available)]
    for group in control_groups("memory"):
        free += _left(group, "memory.max", "memory.current", "inactive_file")
        free += _left(group, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    return max(0.0, min(free))


def require(needed: float, what: str, advice: str = ADVICE) -> None:
    """Refuse work for which there is not enough memory.

    Args:
        needed: bytes that it takes, beyond those that are taken already.
        what: the work, for the message.
        advice: what can be done about it.

    Raises:
        InputError: it is so.
    """
    free = available()
    if needed > free:
        raise InputError(f"{what} takes up to {size(needed)} of memory, and {size(free)} are free; {advice}")


def size(count: float) -> str:
    """A number of bytes to read.

    >>> size(3.21e9), size(4.2e7)
    ('3.2 GB', '42 MB')
    """
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _left(group: Path, limit: str, usage: str, reclaimable: str) -> list[float]:
    """What a control group leaves, where it has a limit; in files named as its version names them."""
    most, taken = _number(group / limit), _number(group / usage)
    if most is None or taken is None or most >= 2**60:
        return []
    caches = [line.split()[1] for line in read_lines(group / "memory.stat") if line.split()[0] == reclaimable]
    return [most - taken + (float(caches[0]) if caches else 0.0)]


def _number(path: Path) -> float | None:
    text = "".join(read_lines(path)[:1])
    return float(text) if text.isdecimal() else None
