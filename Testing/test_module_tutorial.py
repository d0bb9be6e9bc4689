"""The tutorial, walked through in the stand-in host with the worker that a user has."""

import re
from pathlib import Path

import numpy as np
from host import Host
from module_helpers import middle, paint_plane

from SparseSegLib.evaluation import iou
from SparseSegLib.io import read_labels
from SparseSegLib.resources import sample_data

PAGE = Path(__file__).resolve().parents[1] / "Resources" / "Documentation" / "tutorial.md"
SECONDS = 60
BUDGET = 6


def test_every_button_of_the_tutorial_is_on_the_panel(panel):
    named = set(re.findall(r"\*\*([^*]+)\*\*", PAGE.read_text(encoding="utf-8"))) - {"SparseSeg"}
    texts = {re.sub(r" \(\w\)$", "", widget.text) for widget in vars(panel.ui).values() if hasattr(widget, "text")}
    assert len(named) >= 12
    assert named <= texts


def test_every_picture_of_the_tutorial_is_there():
    pictures = re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8"))
    assert len(pictures) >= 5
    assert [name for name in pictures if not (PAGE.parent / name).is_file()] == []


def test_the_steps_of_the_tutorial(panel):
    from SparseSegModule.segmentLabels import classLabels

    host, ui = Host.instance(), panel.ui
    ui.sampleButton.click()
    host.processEvents(0.1)
    volume_node, segmentation_node = panel.parameterNode.inputVolume, panel.parameterNode.segmentation
    truth = (read_labels(sample_data("sarcoma_tumor.nrrd"))[0] > 0).astype(np.uint8)

    def drawn():
        return classLabels(segmentation_node, volume_node).whole(truth.shape)

    planes = [middle(truth, axis) for axis in range(3)]
    for plane in planes:
        paint_plane(segmentation_node, volume_node, truth, plane)
    assert ui.confirmButton.enabled, "the last slice is being edited"
    ui.confirmButton.click()
    assert ui.planeTable.rowCount == 3

    panel.parameterNode.budgetSeconds = BUDGET
    ui.densifyButton.click()
    assert host.wait(lambda: ui.previewFrame.enabled, SECONDS)
    assert host.wait(lambda: ui.densifyButton.enabled, SECONDS)
    assert ui.progressLabel.text.startswith("Done in")
    assert " ml" in ui.progressLabel.text

    ui.suggestButton.click()
    ui.liveCheckBox.click()
    before = np.count_nonzero(drawn())
    ui.takeOverButton.click()
    host.processEvents(0.1)
    assert np.count_nonzero(drawn()) > before, "the prediction is the slice's drawing"
    ui.confirmButton.click()
    assert ui.planeTable.rowCount == 4
    assert host.wait(lambda: not ui.densifyButton.enabled, SECONDS), "the confirmed slice is learned from"
    assert host.wait(lambda: ui.densifyButton.enabled, SECONDS)

    ui.applyButton.click()
    host.processEvents(0.1)
    assert host.dialogs == []
    assert iou(drawn() > 0, truth > 0) > 0.75
    for plane in planes:
        np.testing.assert_array_equal(drawn()[plane.voxels], truth[plane.voxels])
