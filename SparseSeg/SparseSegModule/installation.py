"""Whether jobs can run here, and the installing of what is missing."""

from __future__ import annotations

from collections.abc import Callable

import slicer
from slicer.i18n import tr as _

from SparseSegModule.dependencies import Missing, findMissing, install


class Installation:
    """What is installed of that which the worker needs.

    Attributes
    ----------
    missing : Missing
    installs : whether it is installing
    onChanged : called when one of them has changed
    """

    def __init__(self) -> None:
        self.missing: Missing = findMissing()
        self.installs = False
        self.onChanged: Callable[[], None] = lambda: None

    def look(self) -> None:
        """Look again at what is installed."""
        self.missing = findMissing()
        self.onChanged()

    def require(self) -> bool:
        """Whether a job can run; if not, offer to install what is missing."""
        if self.missing.anything:
            self.missing = findMissing()
        if not self.missing.anything:
            return True
        self.install()
        return not self.missing.anything

    def install(self) -> None:
        """Install what is missing, after asking; Slicer may stand still meanwhile."""
        if self.missing.torch and self.missing.extension:
            slicer.util.warningDisplay(self.missing.inWords())
            return
        if self.installs:  # what installs may run the event loop
            return
        self.installs = True
        self.onChanged()
        slicer.app.processEvents()
        try:
            install(self.missing)
        except Exception as error:  # whatever pip and the PyTorch extension raise
            slicer.util.errorDisplay(
                _("The installation failed. Is there an internet connection?") + f"\n\n{error}",
                detailedText=repr(error),
            )
        finally:
            self.installs = False
        self.look()
