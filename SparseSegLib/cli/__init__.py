"""The command line: ``sparseseg densify | train | segment | models | evaluate | export | planes | …``.

The commands are imported when they are needed: the process that watches over them must start quickly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line in this process; the exit code."""
    from SparseSegLib.cli.program import main as run

    return run(arguments)


def __getattr__(name: str) -> Any:
    if name in ("COMMANDS", "make_parser"):
        from SparseSegLib.cli import program

        return getattr(program, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
