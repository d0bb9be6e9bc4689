"""Mixed precision: the network computes in bfloat16 where that pays, weights and losses stay in float32."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from SparseSegLib.errors import UsageError

Precision = Literal["auto", "float32", "bf16"]
PRECISIONS: tuple[str, ...] = get_args(Precision)


def check_precision(name: str) -> None:
    """Raise UsageError for a precision that is not known."""
    if name not in PRECISIONS:
        raise UsageError(f"There is no precision called {name}.", f"Use one of {', '.join(PRECISIONS)}.")


def choose_precision(name: str, device: torch.device) -> torch.dtype:
    """The type that a network computes in on ``device``.

    ``auto`` is bfloat16 on a CUDA device that has it in hardware, float32 everywhere else: most CPUs only imitate it.
    """
    check_precision(name)
    if name == "auto":
        fast = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if fast else torch.float32
    return torch.bfloat16 if name == "bf16" else torch.float32


def computing_in(dtype: torch.dtype, device: torch.device) -> torch.autocast:
    """A context in which convolutions compute in ``dtype``; float32 changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)
