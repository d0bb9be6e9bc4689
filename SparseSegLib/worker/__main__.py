"""Run one job: ``python -m SparseSegLib.worker JOBDIR``."""

from __future__ import annotations

import sys
from pathlib import Path

from SparseSegLib.worker.process import run

if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m SparseSegLib.worker JOBDIR")
    sys.exit(run(Path(sys.argv[1])))
