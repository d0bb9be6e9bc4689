"""Panel, part 3: Densify, its progress and preview, and its result."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import Canceled, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.protocol import MOST_PLANES
from SparseSegLib.units import volume_text
from SparseSegModule.annotatePart import AnnotatePart
from SparseSegModule.chart import TrainingChart
from SparseSegModule.densifier import regionSetting
from SparseSegModule.densifyWork import DenseResult
from SparseSegModule.jobHandle import JobHandle, Listener
from SparseSegModule.learner import Learner, Learning
from SparseSegModule.networks import presetTips, showNames, showTips
from SparseSegModule.parameterNode import DEVICES, OUTPUTS, PRESETS
from SparseSegModule.regionPart import RegionPart
from SparseSegModule.resultView import ResultView
from SparseSegModule.translation import errorText
from SparseSegModule.views import shownPlane, sliceNodes

UPDATE_MILLISECONDS = 150
CHART_SECONDS = 1.0


class DensifyPart(Listener):
    """Button, progress and live preview of the learning, and the worker behind it."""

    def __init__(self, panel, annotate: AnnotatePart, region: RegionPart) -> None:
        self.panel = panel
        self.annotate = annotate
        self.region = region
        self.learner = Learner(panel.logic, self)
        self.chart: TrainingChart | None = None
        self.view = ResultView(panel, annotate)
        self._chartTime = 0.0
        self._message = ""
        self._sent = -1  # the annotation's revision that the worker has
        self._looked: list[Plane] = []  # the slices on display that it knows of
        self._updateTimer = qt.QTimer()
        self._updateTimer.setSingleShot(True)
        self._updateTimer.setInterval(UPDATE_MILLISECONDS)
        self._updateTimer.connect("timeout()", self._onUpdateTimer)
        annotate.onChanged = self._onAnnotationChanged
        annotate.onCorrected = self.view.showDrawn
        panel.ui.densifyButton.connect("clicked()", self.onDensify)
        panel.ui.finishButton.connect("clicked()", self.onFinish)
        panel.ui.cancelButton.connect("clicked()", self.onCancel)
        panel.ui.plotButton.connect("clicked()", self._onPlot)

    @property
    def handle(self) -> JobHandle | None:
        """The worker's handle while it learns, or None."""
        return self.learner.handle if self.learner.learns else None

    def refresh(self) -> None:
        """Follow the parameter node."""
        if self.learner.isForNothing:
            self.learner.abandon()
        if self.panel.parameterNode is None:
            self.view.forget()
            self.chart = None
            self.panel.ui.progressLabel.text = ""
        self._adopt()
        self.view.refresh()
        ui, tips = self.panel.ui, presetTips()
        showTips(ui.presetSelector, [tips[preset] for preset in PRESETS])
        for selector, choices in (
            (ui.presetSelector, PRESETS),
            (ui.deviceSelector, DEVICES),
            (ui.outputSelector, OUTPUTS),
        ):
            showNames(selector, choices)
        self._updateButtons()

    def _adopt(self) -> None:
        """Take up the result that a loaded scene has of what is chosen."""
        loop = self.annotate.loop
        if loop is None or self.learner.learns:
            return
        result = self.view.adopt(loop.volumeNode, loop.segmentationNode)
        if result is not None:
            self.annotate.suggest(result.nextSlice)
            self.panel.ui.progressLabel.text = summary(result)

    def cleanup(self) -> None:
        """The panel goes; its worker with it."""
        self._updateTimer.stop()
        self.learner.abandon()
        self.view.removePreview()

    def onDensify(self) -> None:
        """Learn from what is drawn; the slice that was drawn on last is finished with it."""
        if not self.panel.requireTorch():
            return
        self.annotate.slices.offerToFind()
        self.annotate.confirm()
        try:
            self._learn()
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))

    def _learn(self) -> None:
        """Begin a round, or have the one that runs learn from what is drawn now; SparseSegError if that cannot be."""
        loop = self.annotate.loop
        drawing = loop.drawing()
        running = self.handle
        self._looked = self._shown()
        if not self.learner.learn(self._learning(inRegion=True), drawing, self._looked, self._options()):
            self._updateTimer.start()  # the worker is not ready yet
            return
        self._sent = loop.revision
        if self.handle is not running:  # a new round, or another worker for other segments
            self.view.begin(loop.volumeNode, loop.segmentationNode)
            self._startChart(loop.segmentationNode.GetName())
            self.panel.ui.progressLabel.text = _("Starting...")
        self._updateButtons()

    def _shown(self) -> list[Plane]:
        """The slices of the volume on display."""
        volumeNode = self.annotate.loop.volumeNode
        shown = [plane for view in sliceNodes() if (plane := shownPlane(view, volumeNode)) is not None]
        return shown[:MOST_PLANES]

    def _options(self) -> dict[str, Any]:
        """How a worker's previews and results are shown."""
        loop = self.annotate.loop
        return {"show": self._onPreview, "last": self.view.lastOn(loop.volumeNode, loop.segmentationNode)}

    def _learning(self, *, inRegion: bool = False) -> Learning:
        """What is learned, and how, as the panel has it; GeometryError for a region that cannot be found."""
        node = self.panel.parameterNode
        images = (node.inputVolume, *self.panel.channels())
        settings = {name: getattr(node, name) for name in ("preset", "margin", "seed", "device")}
        if inRegion and node.region is not None:
            settings["region"] = regionSetting(node.region, node.inputVolume)
        return Learning(images, node.segmentation, node.budgetSeconds or None, settings, node.output)

    def onFinish(self) -> None:
        """Stop and keep the result so far."""
        if self.handle is not None:
            self.handle.stop()
            self.panel.ui.progressLabel.text = _("Finishing with what there is...")

    def onCancel(self) -> None:
        """End the learning; nothing of this round stays."""
        if self.handle is not None:
            self.handle.cancel()
            self.panel.ui.progressLabel.text = _("Canceling...")

    def onProgress(self, event: dict[str, Any]) -> None:
        """Show how far the training is; say what is on display now, as far as it is another slice than before."""
        ui = self.panel.ui
        ui.progressBar.value = round(100 * event["fraction"])
        loss = "" if event.get("loss") is None else round(event["loss"], 3)
        ui.progressBar.toolTip = _("step {step}, loss {loss}").format(step=event["step"], loss=loss)
        parts = []
        if event.get("seconds_left") is not None:
            parts.append(_("{seconds} s left").format(seconds=round(event["seconds_left"])))
        if event.get("estimated_iou") is not None:
            parts.append(_("IoU about {iou} on held-out slices").format(iou=round(event["estimated_iou"], 2)))
        ui.progressLabel.text = ", ".join(parts) + (f"\n{self._message}" if self._message else "")
        if not ui.finishButton.enabled:  # this round began by itself
            self._updateButtons()
        if self.annotate.loop is not None and (shown := self._shown()) != self._looked:
            self._looked = shown
            self.learner.look(shown)
        if self.chart is not None and time.monotonic() - self._chartTime > CHART_SECONDS:
            self._chartTime = time.monotonic()
            self.chart.add(event)

    def onMessage(self, text: str) -> None:
        """Show a message of the worker."""
        self._message = text
        self.panel.ui.progressLabel.text = text
        self._updateButtons()  # what cannot be learned from begins no round

    def onRound(self, handle: JobHandle) -> None:
        """Show the result of a round."""
        result = handle.result
        self._message = ""
        self.view.end(result)
        if result.segmentationNode is not None:
            self.panel.parameterNode.shown = result.segmentationNode
        self.annotate.suggest(result.nextSlice)
        if self.chart is not None:
            self.chart.add({"step": result.steps, "estimated_iou": result.estimatedIoU})
        self.panel.ui.progressLabel.text = summary(result)
        self._updateButtons()

    def onEnded(self, handle: JobHandle) -> None:
        """The worker has ended, and not because all was done."""
        self._message = ""
        ui = self.panel.ui
        if handle.error is not None:
            self.view.removePreview()
            canceled = isinstance(handle.error, Canceled)
            ui.progressLabel.text = _("Canceled.") if canceled else errorText(handle.error)
            if not canceled:
                slicer.util.errorDisplay(errorText(handle.error))
        self._updateButtons()

    def _onPreview(self, labels: np.ndarray, geometry: Geometry) -> None:
        self.view.showPreview(labels, geometry)
        self._updateButtons()

    def _onAnnotationChanged(self) -> None:
        """Learn from what was drawn where that is wanted; have a worker ready with the first stroke."""
        self.region.refresh()
        loop = self.annotate.loop
        live = self.panel.parameterNode.live
        if loop.revision != self._sent and (self.learner.learns or live):
            self._updateTimer.start()
        elif loop.table.planes and not self.panel.status.missing.anything:
            self.learner.prepare(self._learning(), self._options())

    def _onUpdateTimer(self) -> None:
        if self.annotate.loop is None or self.panel.status.missing.anything:
            return
        try:
            self._learn()
        except SparseSegError as error:  # so far nothing can be learned from what is drawn
            self.onMessage(errorText(error))

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
        runs = self.learner.learns
        ready = node is not None and node.inputVolume is not None and node.segmentation is not None
        ui.densifyButton.enabled = ready and not runs
        ui.finishButton.enabled = ui.cancelButton.enabled = runs
        ui.progressBar.visible = runs
        ui.plotButton.enabled = self.chart is not None
        for selector in (ui.volumeSelector, ui.channelSelector, ui.segmentationSelector, ui.presetSelector):
            selector.enabled = not runs
        self.view.updateButtons(runs)


def summary(result: DenseResult) -> str:
    """A result in words: how long it took, how good it is, how large the structures are."""
    parts = [_("Done in {seconds} s.").format(seconds=round(result.seconds))]
    if result.estimatedIoU is not None:
        iou = result.estimatedIoU
        text = _("IoU about {iou} (Dice {dice}) on slices it had not seen.")
        parts.append(text.format(iou=round(iou, 2), dice=round(2 * iou / (1 + iou), 2)))
    sizes = [f"{name} {volume_text(milliliters)}" for name, milliliters in result.milliliters.items()]
    parts.append(", ".join(sizes))
    if result.reachesEdge:
        parts.append(_("It reaches the edge of the region that was worked on, and may go on beyond it."))
    return " ".join(parts)
