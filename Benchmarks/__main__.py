"""Lists the benchmarks, or runs one: ``python Benchmarks NAME ...``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    sys.path[0] = str(folder.parent)
    from Benchmarks.shared.launcher import launch

    sys.exit(launch(folder, sys.argv[1:]))
