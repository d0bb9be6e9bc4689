"""Run one job: ``python -m SparseSegLib.worker JOBDIR``."""

from __future__ import annotations

import sys
from pathlib import Path

from SparseSegLib.lifeline import end_with_parent
from SparseSegLib.worker.process import run

WITH_PARENT = "--with-parent"

if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != WITH_PARENT]
    if len(arguments) != 1:
        sys.exit(f"usage: python -m SparseSegLib.worker [{WITH_PARENT}] JOBDIR")
    if WITH_PARENT in sys.argv:
        end_with_parent()
    sys.exit(run(Path(arguments[0])))
