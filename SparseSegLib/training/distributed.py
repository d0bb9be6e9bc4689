"""Distributed training: each process draws patches of its own, all take the same step.

``torchrun`` starts the processes and sets the rank of each in its environment; PyTorch Distributed connects them. A
training in one process is a process group of one.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

import torch
from torch import distributed, nn

from SparseSegLib.errors import ResourceError, UsageError

T = TypeVar("T")

TIMEOUT = timedelta(hours=6)  # that the others wait for the first process while it predicts for validation


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that train together; this one has the ``rank``, 0 to ``size`` − 1."""

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes, saves and reports."""
        return self.rank == 0

    def average_gradients(self, network: nn.Module) -> None:
        """Replace every gradient by its mean over the processes; one message for all of them."""
        if self.size == 1:
            return
        gradients = [weight.grad for weight in network.parameters() if weight.grad is not None]
        joint = torch.cat([gradient.flatten() for gradient in gradients])
        distributed.all_reduce(joint)
        joint /= self.size
        for gradient, mean in zip(gradients, joint.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(mean.view_as(gradient))

    def broadcast_weights(self, networks: Iterable[nn.Module]) -> None:
        """Broadcast the weights of rank 0."""
        if self.size > 1:
            for network in networks:
                for tensor in network.state_dict().values():
                    whole = tensor.contiguous()
                    distributed.broadcast(whole, 0)
                    tensor.copy_(whole)

    def broadcast(self, value: T) -> T:
        """The value of rank 0, which may be anything that can be pickled."""
        if self.size == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, 0)
        return box[0]


def current_process_group() -> ProcessGroup:
    """The processes that were connected by :func:`connected`, or this one alone."""
    if distributed.is_available() and distributed.is_initialized():
        return ProcessGroup(distributed.get_rank(), distributed.get_world_size())
    return ProcessGroup()


@contextmanager
def connected(device: torch.device) -> Iterator[ProcessGroup]:
    """Connect the processes that ``torchrun`` started, over NCCL for CUDA and gloo else; disconnect at the end.

    Each process of a host gets a CUDA device of its own, which ``torch.device("cuda")`` then means.

    Raises
    ------
    UsageError
        If ``device`` is a certain one, which all processes would share.
    ResourceError
        If the host has fewer CUDA devices than processes.
    """
    if device.index is not None:
        raise UsageError(
            f"Several processes cannot share the device {device}.",
            "Use auto or cuda: each process takes a GPU of its own.",
        )
    if device.type == "cuda":
        number = int(os.environ.get("LOCAL_RANK", "0"))
        if number >= torch.cuda.device_count():
            raise ResourceError(
                f"There are only {torch.cuda.device_count()} GPUs for {number + 1} or more processes.",
                "Start as many processes as there are GPUs (--nproc-per-node).",
            )
        torch.cuda.set_device(number)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield current_process_group()
    finally:
        distributed.destroy_process_group()
