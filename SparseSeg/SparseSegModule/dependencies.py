"""What the worker needs beyond Slicer, and how it gets there: only after a question, never at import."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import slicer
from slicer.i18n import tr as _

PACKAGES = ["scikit-image>=0.22", "scikit-learn>=1.4"]
TORCH_REQUIREMENT = ">=2.5"


@dataclass(frozen=True)
class Missing:
    """What is not there yet.

    Attributes
    ----------
    torch : whether PyTorch is missing
    extension : whether the PyTorch extension, which installs it, is missing
    packages : requirements of other packages that are missing
    """

    torch: bool
    extension: bool
    packages: tuple[str, ...]

    @property
    def anything(self) -> bool:
        """Whether a job could not run."""
        return self.torch or bool(self.packages)

    def inWords(self) -> str:
        """What is missing and what to press."""
        if self.torch and self.extension:
            return _(
                "PyTorch is missing, and so is the PyTorch extension that installs it. Install the PyTorch extension"
                " from the Extensions Manager, restart Slicer, and come back."
            )
        if self.torch:
            return _("PyTorch is missing. Press Install: it is downloaded once, which takes some minutes.")
        return _("Python packages are missing: {names}. Press Install.").format(names=", ".join(self.packages))


def findMissing() -> Missing:
    """Look at what is installed, without importing any of it."""
    return Missing(installedVersion("torch") is None, not hasPyTorchExtension(), missingPackages(PACKAGES))


def missingPackages(requirements: Sequence[str]) -> tuple[str, ...]:
    """Those of the requirements whose package is not installed."""
    return tuple(requirement for requirement in requirements if installedVersion(_nameOf(requirement)) is None)


def hasPyTorchExtension() -> bool:
    """Whether the extension that installs PyTorch is there."""
    return hasattr(slicer.modules, "pytorchutils")


def installedVersion(package: str) -> str | None:
    """The version of an installed Python package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hasNvidiaCard() -> bool:
    """Whether the machine has an NVIDIA driver, used or not."""
    return shutil.which("nvidia-smi") is not None


def install(missing: Missing) -> bool:
    """Ask, then install what is missing; whether everything is there now.

    Raises whatever the installers raise when there is no internet.
    """
    if missing.torch:
        import PyTorchUtils

        if (
            PyTorchUtils.PyTorchUtilsLogic().installTorch(
                askConfirmation=True, torchVersionRequirement=TORCH_REQUIREMENT
            )
            is None
        ):
            return False
    if missing.packages:
        installPackages(list(missing.packages))
    return not findMissing().anything


def installPackages(requirements: list[str]) -> None:
    """Ask, then install: through ``slicer.packaging``, or in Slicers that lack it, ``slicer.util.pip_install``."""
    packaging = getattr(slicer, "packaging", None)
    if packaging is None:
        try:
            from slicer import packaging
        except ImportError:
            packaging = None
    if packaging is not None and hasattr(packaging, "pip_ensure"):
        packaging.pip_ensure(requirements, requester="SparseSeg", skip_in_testing=False)
        return
    question = _("SparseSeg needs these Python packages: {names}. Install them now?").format(
        names=", ".join(requirements)
    )
    if slicer.util.confirmOkCancelDisplay(question):
        slicer.util.pip_install(requirements)


def _nameOf(requirement: str) -> str:
    return requirement.split(">=", maxsplit=1)[0]
