"""The worker's dependencies beyond Slicer, installed only after a question, never at import."""

from __future__ import annotations

import importlib
import importlib.metadata
import shutil
from collections.abc import Sequence
from dataclasses import dataclass

import slicer
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from slicer.i18n import tr as _

PACKAGES = ["scikit-image>=0.22", "scikit-learn>=1.4", "safetensors>=0.4.3", "pydicom>=3", "highdicom>=0.27"]
"""Requirements that Slicer may lack, without PyTorch; newer Slicers have the last two."""

TORCH_REQUIREMENT = ">=2.10"


@dataclass(frozen=True)
class Missing:
    """Missing dependencies.

    Attributes
    ----------
    torch : whether PyTorch is missing, or too old
    extension : whether the PyTorch extension, which installs it, is missing
    packages : requirements of other packages that are missing or too old
    oldTorch : the version of a PyTorch that is too old, or ""
    """

    torch: bool
    extension: bool
    packages: tuple[str, ...]
    oldTorch: str = ""

    @property
    def anything(self) -> bool:
        """Whether a job could not run."""
        return self.torch or bool(self.packages)

    def inWords(self) -> str:
        """What is missing and what to press."""
        state = _("PyTorch is missing")
        if self.oldTorch:
            needed = TORCH_REQUIREMENT.removeprefix(">=")
            state = _("PyTorch {version} is too old: {needed} is needed at least").format(
                version=self.oldTorch, needed=needed
            )
        if self.torch and self.extension:
            return _(
                "{state}. The PyTorch extension that installs it is missing, too. Install the PyTorch extension from"
                " the Extensions Manager, restart Slicer, and come back."
            ).format(state=state)
        if self.torch:
            return _("{state}. Press Install: it is downloaded once, which takes some minutes.").format(state=state)
        return _("Python packages are missing: {names}. Press Install.").format(names=", ".join(self.packages))


def findMissing() -> Missing:
    """Check what is installed, without importing any of it."""
    version = installedVersion("torch")
    fits = version is not None and SpecifierSet(TORCH_REQUIREMENT).contains(version, prereleases=True)
    oldTorch = "" if version is None or fits else version
    return Missing(not fits, not hasPyTorchExtension(), missingPackages(PACKAGES), oldTorch)


def missingPackages(requirements: Sequence[str]) -> tuple[str, ...]:
    """Those of the requirements that what is installed does not meet."""
    return tuple(requirement for requirement in requirements if not _isMet(Requirement(requirement)))


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
    importlib.invalidate_caches()
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


def _isMet(requirement: Requirement) -> bool:
    version = installedVersion(requirement.name)
    return version is not None and requirement.specifier.contains(version, prereleases=True)
