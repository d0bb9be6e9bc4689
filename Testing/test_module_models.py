"""The engine's methods in the panel: networks, noisy labels, regions, and models of several channels."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import qt_states
import slicer
import torch
from host import Host
from module_helpers import add_phantom, add_volume, moved, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.annotation import Plane
from SparseSegLib.control import Control
from SparseSegLib.densify import PRESETS
from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.image import Volume
from SparseSegLib.models import ModelCard, ModelLabel, Preprocessing, load_network, save_bundle
from SparseSegLib.networks import create_network, network_names
from SparseSegLib.prediction.predictor import Predictor
from SparseSegLib.protocol import read_job
from SparseSegLib.worker.train_task import train_task

CHANNELS = ("T1", "T1c", "T2", "FLAIR")
REGIONS = ("edema", "core", "enhancing")


@pytest.fixture
def started(panel, monkeypatch):
    """The jobs that the panel starts, which do nothing."""
    found = []

    def start(work, listener):
        found.append(work)
        return SimpleNamespace(work=work, ended=False, error=None, result=None, figures={}, abandon=lambda: None)

    monkeypatch.setattr(panel.logic.jobRunner, "start", start)
    return found


def _annotated(name):
    from SparseSegModule.selfTest import annotate

    phantom, volume_node = add_phantom(name=name)
    segmentation_node, _table = annotate(volume_node, phantom.labels, (1, 1, 1))
    return volume_node, segmentation_node


def test_the_panel_trains_what_was_chosen_and_names_the_cases_it_did_not_trust(panel, started, tmp_path):
    part, ui = panel.parts[3], panel.ui
    for name in ("good", "bad ü", "soso"):
        ui.caseSelector.setCheckState(_annotated(name)[0], qt_states.checked())
    ui.networkSelector.setCurrentIndex(ui.networkSelector.findText("V-Net, small"))
    ui.trainingGroup.collapsed = False
    ui.noisyLabelsCheckBox.click()
    ui.nestedCheckBox.click()
    ui.trainButton.click()
    started[0].write(tmp_path)
    job = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))
    chosen = {key: job["settings"][key] for key in ("network", "noisy_labels", "regions")}
    assert chosen == {"network": "vnet-small", "noisy_labels": True, "regions": "nested"}
    assert [case["name"] for case in job["inputs"]["cases"]] == ["good", "bad ü", "soso"]
    part.handle.result = "My model 1"
    weights = {"good": 1.9, "soso": 0.9, "bad ü": 0.2}
    part.handle.figures = {"label_weights": [{"case": name, "mean": mean} for name, mean in weights.items()]}
    part.onEnded(part.handle)
    assert "bad ü (0.20)" in ui.automaticLabel.text
    assert "soso" not in ui.automaticLabel.text


def test_as_it_opens_the_panel_trains_the_small_u_net_and_weighs_nothing(panel, started, tmp_path):
    part, ui = panel.parts[3], panel.ui
    ui.caseSelector.setCheckState(_annotated("one")[0], qt_states.checked())
    ui.trainButton.click()
    started[0].write(tmp_path)
    settings = json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))["settings"]
    assert settings["network"] == "unet3d-half"
    assert not {"noisy_labels", "regions"} & set(settings)
    part.handle.result = "My model 1"
    part.onEnded(part.handle)
    assert ui.automaticLabel.text == "The model My model 1 is in the library now."


def test_every_network_and_preset_on_offer_is_the_engines_and_is_explained(panel):
    from SparseSegModule import parameterNode
    from SparseSegModule.networks import Network, presetTips

    slices = {"ronneberger2015", "unet2d", "slice-unet"}  # networks for single slices
    exact = {"cicek2016"}  # takes patches of certain sizes only
    assert {network.value for network in Network} == set(network_names()) - slices - exact
    assert len({network.label() for network in Network}) == len({network.tip() for network in Network}) == len(Network)
    assert set(parameterNode.PRESETS) == set(PRESETS) == set(presetTips())
    for selector, tips in (
        (panel.ui.presetSelector, [presetTips()[preset] for preset in parameterNode.PRESETS]),
        (panel.ui.networkSelector, [network.tip() for network in Network]),
    ):
        assert [selector.itemData(row, qt_states.tip_role()) for row in range(selector.count)] == tips


@pytest.fixture
def tumor_model(tmp_path):
    """A model of four channels of nested regions, with weights at random, in the library's folder."""
    torch.manual_seed(0)
    network = create_network("segresnet-vae-small", len(CHANNELS), len(REGIONS) + 1, regions="nested").eval()
    network.classify.weight.data *= 30
    arguments = {name: value for name, value in network.arguments.items() if name not in ("in_channels", "classes")}
    labels = tuple(ModelLabel(value, name, (value / 3, 0.5, 0.0)) for value, name in enumerate(REGIONS, start=1))
    card = ModelCard(
        "Tumor", "segresnet-vae-small", Preprocessing((1, 1, 1), CHANNELS), (24, 32, 40), labels, arguments=arguments
    )
    (tmp_path / "models").mkdir()
    save_bundle(tmp_path / "models" / "tumor", card, network.state_dict())
    return tmp_path / "models" / "tumor"


def _scan():
    """Four volumes of one scan in a study of their own; and their voxels ``(C, Z, Y, X)``."""
    geometry = GEOMETRIES["identity"]
    array = np.random.default_rng(0).random((4, *geometry.shape), np.float32).cumsum(-1)
    nodes = [add_volume(one, geometry, f"scan {name}") for one, name in zip(array, CHANNELS, strict=True)]
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    study = hierarchy.CreateStudyItem(hierarchy.GetSceneItemID(), "study")
    for node in nodes:
        hierarchy.CreateItem(study, node)
    return nodes, Volume(array, geometry, "scan"), study


def test_a_model_of_four_channels_asks_for_each_and_gives_segments_that_exclude_one_another(panel, tumor_model):
    from SparseSegModule.modelWork import ModelArrays

    host, ui, part = Host.instance(), panel.ui, panel.parts[3]
    nodes, volume, study = _scan()
    panel.parameterNode.inputVolume = nodes[1]
    part.showModels()
    assert not ui.modelChannelsFrame.isHidden()
    assert "Channels: T1, T1c, T2, FLAIR" in ui.modelCardLabel.text
    selectors = part.channels._selectors
    assert selectors[0].currentNode() is nodes[1]  # what is chosen under Inputs
    assert not ui.runButton.enabled
    for selector, node in zip(selectors, nodes, strict=True):
        selector.setCurrentNode(node)
    assert ui.runButton.enabled
    ui.runButton.click()
    work = part.handle.work
    assert host.wait(lambda: part.handle is None, 60)
    assert host.dialogs == []
    segmentation_node = panel.parameterNode.shown
    assert segmentation_node.GetName() == "scan T1 (Tumor) segments"
    segmentation = segmentation_node.GetSegmentation()
    assert [segmentation.GetNthSegment(number).GetName() for number in range(3)] == list(REGIONS)
    assert segmentation.GetNumberOfLayers() == 1
    labels = slicer.util.arrayFromVolume(slicer.util.getNode("scan T1 (Tumor) labels"))
    expected = Predictor(*load_network(tumor_model), torch.device("cpu")).segment(volume)
    assert len(np.unique(expected)) > 2
    np.testing.assert_array_equal(labels, expected)

    (again,) = work.deliver([ModelArrays("scan T1", expected, volume.geometry, {}, "")], {})
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    assert again.labelmapNode.GetName() == "scan T1 (Tumor) labels (2)"
    assert again.segmentationNode.GetName() == "scan T1 (Tumor) segments (2)"
    for node in (segmentation_node, again.labelmapNode, again.segmentationNode):
        assert hierarchy.GetItemParent(hierarchy.GetItemByDataNode(node)) == study


def test_channels_that_are_missing_are_named_before_anything_runs(panel, tumor_model, tmp_path):
    nodes, volume, _study = _scan()
    with pytest.raises(ModelError, match=r"4 channels \(T1, T1c, T2, FLAIR\)"):
        panel.logic.applyModel("Tumor", nodes)
    slicer.util.saveNode(nodes[0], str(tmp_path / "t1.nrrd"))
    with pytest.raises(UsageError, match="a file has one"):
        panel.logic.applyModelToFolder("Tumor", tmp_path, tmp_path / "results")
    assert panel.logic.jobs == []
    assert volume.geometry.shape == GEOMETRIES["identity"].shape


def test_a_case_of_several_channels_is_written_in_one_space_for_training(panel, started, tmp_path):
    from SparseSegLib.io import read_volume

    volume_node, segmentation_node = _annotated("first")
    other = add_volume(np.ones((4, 5, 6)), GEOMETRIES["anisotropic"], "other")
    transform = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    transform.SetMatrixTransformToParent(moved(3.0))
    other.SetAndObserveTransformNodeID(transform.GetID())
    paint_plane(segmentation_node, volume_node, np.ones((20, 32, 40), np.uint8), Plane(0, 3))
    panel.logic.trainModel([([volume_node, other], segmentation_node)], "Two channels", wait=False)
    started[0].write(tmp_path)
    ((first, second),) = [
        case["volumes"] for case in json.loads((tmp_path / "job.json").read_text(encoding="utf-8"))["inputs"]["cases"]
    ]
    assert read_volume(tmp_path / first).geometry.matches(GEOMETRIES["identity"], 1e-4)
    x = GEOMETRIES["anisotropic"].origin[0] - 3.0  # R to L
    assert read_volume(tmp_path / second).geometry.origin[0] == pytest.approx(x)


def _annotated_scan():
    """The volumes of :func:`_scan`, of which the first is annotated."""
    from SparseSegModule.selfTest import annotate

    nodes, volume, _study = _scan()
    labels = np.zeros(volume.geometry.shape, np.uint8)
    labels[4:16, 8:24, 8:32] = 1
    return nodes, annotate(nodes[0], labels, (1, 1, 1))[0]


def test_a_training_starts_from_a_model_which_decides_network_channels_and_regions(
    panel, started, tumor_model, tmp_path
):
    ui, node = panel.ui, panel.parameterNode
    two = replace(load_network(tumor_model)[0], name="Two", members=2)
    several = {f"members.{number}": torch.zeros(1) for number in range(2)}
    save_bundle(tumor_model.parent / "two", two, several)  # which cannot be adapted
    panel.parts[3].showModels()
    assert [ui.startSelector.itemText(row) for row in range(ui.startSelector.count)] == ["none: a new model", "Tumor"]
    nodes, segmentation_node = _annotated_scan()
    ui.caseSelector.setCheckState(nodes[0], qt_states.checked())
    decided = (ui.networkSelector, ui.channelNamesEdit, ui.nestedCheckBox)
    own_tips = [widget.toolTip for widget in decided]
    assert ui.trainingChannelsTable.isHidden()

    ui.startSelector.setCurrentIndex(1)
    assert node.startModel == "Tumor"
    assert ui.networkSelector.currentText == "Residual network with autoencoder, small"
    assert ui.nestedCheckBox.checked
    assert not any(widget.enabled for widget in decided)
    assert all("Tumor" in widget.toolTip for widget in decided)
    ui.trainButton.click()
    started[0].write(tmp_path)
    job = read_job(tmp_path)
    assert job["settings"]["start"] == str(tumor_model)
    assert job["settings"]["channels"] == list(CHANNELS)
    assert not {"network", "regions"} & set(job["settings"])
    (case,) = job["inputs"]["cases"]
    assert len(case["volumes"]) == len(CHANNELS)
    with pytest.raises(UsageError, match="knows edema, core, enhancing; annotated are white matter"):
        train_task(tmp_path, job, Control())
    panel.logic.trainModel([(nodes[:2], segmentation_node)], "Fewer", start="Tumor", wait=False)
    (tmp_path / "fewer").mkdir()
    started[1].write(tmp_path / "fewer")
    assert "channels" not in read_job(tmp_path / "fewer")["settings"]

    ui.startSelector.setCurrentIndex(0)
    assert all(widget.enabled for widget in decided)
    assert [widget.toolTip for widget in decided] == own_tips


def test_a_start_model_that_the_library_has_lost_is_named(panel, started):
    ui, host = panel.ui, Host.instance()
    ui.caseSelector.setCheckState(_annotated("one")[0], qt_states.checked())
    panel.parameterNode.startModel = "Gone"  # as a scene from another computer says
    assert ui.startSelector.currentText == "Gone"
    ui.trainButton.click()
    assert "There is no model Gone" in str(host.dialogs)
    assert not started


def test_the_channels_of_each_volume_are_asked_for_and_found_by_their_names(panel, started, tmp_path):
    from SparseSegLib.io import read_volume

    ui, host = panel.ui, Host.instance()
    table = ui.trainingChannelsTable
    cases = [_annotated(name)[0] for name in ("p1 T1", "p2 T1")]
    geometry = GEOMETRIES["identity"]
    add_volume(np.full(geometry.shape, 2.0), geometry, "p1 t2")
    other = add_volume(np.full(geometry.shape, 3.0), geometry, "something")
    for case in cases:
        ui.caseSelector.setCheckState(case, qt_states.checked())
    ui.channelNamesEdit.text = "T1, T2"
    assert not table.isHidden()
    assert [table.item(row, 0).text() for row in range(2)] == ["p1 T1", "p2 T1"]
    chosen = [table.cellWidget(row, 1).currentNode() for row in range(2)]
    assert [node and node.GetName() for node in chosen] == ["p1 t2", None]

    ui.trainButton.click()
    assert "p2 T1 has no volume for the channel T2" in str(host.dialogs)
    table.cellWidget(1, 1).setCurrentNode(other)
    ui.caseSelector.setCheckState(cases[0], qt_states.unchecked())  # what was chosen for the other stays
    ui.caseSelector.setCheckState(cases[0], qt_states.checked())
    ui.trainButton.click()
    started[0].write(tmp_path)
    job = read_job(tmp_path)
    assert job["settings"]["channels"] == ["T1", "T2"]
    seconds = [read_volume(tmp_path / case["volumes"][1]).array.max() for case in job["inputs"]["cases"]]
    assert seconds == [2.0, 3.0]
    ui.channelNamesEdit.text = ""
    assert table.isHidden()
