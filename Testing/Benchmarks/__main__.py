"""Lists the benchmarks, or runs one: ``python Testing/Benchmarks NAME ...``."""

import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    others = [path for path in sys.path if path != str(folder)]
    sys.path[:] = [str(folder.parent), str(folder.parents[1]), *others]
    from Benchmarks.shared.launcher import launch

    sys.exit(launch(folder, sys.argv[1:]))
