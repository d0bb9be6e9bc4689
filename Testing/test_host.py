"""The stand-in host has PythonQt's and Slicer's manners, so that what passes here has a chance in Slicer."""

from enum import Enum
from typing import Annotated

import numpy as np
import pytest

pytest.importorskip("trame_slicer", reason="needs the packages slicer-core and trame-slicer")
pytest.importorskip("PySide6.QtUiTools", reason="needs the package PySide6-Essentials")

from host import Host, conventions

SHAPE = (8, 10, 12)

UI = """<?xml version="1.0"?><ui version="4.0"><class>Demo</class><widget class="qMRMLWidget" name="Demo">
<layout class="QVBoxLayout" name="layout">
<item><widget class="qMRMLNodeComboBox" name="inputSelector">
 <property name="nodeTypes"><stringlist><string>vtkMRMLScalarVolumeNode</string></stringlist></property>
 <property name="noneEnabled"><bool>true</bool></property>
 <property name="SlicerParameterName" stdset="0"><string>inputVolume</string></property></widget></item>
<item><widget class="ctkCollapsibleButton" name="section"><property name="text"><string>More</string></property>
 <property name="collapsed"><bool>true</bool></property><layout class="QFormLayout" name="form">
 <item row="0" column="0"><widget class="QLabel" name="label"/></item>
 <item row="0" column="1"><widget class="ctkSliderWidget" name="slider">
 <property name="SlicerParameterName" stdset="0"><string>threshold</string></property></widget></item>
 </layout></widget></item>
<item><widget class="QCheckBox" name="check">
 <property name="SlicerParameterName" stdset="0"><string>PARAMETER</string></property></widget></item>
<item><widget class="QPushButton" name="apply"><property name="text"><string>Apply</string></property></widget></item>
</layout></widget>
<customwidgets>
<customwidget><class>qMRMLWidget</class><extends>QWidget</extends><container>1</container></customwidget>
<customwidget><class>qMRMLNodeComboBox</class><extends>QWidget</extends></customwidget>
<customwidget><class>ctkCollapsibleButton</class><extends>QWidget</extends><container>1</container></customwidget>
<customwidget><class>ctkSliderWidget</class><extends>QWidget</extends></customwidget>
</customwidgets>
<connections><connection><sender>Demo</sender><signal>mrmlSceneChanged(vtkMRMLScene*)</signal>
<receiver>inputSelector</receiver><slot>setMRMLScene(vtkMRMLScene*)</slot></connection></connections></ui>"""

MODULE = """
import slicer
from slicer.i18n import tr as _
from slicer.ScriptedLoadableModule import *
from slicer.util import VTKObservationMixin

class Demo(ScriptedLoadableModule):
    def __init__(self, parent):
        super().__init__(parent)
        parent.title = _("Demo")
        parent.categories = ["Testing"]
        slicer.app.connect("startupCompleted()", self.onStartup)
        self.started = 0

    def onStartup(self):
        self.started += 1

class DemoWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.calls = []

    def setup(self):
        super().setup()
        root = slicer.util.loadUI(self.resourcePath("UI/Demo.ui"))
        self.layout.addWidget(root)
        self.ui = slicer.util.childWidgetVariables(root)
        root.setMRMLScene(slicer.mrmlScene)
        self.ui.apply.connect("clicked(bool)", self.onApply)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.EndCloseEvent, self.onClose)

    def onApply(self):
        self.calls.append("apply")

    def onClose(self, caller, event):
        self.calls.append("close")

    def enter(self):
        self.calls.append("enter")

    def cleanup(self):
        self.calls.append("cleanup")
        self.removeObservers()
"""


@pytest.fixture
def host():
    host = Host.instance()
    host.closeScene()
    host.dialogs.clear()
    host.answers.clear()
    host.errors.clear()
    yield host
    host.testing = True


@pytest.fixture
def slicer(host):
    import slicer

    return slicer


@pytest.fixture
def qt(host):
    import qt

    return qt


@pytest.fixture
def demo(tmp_path):
    """A module's folder, with a parameter named in its .ui file."""

    def write(parameter="enabled"):
        (tmp_path / "Resources/UI").mkdir(parents=True, exist_ok=True)
        (tmp_path / "Resources/UI/Demo.ui").write_text(UI.replace("PARAMETER", parameter))
        (tmp_path / "Demo.py").write_text(MODULE)
        return tmp_path

    return write


def add_volume(slicer, name="volume"):
    volume = slicer.util.addVolumeFromArray(np.zeros(SHAPE, np.int16), name=name)
    volume.CreateDefaultDisplayNodes()
    return volume


def add_segmentation(slicer, volume, array):
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "segmentation")
    node.CreateDefaultDisplayNodes()
    node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
    segment = node.GetSegmentation().AddEmptySegment("a", "a", (1, 0, 0))
    slicer.util.updateSegmentBinaryLabelmapFromArray(array, node, segment, volume)
    return node


def test_properties_are_attributes(qt):
    button, table, timer = qt.QPushButton("one"), qt.QTableWidget(3, 2), qt.QTimer()
    button.text, button.enabled, table.rowCount, timer.singleShot = "two", False, 5, True
    assert (button.text, button.isEnabled(), table.rowCount, timer.singleShot) == ("two", False, 5, True)
    assert button.name == button.objectName == ""
    header = table.horizontalHeader()
    header.setSectionResizeMode(qt.QHeaderView.Stretch)
    table.selectionBehavior = qt.QAbstractItemView.SelectRows
    assert table.selectionBehavior == qt.QAbstractItemView.SelectRows


def test_unknown_attributes_are_refused(qt):
    button = qt.QPushButton()
    for name in ("txt", "setText", "clicked"):
        with pytest.raises(AttributeError):
            setattr(button, name, "x")
    with pytest.raises(AttributeError):
        _ = button.txt
    with pytest.raises(AttributeError):
        button.width = 3  # PythonQt cannot set a property without a setter
    with pytest.raises(TypeError):
        button.enabled = button

    class Own(qt.QWidget):
        pass

    own = Own()
    own.anything = 3
    assert own.anything == 3


def test_stand_ins_are_as_strict_as_qt(slicer):
    combo = slicer.qMRMLNodeComboBox()
    with pytest.raises(AttributeError):
        combo.nodeType = "vtkMRMLScalarVolumeNode"
    with pytest.raises(AttributeError):
        combo.currentNode = None


def test_both_connect_styles(qt):
    calls = []
    button, combo = qt.QPushButton(), qt.QComboBox()
    button.connect("clicked(bool)", lambda checked: calls.append(("with", checked)))
    button.connect("clicked()", lambda *arguments: calls.append(("without", arguments)))
    button.clicked.connect(lambda: calls.append("attribute"))
    button.click()
    assert calls == [("with", False), ("without", ()), "attribute"]
    combo.addItems(["a", "b"])
    slot = calls.append
    combo.connect("currentIndexChanged(int)", slot)
    combo.currentIndex = 1
    assert combo.disconnect("currentIndexChanged(int)", slot)
    combo.currentIndex = 0
    assert calls[3:] == [1]


@pytest.mark.parametrize("signature", ["pushed()", "clicked(int)", "clicked"])
def test_unknown_signal_raises(qt, signature):
    with pytest.raises(ValueError, match="QPushButton has no signal"):
        qt.QPushButton().connect(signature, print)


def test_timers_and_wait(host, qt):
    ticks, timer = [], qt.QTimer()
    timer.setInterval(1)
    timer.connect("timeout()", lambda: ticks.append(1))
    timer.start()
    assert host.wait(lambda: len(ticks) >= 2, 5)
    timer.stop()
    assert not host.wait(lambda: False, 0.01)


def test_errors_in_slots_are_recorded(host, qt):
    button = qt.QPushButton()
    button.connect("clicked()", lambda: 1 / 0)
    button.click()
    assert len(host.errors) == 1 and "ZeroDivisionError" in host.errors[0]


def test_node_combo_follows_the_scene(host, slicer):
    combo, seen = slicer.qMRMLNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.connect("currentNodeChanged(vtkMRMLNode*)", seen.append)
    combo.connect("currentNodeChanged(bool)", seen.append)
    combo.noneEnabled = True
    combo.setMRMLScene(slicer.mrmlScene)
    slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    hidden = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")
    hidden.SetHideFromEditors(True)
    assert combo.nodeCount() == 0 and not seen
    volume = add_volume(slicer)
    assert combo.currentNode() is None and combo.nodeFromIndex(0) is volume
    combo.setCurrentNode(volume)
    assert seen == [volume, True]
    with pytest.raises(ValueError, match="qMRMLNodeComboBox has no signal"):
        combo.connect("currentNodeChanged(vtkMRMLScene*)", print)
    host.closeScene()
    assert seen[2:] == [None, False] and combo.nodeCount() == 0


def test_combo_without_none_takes_the_first(slicer):
    combo = slicer.qMRMLNodeComboBox()
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.setMRMLScene(slicer.mrmlScene)
    volume = add_volume(slicer)
    assert combo.currentNode() is volume and combo.currentNodeID == volume.GetID()


def test_checkable_combo(slicer, qt):
    combo, seen = slicer.qMRMLCheckableNodeComboBox(), []
    combo.nodeTypes = ["vtkMRMLScalarVolumeNode"]
    combo.connect("checkedNodesChanged()", lambda: seen.append(1))
    combo.setMRMLScene(slicer.mrmlScene)
    first, second = add_volume(slicer, "one"), add_volume(slicer, "two")
    combo.setCheckState(second, qt.Qt.Checked)
    assert combo.checkedNodes() == [second] and combo.uncheckedNodes() == [first]
    slicer.mrmlScene.RemoveNode(second)
    assert combo.checkedNodes() == [] and len(seen) == 2


def test_module_loads_and_reloads(host, slicer, demo):
    loaded = host.loadModule(demo() / "Demo.py")
    assert (loaded.module.title, loaded.module.categories) == ("Demo", ["Testing"])
    assert slicer.modules.demo is loaded.module and slicer.modules.DemoWidget is loaded.widget
    assert slicer.modules.DemoInstance.started == 1
    widget = loaded.widget
    volume = add_volume(slicer)
    widget.ui.inputSelector.setCurrentNode(volume)
    assert widget.ui.inputSelector.currentNode() is volume
    assert widget.ui.section.collapsed and not widget.ui.section.checked and widget.ui.section.text == "More"
    loaded.enter()
    assert widget.parent.isEntered
    widget.ui.apply.click()
    host.closeScene()
    loaded.exit()
    assert widget.calls == ["enter", "apply", "close"] and not widget.parent.isEntered
    loaded.reload()
    assert widget.calls[-1] == "cleanup" and loaded.widget is not widget
    again = loaded.widget
    host.quit()
    assert again.calls == ["cleanup"] and not host.errors and not hasattr(slicer.modules, "demo")


def test_ui_file_with_an_unknown_widget_is_refused(slicer, tmp_path):
    (tmp_path / "a.ui").write_text(UI.replace("ctkSliderWidget", "ctkNoSuchWidget"))
    with pytest.raises(RuntimeError, match="ctkNoSuchWidget"):
        slicer.util.loadUI(str(tmp_path / "a.ui"))


class Mode(Enum):
    FAST = 1
    SLOW = 2


def parameter_node_class(slicer):
    from slicer.parameterNodeWrapper import Choice, Default, WithinRange, parameterNodeWrapper

    @parameterNodeWrapper
    class DemoParameters:
        inputVolume: slicer.vtkMRMLScalarVolumeNode  # noqa: N815
        threshold: Annotated[float, WithinRange(0, 10), Default(2.5)]
        enabled: bool = True
        mode: Mode = Mode.SLOW
        preset: Annotated[str, Choice(["fast", "best"])] = "fast"
        planes: list[str]

    return DemoParameters


def new_parameters(slicer):
    from slicer.ScriptedLoadableModule import ScriptedLoadableModuleLogic

    class DemoLogic(ScriptedLoadableModuleLogic):
        pass

    return parameter_node_class(slicer)(DemoLogic().getParameterNode())


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


def test_dialogs_are_recorded(host, slicer, qt):
    slicer.util.errorDisplay("bad", detailedText="x")
    assert slicer.util.confirmOkCancelDisplay("sure?")
    host.answers.append(False)
    assert not slicer.util.confirmYesNoDisplay("really?")
    host.answers.append("/tmp/a.nrrd")
    assert qt.QFileDialog.getOpenFileName(None, "Open") == "/tmp/a.nrrd"
    assert qt.QMessageBox.question(None, "title", "go on?") == qt.QMessageBox.Yes
    host.testing = False
    with pytest.raises(RuntimeError, match="inner"), slicer.util.tryWithErrorDisplay("outer"):
        raise RuntimeError("inner")
    kinds = ["error", "confirmOkCancel", "confirmYesNo", "getOpenFileName", "question", "error"]
    assert [kind for kind, _ in host.dialogs] == kinds and host.dialogs[-1][1] == "outer\n\ninner"


def test_segment_editor_undoes(slicer):
    volume, array = add_volume(slicer), np.zeros(SHAPE, np.uint8)
    array[2:5, 3:6, 4:8] = 1
    segmentation = add_segmentation(slicer, volume, array)
    editor = slicer.qMRMLSegmentEditorWidget()
    editor.setMRMLScene(slicer.mrmlScene)
    with pytest.raises(RuntimeError, match="setMRMLSegmentEditorNode"):
        editor.setSegmentationNode(segmentation)
    editor.setMRMLSegmentEditorNode(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentEditorNode"))
    editor.setSegmentationNode(segmentation)
    assert editor.sourceVolumeNode() is volume and editor.currentSegmentID() == "a"
    editor.setActiveEffectByName("Paint")
    assert editor.activeEffect().name == "Paint"
    editor.saveStateForUndo()
    slicer.util.updateSegmentBinaryLabelmapFromArray(np.ones_like(array), segmentation, "a", volume)
    editor.undo()
    np.testing.assert_array_equal(slicer.util.arrayFromSegmentBinaryLabelmap(segmentation, "a", volume), array)


def test_views_show_volume_and_segment(host, slicer, qt, tmp_path):
    volume, array = add_volume(slicer), np.zeros(SHAPE, np.uint8)
    array[2:6, 3:8, 3:9] = 1
    add_segmentation(slicer, volume, array)
    slicer.util.setSliceViewerLayers(background=volume, fit=True)
    host.renderSlices(tmp_path / "views.png", size=100, fit=True)
    assert_red_in_every_view(qt, tmp_path / "views.png")
    path = host.saveScene(tmp_path / "scene.mrb")
    host.closeScene()
    host.loadScene(path)
    slicer.util.setSliceViewerLayers(background=slicer.util.getNode("volume"))
    host.renderSlices(tmp_path / "again.png", size=100, fit=True)
    assert_red_in_every_view(qt, tmp_path / "again.png")


def assert_red_in_every_view(qt, path):
    image = qt.QImage(str(path))
    assert (image.width(), image.height()) == (300, 100)
    for view in range(3):
        colors = {
            image.pixelColor(x, y).getRgb()[:3] for x in range(100 * view + 30, 100 * view + 70) for y in range(30, 70)
        }
        assert any(red > green + 50 for red, green, _ in colors)


def test_scene_events(host, slicer, tmp_path):
    names = ["StartClose", "EndClose", "StartImport", "EndImport", "StartSave", "EndSave"]
    seen, scene = [], slicer.mrmlScene
    tags = [
        scene.AddObserver(getattr(scene, name + "Event"), lambda *_, name=name: seen.append(name)) for name in names
    ]
    add_volume(slicer)
    path = host.saveScene(tmp_path / "folder")
    assert seen == []  # Slicer itself never fires the events of saving
    host.loadScene(path)
    assert seen == ["StartClose", "EndClose", "StartImport", "EndImport"]
    assert slicer.util.getNode("volume").GetImageData().GetDimensions() == SHAPE[::-1]
    for tag in tags:
        scene.RemoveObserver(tag)


def test_sample_data_from_a_file(slicer, tmp_path):
    import SampleData

    volume = add_volume(slicer)
    slicer.util.saveNode(volume, str(tmp_path / "a b.nrrd"))
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category="Testing",
        sampleName="Demo",
        uris=(tmp_path / "a b.nrrd").as_uri(),
        fileNames="a.nrrd",
        nodeNames="Demo",
    )
    assert SampleData.SampleDataLogic().downloadSample("Demo").GetName().startswith("Demo")


def test_conventions(host, slicer, demo):
    folder = demo("nothing")
    checks = [conventions.unknownWidgets, conventions.unknownSignals, conventions.unconnectedScenes]
    checks += [conventions.forbiddenImports, conventions.formattedTranslations]
    assert [check(folder) for check in checks] == [[]] * 5
    lines = [
        "import torch",
        "from SparseSegLib import densify, jobs",
        "class A:",
        "  def f(self):",
        "    import skimage",
    ]
    lines += ["    self.ui.aply.text = _(f'x {1}')", "    self.ui.apply.connect('pushed()', self.f)"]
    (folder / "bad.py").write_text("\n".join(lines))
    (folder / "Resources/UI/Demo.ui").write_text(UI.replace("<receiver>inputSelector", "<receiver>other"))
    found = [[problem.split("/")[-1] for problem in check(folder)] for check in checks]
    assert found[0] == ["bad.py:6: no .ui file has a widget 'aply'"]
    assert found[1] == ["bad.py:7: QPushButton (self.ui.apply) has no signal 'pushed()'"]
    assert len(found[2]) == 1 and "inputSelector" in found[2][0]
    assert [text.split(" is ")[0] for text in found[3]] == ["bad.py:1: torch", "bad.py:2: SparseSegLib.densify"]
    assert [text.split(": ")[0] for text in found[4]] == ["bad.py:6"]
    unknown = conventions.unknownParameters(demo("nothing"), parameter_node_class(slicer))
    assert len(unknown) == 1 and "Demo.ui:14" in unknown[0] and "'nothing'" in unknown[0]
