"""``sparseseg info``: what this installation is and what it computes on."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from SparseSegLib import __version__
from SparseSegLib.cli.console import Console

NAME = "info"
SUMMARY = "device, versions, presets, networks"
DESCRIPTION = (
    "Show which device will compute, the versions of what is installed, the presets of densify, and the networks that\n"
    "can be trained."
)
PACKAGES = ("torch", "numpy", "scipy", "SimpleITK", "scikit-image", "scikit-learn", "slicer-core", "matplotlib")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """This command takes no arguments."""


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Print the figures."""
    from SparseSegLib.densify import PRESETS
    from SparseSegLib.devices import choose_device, describe_device
    from SparseSegLib.networks import network_names

    device = choose_device()
    values: dict[str, Any] = {
        "sparseseg": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": str(device),
        "device_name": describe_device(device),
        "packages": {package: _version(package) for package in PACKAGES},
        "presets": {name: preset.summary for name, preset in PRESETS.items()},
        "networks": network_names(),
    }
    lines = [f"sparseseg {__version__}, Python {values['python']}, {values['system']}"]
    lines += [f"device: {values['device_name']} ({values['device']})", "packages:"]
    lines += [f"  {name:14}{found or 'not installed'}" for name, found in values["packages"].items()]
    lines += ["presets:"] + [f"  {name:14}{summary}" for name, summary in values["presets"].items()]
    lines += ["networks:"] + [f"  {name}" for name in values["networks"]]
    console.result(values, "\n".join(lines))


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
