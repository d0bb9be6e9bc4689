"""Panel, part 3: the settings of Densify, and the plot of the training."""

from __future__ import annotations

import time
from typing import Any

from SparseSegModule.chart import TrainingChart
from SparseSegModule.densifyWork import DenseResult
from SparseSegModule.face import Face
from SparseSegModule.networks import presetTips, showNames, showTips
from SparseSegModule.parameterNode import DEVICES, OUTPUTS, PRESETS

CHART_SECONDS = 1.0


class DensifyPart(Face):
    """Shows the settings, holds them while a round is under way, and draws its plot."""

    def __init__(self, panel) -> None:
        self.panel = panel
        self.chart: TrainingChart | None = None
        self._chartTime = 0.0
        panel.ui.plotButton.connect("clicked()", self._onPlot)
        panel.session.faces.append(self)

    def refresh(self) -> None:
        """Follow the parameter node."""
        if self.panel.parameterNode is None:
            self.chart = None
        ui, tips = self.panel.ui, presetTips()
        showTips(ui.presetSelector, [tips[preset] for preset in PRESETS])
        for selector, choices in (
            (ui.presetSelector, PRESETS),
            (ui.deviceSelector, DEVICES),
            (ui.outputSelector, OUTPUTS),
        ):
            showNames(selector, choices)
        self.onState()

    def cleanup(self) -> None:
        """The panel goes."""

    def onState(self) -> None:
        """What is learned from cannot be another while it is."""
        ui, learns = self.panel.ui, self.panel.session.rounds.learns
        for selector in (ui.volumeSelector, ui.channelSelector, ui.segmentationSelector, ui.presetSelector):
            selector.enabled = not learns
        ui.plotButton.enabled = self.chart is not None

    def onBegun(self) -> None:
        """A new plot for the round."""
        if self.chart is not None:
            self.chart.remove()
        self.chart = TrainingChart(self.panel.session.loop.segmentationNode.GetName())
        self._chartTime = 0.0

    def onProgress(self, event: dict[str, Any] | None) -> None:
        """Draw what the worker says."""
        if event is not None and self.chart is not None and time.monotonic() - self._chartTime > CHART_SECONDS:
            self._chartTime = time.monotonic()
            self.chart.add(event)

    def onResult(self, result: DenseResult) -> None:
        """Draw how good the result is."""
        if self.chart is not None:
            self.chart.add({"step": result.steps, "estimated_iou": result.estimatedIoU})

    def _onPlot(self) -> None:
        if self.chart is not None and self.chart.chartNode.GetScene() is not None:
            self.chart.toggle()
