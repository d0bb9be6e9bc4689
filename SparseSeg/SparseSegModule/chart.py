"""Loss and held-out IoU over the steps of a training, as a Slicer plot."""

from __future__ import annotations

import math
from typing import Any

import slicer
import vtk


class TrainingChart:
    """A table node, two plot series and a chart, filled while a job runs."""

    def __init__(self, name: str) -> None:
        scene = slicer.mrmlScene
        self.tableNode = scene.AddNewNodeByClass("vtkMRMLTableNode", scene.GenerateUniqueName(f"{name} training"))
        for column in ("step", "loss", "IoU held out"):
            values = vtk.vtkDoubleArray()
            values.SetName(column)
            self.tableNode.AddColumn(values)
        self.chartNode = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", f"{self.tableNode.GetName()} chart")
        self.chartNode.SetTitle(f"{name}: training")
        self.chartNode.SetXAxisTitle("step")
        styles = slicer.vtkMRMLPlotSeriesNode
        self.seriesNodes = [
            self._addSeries("loss", styles.MarkerStyleNone),
            self._addSeries("IoU held out", styles.MarkerStyleCircle),  # after a short run there is one point
        ]

    def _addSeries(self, column: str, marker: int):
        series = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotSeriesNode", column)
        series.SetAndObserveTableNodeID(self.tableNode.GetID())
        series.SetXColumnName("step")
        series.SetYColumnName(column)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(marker)
        series.SetUniqueColor()
        self.chartNode.AddAndObservePlotSeriesNodeID(series.GetID())
        return series

    def add(self, event: dict[str, Any]) -> None:
        """Add a ``progress`` event."""
        table = self.tableNode.GetTable()
        row = table.InsertNextBlankRow()
        figures = (event["step"], event.get("loss"), event.get("estimated_iou"))
        for column, value in enumerate(figures):
            table.SetValue(row, column, vtk.vtkVariant(math.nan if value is None else float(value)))
        table.Modified()
        self.tableNode.Modified()

    def show(self) -> None:
        """Bring the chart into a plot view; the layout changes to one that has such a view."""
        slicer.modules.plots.logic().ShowChartInLayout(self.chartNode)

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        for node in (self.chartNode, *self.seriesNodes, self.tableNode):
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)
