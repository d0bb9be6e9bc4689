"""What all tests share."""

import os

os.environ.setdefault("GOMP_SPINCOUNT", "3000")  # before torch is imported: tests share two cores with workers
