"""Panel: what is missing on the first run, and the line with the device."""

from __future__ import annotations

import json
import subprocess

from slicer.i18n import tr as _

from SparseSegModule.background import BackgroundCall
from SparseSegModule.dependencies import hasNvidiaCard
from SparseSegModule.engine import addEngineToPath, pythonExecutable
from SparseSegModule.waiting import Waiting

POLL_MILLISECONDS = 200


class StatusPart:
    """Finds the device of the worker's Python, in the background, as soon as PyTorch is there."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self._installation = panel.session.installation
        self._installation.onChanged = self._onInstallation
        self._waiting = Waiting(self._onAnswer, POLL_MILLISECONDS)
        panel.ui.installButton.connect("clicked()", self._installation.install)
        self._look()

    def refresh(self) -> None:
        """Nothing here depends on the parameter node."""

    def cleanup(self) -> None:
        """Stop asking."""
        self._installation.onChanged = lambda: None
        self._waiting.forget()

    def _onInstallation(self) -> None:
        """What is installed has changed, or is about to."""
        if self._installation.installs:
            self._showInstalling()
        else:
            self.panel.ui.installButton.enabled = True
            self._look()

    def _look(self) -> None:
        ui, missing = self.panel.ui, self._installation.missing
        ui.setupFrame.visible = missing.anything
        ui.installButton.visible = not (missing.torch and missing.extension)
        if missing.anything:
            ui.setupLabel.text = missing.inWords()
            ui.statusLabel.text = ""
            return
        ui.statusLabel.text = _("Looking for a GPU...")
        self._waiting.start(_askWorker)

    def _showInstalling(self) -> None:
        ui = self.panel.ui
        ui.installButton.enabled = False
        ui.setupFrame.visible = True
        ui.setupLabel.text = _("Installing. This takes some minutes, in which Slicer may not answer.")

    def _onAnswer(self, call: BackgroundCall) -> None:
        try:
            self._show(call.result())
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            self.panel.ui.statusLabel.text = _("The worker's Python could not be asked: {error}").format(
                error=_why(error)
            )

    def _show(self, info: dict) -> None:
        text = _("Computes on: {device}. PyTorch {version}.").format(
            device=info["device_name"], version=info["packages"]["torch"]
        )
        if info.get("memory_gib"):
            text += " " + _("{memory} GB of memory.").format(memory=info["memory_gib"])
        if info["device"] == "cpu" and hasNvidiaCard():
            text += (
                "<br><b>"
                + _("There is an NVIDIA card, but this PyTorch cannot use it: reinstall it with the PyTorch extension.")
                + "</b>"
            )
        self.panel.ui.statusLabel.text = text


def _why(error: Exception) -> str:
    """The last line that a process wrote before it failed, or else the error itself."""
    said = error.stderr if isinstance(error, subprocess.CalledProcessError) else ""
    return (said.strip() or str(error)).splitlines()[-1]


def _askWorker() -> dict:
    """``sparseseg info`` of the worker's Python, as a dictionary (in a thread)."""
    import os

    environment = dict(os.environ)
    known = [environment["PYTHONPATH"]] if environment.get("PYTHONPATH") else []
    environment["PYTHONPATH"] = os.pathsep.join([str(addEngineToPath()), *known])
    answer = subprocess.run(
        [pythonExecutable(), "-m", "SparseSegLib.cli", "info", "--json"],
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=120,
        check=True,
        env=environment,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )
    return json.loads(answer.stdout.strip().splitlines()[-1])
