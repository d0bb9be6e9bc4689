"""Models in the panel: train from several volumes, run on the scene and on a folder, look through the results."""

from dataclasses import replace

import numpy as np
import pytest
import qt_states
import slicer
from host import Host
from module_helpers import add_phantom, add_volume, middle, paint_plane
from phantoms import GEOMETRIES

from SparseSegLib.evaluation import iou

STEPS = 40


@pytest.fixture
def quick_training(monkeypatch):
    """Trainings of a few steps."""
    from SparseSegModule import modelJobs

    start = modelJobs.startTraining
    monkeypatch.setattr(modelJobs, "startTraining", lambda *a, **k: start(*a, **{**k, "budgetSteps": STEPS}))


def _check(selector, nodes) -> None:
    for node in nodes:
        selector.setCheckState(node, qt_states.checked())
    Host.instance().processEvents()


def _annotated(name: str, seed_geometry):
    from SparseSegModule.selfTest import annotate

    phantom, volume_node = add_phantom(seed_geometry, name=name)
    annotate(volume_node, phantom.labels, (3, 2, 2))
    return phantom, volume_node


def test_train_on_two_volumes_run_on_a_third_step_through_and_correct(panel, quick_training, monkeypatch):
    from SparseSegModule.views import sliceNodes

    host, ui = Host.instance(), panel.ui
    part = panel.parts[3]
    assert "no model yet" in ui.modelCardLabel.text
    assert not ui.runButton.enabled
    volumes = [_annotated(name, GEOMETRIES["identity"])[1] for name in ("one", "two")]
    _check(ui.caseSelector, volumes)
    ui.trainButton.click()
    assert host.wait(lambda: part.handle is None, 90)
    assert host.dialogs == []
    assert "My model 1" in ui.automaticLabel.text
    assert "white matter" in ui.modelCardLabel.text
    assert "Not for clinical use" in ui.modelCardLabel.text

    phantom, third = add_phantom(replace(GEOMETRIES["flipped"], spacing=(1.3, 0.9, 0.8)), name="third")
    constant = add_volume(np.full(GEOMETRIES["identity"].shape, 5.0), GEOMETRIES["identity"], "constant")
    for node in volumes:
        ui.caseSelector.setCheckState(node, qt_states.unchecked())
    _check(ui.caseSelector, [third, constant])
    ui.runButton.click()
    assert host.wait(lambda: part.handle is None, 90)
    assert "1 of 2 segmented" in ui.automaticLabel.text
    assert "constant: " in ui.automaticLabel.text
    (node,) = [n for n in slicer.util.getNodesByClass("vtkMRMLLabelMapVolumeNode") if n.GetName().startswith("third")]
    found = slicer.util.arrayFromVolume(node)
    assert found.shape == phantom.labels.shape
    assert iou(found > 0, phantom.labels > 0) > 0.6
    offsets = []
    for _ in range(2):
        ui.nextSliceButton.click()
        offsets.append([view.GetSliceOffset() for view in sliceNodes()])
    assert offsets[0] != offsets[1]
    ui.playButton.click()
    host.processEvents(0.6)
    assert [view.GetSliceOffset() for view in sliceNodes()] != offsets[1]
    ui.playButton.click()
    ui.toggleResultButton.click()
    (segments,) = [n for n in slicer.util.getNodesByClass("vtkMRMLSegmentationNode") if n.GetName().startswith("third")]
    assert not segments.GetDisplayNode().GetVisibility()
    ui.toggleResultButton.click()

    ui.tabs.setCurrentIndex(1)
    ui.correctButton.click()
    loop = panel.session.loop
    assert host.dialogs == []
    assert ui.tabs.currentIndex == 0
    assert (loop.volumeNode, loop.segmentationNode.GetName()) == (third, "third corrected")
    assert not segments.GetDisplayNode().GetVisibility()
    assert panel.session.view.shownNode() is not None
    plane = middle(phantom.labels, 1)
    np.testing.assert_array_equal(loop.predictedOn(plane), found[plane.voxels])
    paint_plane(loop.segmentationNode, third, phantom.labels, plane)
    densify, asked = panel.logic.densify, []
    monkeypatch.setattr(
        panel.logic, "densify", lambda *a, **k: asked.append(k) or densify(*a, **{**k, "budgetSteps": STEPS})
    )
    ui.densifyButton.click()
    assert host.wait(lambda: panel.session.view.result is not None and not panel.session.rounds.learns, 60)
    assert host.dialogs == []
    assert asked[0]["start"] == "My model 1"
    dense = slicer.util.arrayFromVolume(panel.session.view.result.labelmapNode)
    np.testing.assert_array_equal(dense[plane.voxels], phantom.labels[plane.voxels])
    assert iou(dense > 0, phantom.labels > 0) > iou(found > 0, phantom.labels > 0)


def test_a_model_that_does_not_exist_and_no_volume_are_refused_with_words(panel):
    from SparseSegLib.errors import ModelError, UsageError

    _phantom, volume_node = add_phantom()
    with pytest.raises(ModelError, match="no model"):
        panel.logic.applyModel("nothing", [volume_node])
    with pytest.raises(UsageError, match="no volume"):
        panel.logic.applyModel("nothing", [])
    with pytest.raises(UsageError, match="no annotated volume"):
        panel.logic.trainModel([], "name")


def test_the_prostate_button_segments_the_input_and_refuses_what_is_no_prostate(panel, bundle, tmp_path):
    from SparseSegLib.models import ModelLibrary, load_card, save_bundle
    from SparseSegLib.models.bundle import load_weights
    from SparseSegLib.models.card import Expectations

    host, ui = Host.instance(), panel.ui
    part = panel.parts[3]
    expected = Expectations("a small blob", (15.0,) * 3, (60.0,) * 3, 0.3, 0.3, (0.5, 60.0), 0.6, 0.3, 30.0)
    card = replace(load_card(bundle), name="prostate-vnet", expectations=expected)
    save_bundle(tmp_path / "made", card, load_weights(bundle)[1])
    ModelLibrary().add(tmp_path / "made")
    part.showModels()
    assert not ui.prostateButton.isHidden()
    panel.parameterNode.inputVolume = add_phantom(GEOMETRIES["identity"], name="pelvis")[1]
    host.processEvents()
    ui.prostateButton.click()
    assert host.wait(lambda: part.handle is None, 90)
    assert "1 of 1 segmented" in ui.automaticLabel.text
    assert " ml" in ui.automaticLabel.text
    noise = np.random.default_rng(0).normal(500, 50, GEOMETRIES["identity"].shape)
    panel.parameterNode.inputVolume = add_volume(noise, GEOMETRIES["identity"], "noise")
    ui.prostateButton.click()
    assert host.wait(lambda: part.handle is None, 90)
    assert "0 of 1 segmented" in ui.automaticLabel.text
    assert "does not look like a small blob" in ui.automaticLabel.text
    panel.parameterNode.force = True
    ui.prostateButton.click()
    assert host.wait(lambda: part.handle is None, 90)
    assert "1 of 1 segmented" in ui.automaticLabel.text
    assert "does not look like" not in ui.automaticLabel.text
    assert "noise: " in ui.automaticLabel.text
