"""Panel, part 3: Densify, its progress and preview, and its result."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.errors import Canceled, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegModule.annotatePart import AnnotatePart
from SparseSegModule.chart import TrainingChart
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.networks import presetTips, showTips
from SparseSegModule.parameterNode import PRESETS
from SparseSegModule.resultView import ResultView

UPDATE_MILLISECONDS = 800
CHART_SECONDS = 1.0


class DensifyPart(Listener):
    """The button, the progress and the live preview of one densification at a time."""

    def __init__(self, panel, annotate: AnnotatePart) -> None:
        self.panel = panel
        self.annotate = annotate
        self.handle: JobHandle | None = None
        self.chart: TrainingChart | None = None
        self.view = ResultView(panel, annotate)
        self._chartTime = 0.0
        self._message = ""
        self._updateTimer = qt.QTimer()
        self._updateTimer.setSingleShot(True)
        self._updateTimer.setInterval(UPDATE_MILLISECONDS)
        self._updateTimer.connect("timeout()", self._sendAnnotation)
        annotate.onChanged = self._onAnnotationChanged
        panel.ui.densifyButton.connect("clicked()", self.onDensify)
        panel.ui.cancelButton.connect("clicked()", self.onCancel)
        panel.ui.plotButton.connect("clicked()", self._onPlot)

    def refresh(self) -> None:
        """Follow the parameter node."""
        if self.handle is not None and self.handle.ended:  # it was abandoned with its scene
            self.handle = None
        if self.panel.parameterNode is None:
            self.view.forget()
            self.chart = None
            self.panel.ui.progressLabel.text = ""
        self.view.refresh()
        tips = presetTips()
        showTips(self.panel.ui.presetSelector, [tips[preset] for preset in PRESETS])
        self._updateButtons()

    def cleanup(self) -> None:
        """The panel goes; its job with it."""
        self._updateTimer.stop()
        if self.handle is not None:
            self.handle.abandon()
            self.handle = None
        self.view.removePreview()

    def onDensify(self) -> None:
        """Start, or stop and keep the result so far."""
        if self.handle is not None:
            self.handle.stop()
            self.panel.ui.progressLabel.text = _("Finishing with what there is...")
            return
        if not self.panel.requireTorch():
            return
        node = self.panel.parameterNode
        self.annotate.offerToFind()
        try:
            self.view.discardPrevious()
            self.handle = self.panel.logic.densify(
                node.inputVolume,
                node.segmentation,
                node.budgetSeconds or None,
                preset=node.preset,
                channels=self.panel.channels(),
                planes=self.annotate.planes(),
                margin=node.margin,
                seed=node.seed,
                device=node.device,
                output=node.output,
                listener=self,
                show=self._onPreview,
                wait=False,
            )
        except SparseSegError as error:
            slicer.util.errorDisplay(str(error))
            return
        self.view.begin(node.inputVolume, node.segmentation)
        self._startChart(node.segmentation.GetName())
        self.panel.ui.progressLabel.text = _("Starting...")
        self._updateButtons()

    def onCancel(self) -> None:
        """End the job; nothing of it stays."""
        if self.handle is not None:
            self.handle.cancel()
            self.panel.ui.progressLabel.text = _("Canceling...")

    def onProgress(self, event: dict[str, Any]) -> None:
        """Show how far the training is."""
        ui = self.panel.ui
        ui.progressBar.value = round(100 * event["fraction"])
        parts = [_("step {step}").format(step=event["step"])]
        if event.get("seconds_left") is not None:
            parts.append(_("{seconds} s left").format(seconds=round(event["seconds_left"])))
        if event.get("loss") is not None:
            parts.append(_("loss {loss}").format(loss=round(event["loss"], 3)))
        if event.get("estimated_iou") is not None:
            parts.append(_("IoU about {iou} on held-out slices").format(iou=round(event["estimated_iou"], 2)))
        ui.progressLabel.text = ", ".join(parts) + (f"\n{self._message}" if self._message else "")
        if self.chart is not None and time.monotonic() - self._chartTime > CHART_SECONDS:
            self._chartTime = time.monotonic()
            self.chart.add(event)

    def onMessage(self, text: str) -> None:
        """Show a message of the worker."""
        self._message = text
        self.panel.ui.progressLabel.text = text

    def onEnded(self, handle: JobHandle) -> None:
        """Show the result or the error."""
        self.handle = None
        self._message = ""
        ui = self.panel.ui
        if handle.error is None:
            result = handle.result
            self.view.end(result)
            if result.segmentationNode is not None:
                self.panel.parameterNode.shown = result.segmentationNode
            self.annotate.suggest(result.nextSlice)
            ui.progressLabel.text = _summary(result)
        else:
            self.view.removePreview()
            canceled = isinstance(handle.error, Canceled)
            ui.progressLabel.text = _("Canceled.") if canceled else str(handle.error)
            if not canceled:
                slicer.util.errorDisplay(str(handle.error))
        self._updateButtons()

    def _onPreview(self, labels: np.ndarray, geometry: Geometry) -> None:
        self.view.showPreview(labels, geometry)
        self._updateButtons()

    def _onAnnotationChanged(self) -> None:
        if self.handle is not None:
            self._updateTimer.start()

    def _sendAnnotation(self) -> None:
        if self.handle is None:
            return
        try:
            drawing = self.annotate.drawing()
        except SparseSegError as error:
            self.onMessage(str(error))
            return
        if not self.view.sameSegments():
            self.onMessage(_("Segments were added or removed: this training goes on with those that it knows."))
            return
        work = self.handle.work
        if not self.handle.updateAnnotation(lambda folder: work.writeUpdate(folder, drawing)):
            self._updateTimer.start()  # the job is not ready yet

    def _startChart(self, name: str) -> None:
        if self.chart is not None:
            self.chart.remove()
        self.chart = TrainingChart(name)
        self._chartTime = 0.0

    def _onPlot(self) -> None:
        if self.chart is not None and self.chart.chartNode.GetScene() is not None:
            self.chart.toggle()

    def _updateButtons(self) -> None:
        ui, node = self.panel.ui, self.panel.parameterNode
        runs = self.handle is not None
        ui.densifyButton.text = _("Stop") if runs else _("Densify")
        ui.densifyButton.toolTip = (
            _("Finish with what there is.")
            if runs
            else _("Train on the annotated slices in the background and show the dense segmentation as it improves.")
        )
        ready = node is not None and node.inputVolume is not None and node.segmentation is not None
        ui.densifyButton.enabled = runs or ready
        ui.cancelButton.enabled = runs
        ui.progressBar.visible = runs
        ui.plotButton.enabled = self.chart is not None
        for selector in (ui.volumeSelector, ui.channelSelector, ui.segmentationSelector, ui.presetSelector):
            selector.enabled = not runs
        self.view.updateButtons(runs)


def _summary(result: Any) -> str:
    text = _("Done in {seconds} s.").format(seconds=round(result.seconds))
    if result.estimatedIoU is not None:
        text += " " + _("IoU about {iou} on slices it had not seen.").format(iou=round(result.estimatedIoU, 2))
    return text
