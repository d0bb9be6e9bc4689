"""The stand-in host's parameter nodes: typed, checked, saved with the scene, and bound to the panel."""

import pytest
from host_helpers import Mode, add_volume, new_parameters


def test_parameters_survive_a_saved_scene(host, slicer, tmp_path):
    parameters = new_parameters(slicer)
    assert (parameters.threshold, parameters.enabled, parameters.mode, list(parameters.planes)) == (
        2.5,
        True,
        Mode.SLOW,
        [],
    )
    parameters.inputVolume, parameters.threshold, parameters.mode = add_volume(slicer), 7.0, Mode.FAST
    parameters.planes = ["a", "b", "c"]
    del parameters.planes[0]
    parameters.planes.append("d")
    node = parameters.parameterNode
    assert (node.GetParameter("mode"), node.GetParameter("planes.len")) == ("FAST", "3")
    assert node.GetNodeReference("inputVolume").GetName() == "volume"
    path = host.saveScene(tmp_path / "scene ü.mrb")
    host.closeScene()
    host.loadScene(path)
    again = new_parameters(slicer)
    assert again.inputVolume.GetName() == "volume" and again.inputVolume is slicer.util.getNode("volume")
    assert (again.threshold, again.mode, again.planes) == (7.0, Mode.FAST, ["b", "c", "d"])


def test_parameters_are_checked(slicer):
    parameters = new_parameters(slicer)
    for name, value in (("threshold", 11.0), ("preset", "other")):
        with pytest.raises(ValueError, match="does not meet"):
            setattr(parameters, name, value)
    with pytest.raises(TypeError):
        parameters.enabled = "yes"


def test_parameters_follow_the_gui(slicer, demo):
    root = slicer.util.loadUI(str(demo() / "Resources/UI/Demo.ui"))
    root.setMRMLScene(slicer.mrmlScene)
    ui = slicer.util.childWidgetVariables(root)
    parameters, volume = new_parameters(slicer), add_volume(slicer)
    tag = parameters.connectGui(ui)
    assert (ui.slider.minimum, ui.slider.maximum, ui.slider.value, ui.check.checked) == (0, 10, 2.5, True)
    ui.slider.value, ui.check.checked = 4.0, False
    ui.inputSelector.setCurrentNode(volume)
    assert (parameters.threshold, parameters.enabled, parameters.inputVolume) == (4.0, False, volume)
    parameters.threshold = 6.0
    assert ui.slider.value == 6.0
    parameters.disconnectGui(tag)
    ui.slider.value = 1.0
    parameters.enabled = True
    assert parameters.threshold == 6.0 and not ui.check.checked


def test_ui_with_an_unknown_parameter_raises(slicer, demo):
    root = slicer.util.loadUI(str(demo("nothing") / "Resources/UI/Demo.ui"))
    with pytest.raises(ValueError, match="nothing"):
        new_parameters(slicer).connectGui(slicer.util.childWidgetVariables(root))
