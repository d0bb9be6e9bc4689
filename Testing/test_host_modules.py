"""The stand-in host loads modules and scenes as Slicer does, and checks a module's conventions."""

import pytest
from host import conventions
from host_helpers import SHAPE, UI, add_volume, parameter_node_class


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


def test_a_file_type_that_slicer_has_not_cannot_be_loaded(slicer, tmp_path):
    import SampleData

    slicer.util.saveNode(add_volume(slicer), str(tmp_path / "a.nrrd"))
    uri = (tmp_path / "a.nrrd").as_uri()
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        "Testing", "Wrong", uri, "a.nrrd", "Wrong", loadFileType="LabelMapFile"
    )
    with pytest.raises(IndexError):
        SampleData.SampleDataLogic().downloadSample("Wrong")
    with pytest.raises(RuntimeError, match="cannot read"):
        slicer.util.loadNodeFromFile(tmp_path / "a.nrrd", "LabelMapFile")


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
