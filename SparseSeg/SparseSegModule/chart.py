"""Loss and held-out IoU over the steps of a training, as a Slicer plot."""

from __future__ import annotations

import math
from typing import Any

import slicer
import vtk
from slicer.i18n import tr as _

STEP, LOSS, IOU = "step", "loss", "IoU held out"
"""The columns of the table."""

LAYOUT_ATTRIBUTE = "SparseSeg.layoutBefore"
"""Names on the layout node the layout that a chart has replaced."""


class TrainingChart:
    """A table node, two plot series and a chart, filled while a job runs; the data tree does not list them."""

    def __init__(self, name: str) -> None:
        scene = slicer.mrmlScene
        self.tableNode = _add("vtkMRMLTableNode", scene.GenerateUniqueName(f"{name} training"))
        for column in (STEP, LOSS, IOU):
            values = vtk.vtkDoubleArray()
            values.SetName(column)
            self.tableNode.AddColumn(values)
        self.chartNode = _add("vtkMRMLPlotChartNode", f"{self.tableNode.GetName()} chart")
        self.chartNode.SetTitle(_("{name}: training").format(name=name))
        self.chartNode.SetXAxisTitle(_("step"))
        self.seriesNodes = [self._addSeries(LOSS, _("loss")), self._addSeries(IOU, _("IoU on held-out slices"))]

    def _addSeries(self, column: str, title: str):
        series = _add("vtkMRMLPlotSeriesNode", title)
        series.SetAndObserveTableNodeID(self.tableNode.GetID())
        series.SetXColumnName(STEP)
        series.SetYColumnName(column)
        series.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        series.SetMarkerStyle(series.MarkerStyleCircle)  # after a short run there is one point
        series.SetMarkerSize(4)
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

    def toggle(self) -> None:
        """Bring the chart into a plot view, with a layout that has one; the next time, the layout of before is back."""
        logic, layoutNode = slicer.modules.plots.logic(), slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        layout = layoutNode.GetViewArrangement()
        before = layoutNode.GetAttribute(LAYOUT_ATTRIBUTE)
        if before is not None and layout == logic.GetLayoutWithPlot(layout) and self._isChosen():
            layoutNode.RemoveAttribute(LAYOUT_ATTRIBUTE)
            layoutNode.SetViewArrangement(int(before))
            return
        logic.ShowChartInLayout(self.chartNode)
        if layoutNode.GetViewArrangement() != layout:
            layoutNode.SetAttribute(LAYOUT_ATTRIBUTE, str(layout))

    def _isChosen(self) -> bool:
        """Whether plot views show this chart."""
        selection = slicer.app.applicationLogic().GetSelectionNode()
        return selection.GetActivePlotChartID() == self.chartNode.GetID()

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        for node in (self.chartNode, *self.seriesNodes, self.tableNode):
            if node.GetScene() is not None:
                slicer.mrmlScene.RemoveNode(node)


def _add(className: str, name: str):
    """A new node that the data tree does not list."""
    node = slicer.mrmlScene.AddNewNodeByClass(className, name)
    constants = slicer.vtkMRMLSubjectHierarchyConstants
    node.SetAttribute(constants.GetSubjectHierarchyExcludeFromTreeAttributeName(), "1")
    return node
