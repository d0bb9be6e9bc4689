"""A stand-in host for tests: Slicer's own MRML, its Python conventions, and PySide6 in the place of its windows."""

import os

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from .host import Host

__all__ = ["Host"]
