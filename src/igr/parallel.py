"""Device, threads and ranks: the only place that looks at the machine."""

from __future__ import annotations

from .errors import InputError


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
