"""Draws the slice views and a 3D view with Slicer's displayable managers, off screen."""

from pathlib import Path
from typing import Any

import slicer
import vtk
from trame_slicer.views import AbstractView, SliceView, ThreeDView
from trame_slicer.views.render_scheduler import NoScheduleRendering

from .application import SLICE_VIEWS

COLORS = {"Red": (0.95, 0.29, 0.2), "Green": (0.43, 0.69, 0.29), "Yellow": (0.93, 0.84, 0.3)}


class _SliceView(SliceView):
    """A slice view over the layout manager's slice logic, which leaves the slice where the module put it."""

    def set_scene(self, scene: Any) -> None:
        """Put the layout manager's logic in the place of the view's own."""
        AbstractView.set_scene(self, scene)
        logic = slicer.app.layoutManager().sliceWidget(self.name).sliceLogic()
        slicer.app.applicationLogic().GetSliceLogics().RemoveItem(self._logic)
        self._event_observer.UpdateObservation(self._logic, logic)
        self._logic = logic
        self._interactor_observer.SetSliceLogic(logic)
        self.set_view_node(logic.GetSliceNode())

    def _reset_node_view_properties(self) -> None:
        """Keep orientation and offset."""


class Views:
    """The views, made when they are first drawn, and anew after the scene was closed, when they draw no more."""

    def __init__(self, applicationLogic: Any) -> None:
        self._logic, self._slices, self._threeD = applicationLogic, {}, None
        slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.StartCloseEvent, self._forget)

    def _forget(self, *_arguments: Any) -> None:
        for view in [*self._slices.values(), *([self._threeD] if self._threeD else [])]:
            view.finalize()
        self._slices, self._threeD = {}, None

    def renderSlices(self, path: Path, size: int, threeD: bool, fit: bool) -> None:
        """Write one picture with the slice views side by side, and the 3D view after them."""
        vtk.vtkObject.GlobalWarningDisplayOff()  # it misses windows and mice
        try:
            windows = [self._slice(name, size, fit) for name in SLICE_VIEWS]
            if threeD:
                windows.append(self._threeDView(size))
        finally:
            vtk.vtkObject.GlobalWarningDisplayOn()
        appended = vtk.vtkImageAppend()
        for window in windows:
            capture = vtk.vtkWindowToImageFilter()
            capture.SetInput(window)
            capture.ReadFrontBufferOff()
            capture.Update()
            image = vtk.vtkImageData()
            image.DeepCopy(capture.GetOutput())
            appended.AddInputData(image)
        writer = vtk.vtkPNGWriter()
        writer.SetFileName(str(path))
        writer.SetInputConnection(appended.GetOutputPort())
        writer.Write()

    def _slice(self, name: str, size: int, fit: bool) -> Any:
        if name not in self._slices:
            view = _SliceView(slicer.mrmlScene, self._logic, name, scheduled_render_strategy=NoScheduleRendering())
            view.render_window().SetOffScreenRendering(True)
            label = vtk.vtkCornerAnnotation()
            label.SetText(vtk.vtkCornerAnnotation.UpperLeft, name)
            label.GetTextProperty().SetColor(*COLORS[name])
            view.first_renderer().AddViewProp(label)
            self._slices[name] = view
        view = self._slices[name]
        view.render_window().SetSize(size, size)
        view._logic.ResizeSliceNode(size, size)
        if fit:
            view._logic.FitSliceToBackground()
        view._update_image_data_connection()
        view.render()
        return view.render_window()

    def _threeDView(self, size: int) -> Any:
        if self._threeD is None:
            view = ThreeDView(slicer.mrmlScene, self._logic, "1", scheduled_render_strategy=NoScheduleRendering())
            view.render_window().SetOffScreenRendering(True)
            self._threeD = view
        view = self._threeD
        view.render_window().SetSize(size, size)
        view.set_mapped_in_layout(True)
        view.reset_camera()
        view.render()
        return view.render_window()
