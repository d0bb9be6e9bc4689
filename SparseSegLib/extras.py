"""Packages that only some functions need, and an error that says how to get them. Standard library only."""

from __future__ import annotations

from importlib.util import find_spec

from SparseSegLib.errors import DependencyError

MODULES = {"pytorch-ignite": "ignite"}
"""What packages are called in Python, where that is another name."""


def require_packages(extra: str, *packages: str) -> None:
    """Raise DependencyError if one of an extra's packages is not installed; none of them is imported.

    Parameters
    ----------
    extra : name of the extra in pyproject.toml, as in ``pip install "SparseSegLib[extra]"``
    packages : names as pip knows them
    """
    missing = [package for package in packages if find_spec(MODULES.get(package, package)) is None]
    if missing:
        raise DependencyError(
            f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} not installed.",
            f'Install it with: pip install "SparseSegLib[{extra}]"',
        )
