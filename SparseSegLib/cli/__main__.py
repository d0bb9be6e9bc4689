"""``python -m SparseSegLib.cli``: the same as the command ``sparseseg``."""

import sys

from SparseSegLib.cli import main

sys.exit(main())
