"""What a bug report needs to know of an installation, and nothing of whose it is or what was worked on.

Only numbers, and names that are known here, get in: no path, no name of a host, a user, a file or a patient.
"""

from __future__ import annotations

import os
import platform
import re
from importlib.metadata import PackageNotFoundError, version

import torch

from SparseSegLib import __version__
from SparseSegLib.devices import describe_device

PACKAGES = (
    *("torch", "numpy", "scipy", "SimpleITK", "scikit-image", "scikit-learn", "pydicom", "highdicom", "tifffile"),
    *("slicer-core", "matplotlib"),
)


def package_version(package: str) -> str | None:
    """The version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def report() -> dict[str, str]:
    """The report, by what each entry is about."""
    return {
        "sparseseg": __version__,
        "python": platform.python_version(),
        "system": _system(),
        "in Slicer": "yes" if "SLICER_HOME" in os.environ else "no",
        "cores": str(os.cpu_count()),
        "memory": _memory(),
        "computes on": _devices(),
        "packages": ", ".join(f"{name} {found}" for name in PACKAGES if (found := package_version(name)) is not None),
    }


def _system() -> str:
    """System, its version's numbers (a kernel of one's own may be called after its host), and processor."""
    release = platform.mac_ver()[0] or platform.release()
    numbers = re.match(r"[\d.]*\d", release)
    return " ".join(part for part in (platform.system(), numbers and numbers[0], platform.machine()) if part)


def _memory() -> str:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return "unknown"
    return f"{size / 2**30:.0f} GiB"


def _devices() -> str:
    devices = [torch.device("cpu")]
    devices += [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    devices += [torch.device("mps")] if torch.backends.mps.is_available() else []
    return "; ".join(map(describe_device, devices)) + f"; CUDA of torch: {torch.version.cuda or 'none'}"
