"""Two segmentations compared slice by slice: the figures, other grids, and the table that goes to a slice."""

import dataclasses

import numpy as np
import pytest
import slicer
from host import Host
from module_helpers import add_volume
from phantoms import GEOMETRIES, multi_class

from SparseSegLib.evaluation import dice

NAMES = ("shell", "core", "rod")


def _segmented(labels, geometry, volume_node, names, name):
    """A segmentation node with ``labels`` (Z, Y, X) on a grid of its own."""
    from SparseSegModule.results import addSegmentation
    from SparseSegModule.segmentChanges import setLabels
    from SparseSegModule.segments import SegmentStyle
    from SparseSegModule.volumes import matrixFromGeometry

    node = addSegmentation(volume_node, name)
    styles = {value: SegmentStyle(one, (1.0, 0.5, 0.0)) for value, one in enumerate(names, start=1)}
    setLabels(node, labels, matrixFromGeometry(geometry), styles)
    return node


@pytest.fixture
def pair(panel):
    """An oblique volume, its segments, and others: moved by a voxel, in another order, on a grid cut out of it."""
    phantom = multi_class(GEOMETRIES["oblique"])
    volume_node = add_volume(phantom.volume.array[0], phantom.volume.geometry, "scan")
    first = _segmented(phantom.labels, phantom.volume.geometry, volume_node, NAMES, "first")
    moved = np.roll(phantom.labels, 1, axis=2)
    box = (slice(2, 18), slice(1, 30), slice(3, 40))
    other = np.array([0, 3, 1, 2], np.uint8)[moved[box]]  # core, rod, shell
    second = _segmented(other, phantom.volume.geometry.crop(box), volume_node, ("Core", "rod", "SHELL"), "second")
    seen = np.zeros_like(moved)
    seen[box] = moved[box]
    return volume_node, first, second, phantom.labels, seen


def test_dice_on_each_slice_is_that_of_the_voxels(panel, pair):
    _volume_node, first, second, one, other = pair
    found = panel.logic.compareSlices(first, second)
    assert found.names == NAMES
    for axis in range(3):
        for value, name in enumerate(NAMES, start=1):
            scores = {score.plane.index: score for score in found.scores(axis, name)}
            for index in range(one.shape[axis]):
                a, b = (np.take(labels, index, axis) == value for labels in (one, other))
                if not (a | b).any():
                    assert index not in scores
                    continue
                assert scores[index].dice == pytest.approx(dice(a, b))
                assert (scores[index].first, scores[index].second) == (a.sum(), b.sum())
            assert found.dice(name) == pytest.approx(dice(one == value, other == value))
    both = sum(((one == value) & (other == value)).sum() for value in (1, 2, 3))
    assert found.dice() == pytest.approx(2 * both / ((one > 0).sum() + (other > 0).sum()))


def test_a_segmentation_on_a_finer_grid_is_brought_to_the_volumes(panel, pair):
    volume_node, first, _second, one, _other = pair
    geometry = GEOMETRIES["oblique"]
    fine = one.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    spacing = tuple(step / 2 for step in geometry.spacing)
    corner = geometry.index_to_physical(np.full(3, -0.25))
    twice = dataclasses.replace(geometry, shape=fine.shape, spacing=spacing, origin=tuple(corner))
    second = _segmented(fine, twice, volume_node, NAMES, "fine")
    assert panel.logic.compareSlices(first, second).dice() == 1.0
    second.RemoveNodeReferenceIDs("SparseSeg.inputVolume")
    assert panel.logic.compareSlices(second, first, volume_node).dice() == 1.0


def test_what_cannot_be_compared_is_told(panel, pair):
    from SparseSegLib.errors import UsageError

    volume_node, first, _second, one, _other = pair
    stranger = _segmented(one, GEOMETRIES["oblique"], volume_node, ("a", "b", "c"), "stranger")
    with pytest.raises(UsageError, match="no segment of the same name"):
        panel.logic.compareSlices(first, stranger)
    with pytest.raises(UsageError, match="no segment liver"):
        panel.logic.compareSlices(first, first).scores(0, "liver")
    slicer.mrmlScene.RemoveNode(volume_node)
    with pytest.raises(UsageError, match="not in the scene"):
        panel.logic.compareSlices(first, stranger)


def test_the_table_goes_to_the_slice_that_is_chosen(panel, pair):
    from SparseSegModule.views import sliceNodes

    volume_node, first, second, one, other = pair
    host, ui, node = Host.instance(), panel.ui, panel.parameterNode
    assert not ui.compareButton.enabled
    node.shown, node.reference = first, second
    host.processEvents()
    ui.compareButton.click()
    assert host.wait(lambda: panel.parts[4].comparison is not None, 20)
    assert not second.GetDisplayNode().GetVisibility2DFill()
    table = ui.sliceTable
    there = np.flatnonzero(((one > 0) | (other > 0)).any((1, 2)))
    assert table.rowCount == len(there)
    ui.sliceSegmentSelector.setCurrentIndex(ui.sliceSegmentSelector.findText("rod"))
    rod = np.flatnonzero(((one == 3) | (other == 3)).any((1, 2)))
    assert table.rowCount == len(rod)
    assert table.item(2, 1).text() == f"{dice(one[rod[2]] == 3, other[rod[2]] == 3):.3f}"
    assert "Dice" in ui.compareLabel.text
    table.setCurrentCell(2, 0)
    middle = (np.array(one.shape) - 1) / 2
    middle[0] = rod[2]
    wanted = GEOMETRIES["oblique"].index_to_physical(middle) * (-1, -1, 1)
    offsets = []
    for view in sliceNodes():
        pose = slicer.util.arrayFromVTKMatrix(view.GetSliceToRAS())
        offsets.append(abs((wanted - pose[:3, 3]) @ pose[:3, 2]))
    assert min(offsets) < 1e-3
    ui.sliceAxisSelector.setCurrentIndex(2)
    assert table.rowCount == np.count_nonzero(((one == 3) | (other == 3)).any((0, 1)))
    slicer.mrmlScene.RemoveNode(volume_node)
    table.setCurrentCell(1, 0)  # goes nowhere, and raises nothing
    node.reference = None
    host.processEvents()
    assert table.rowCount == 0
    assert second.GetDisplayNode().GetVisibility2DFill()
