"""Memory of tensors."""

from __future__ import annotations

import ctypes
import gc
import os
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # of mallopt, in malloc.h
KEPT = 2**30
LARGEST = 2**25  # the most that mallopt takes


def prepare_for_tensors() -> None:
    """Have this process keep the memory that it frees, and take large pages for large tensors, where it can (Linux).

    Each layer of a network asks for memory and gives it back. Fresh pages are cleared by the system one by one, 4 KiB
    each: up to a fifth of the time of a prediction, and more than half in Dask's workers, whose settings return every
    64 KiB at once. Nothing computed becomes another. To be called before the first large tensor.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")  # torch looks there once, when it first needs memory
    library, _ = platform.libc_ver()
    if library == "glibc":
        c = ctypes.CDLL(None)
        c.mallopt(TRIM_THRESHOLD, KEPT)
        c.mallopt(MMAP_THRESHOLD, LARGEST)


def give_back_memory() -> None:
    """Return what nothing refers to any longer to the system, and to the GPU's other users."""
    import torch

    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    library, _ = platform.libc_ver()
    if library == "glibc":
        ctypes.CDLL(None).malloc_trim(0)
