"""``python -m SparseSegLib.cli``: the same as the command ``sparseseg``."""

import sys

from SparseSegLib.cli.supervise import run

if __name__ == "__main__":
    sys.exit(run())
