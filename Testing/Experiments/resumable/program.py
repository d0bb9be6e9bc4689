"""What all trainings of hours here have: one at a time in a folder, ended with a checkpoint, gone on with later."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from Experiments.resumable.interrupts import stopped_by_signals
from filelock import FileLock, Timeout

from SparseSegLib.control import CancelToken
from SparseSegLib.errors import ResourceError, SparseSegError, UsageError
from SparseSegLib.training.checkpoint import load_checkpoint
from SparseSegLib.training.precision import PRECISIONS


def run_alone(output: Path, token: CancelToken | None, train: Callable[[CancelToken], None]) -> int:
    """Train in a folder that no other training is in; the exit code. ``token``, or Ctrl-C, may end it early."""
    try:
        with FileLock(output / "lock", timeout=0), stopped_by_signals(token) as stop:
            train(stop)
    except Timeout:
        print(f"A training goes on in {output}.", file=sys.stderr)
        return ResourceError.exit_code
    except SparseSegError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def checkpoint_of(path: Path, made_by: str) -> dict[str, Any] | None:
    """What a training saved, if it did; UsageError if that was one of other settings or data."""
    if not path.exists():
        return None
    state: dict[str, Any] = load_checkpoint(path)
    if state["made_by"] != made_by:
        raise UsageError(f"{path} is of a training with other settings or data.", "Delete it to start over.")
    return state


def add_usual_options(parser: argparse.ArgumentParser, precision: str, checkpoint_seconds: float = 120.0) -> None:
    """Where and how to compute, and how often to save."""
    parser.add_argument("--precision", choices=PRECISIONS, default=precision)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--threads", type=int, help="of the CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint-seconds", type=float, default=checkpoint_seconds, help="between two checkpoints")


def begin(arguments: argparse.Namespace) -> None:
    """Take the usual options and make the folder of the output."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    arguments.output.mkdir(parents=True, exist_ok=True)
