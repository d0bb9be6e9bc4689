"""A region of interest that was chosen, and results that reach the edge of one."""

import json

import numpy as np
import pytest
from phantoms import multi_class

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes
from SparseSegLib.cli import main
from SparseSegLib.densify import Densifier, DensifySettings
from SparseSegLib.densify.experts import ExtraTreesRecipe, SliceUNetRecipe
from SparseSegLib.densify.region import reached_edges, region_of_interest
from SparseSegLib.errors import AnnotationError, GeometryError, UsageError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.io import write_image, write_labels

pytestmark = pytest.mark.usefixtures("workers")
EXPERTS = (SliceUNetRecipe(widths=(8, 16), crop=48), ExtraTreesRecipe(trees=10))
SHAPE = (20, 40, 40)


@pytest.fixture(scope="module")
def bars():
    """Two bright bars along y, one beside the other, in noise, and slices across y and z."""
    truth = np.zeros(SHAPE, np.uint8)
    truth[5:15, 4:36, 6:16] = 1
    truth[5:15, 4:36, 24:34] = 2
    image = truth.astype(np.float32) + np.random.default_rng(0).normal(0, 0.1, SHAPE).astype(np.float32)
    geometry = Geometry.identity(SHAPE)
    labels = keep_planes(truth, geometry, [Plane(1, 10), Plane(1, 20), Plane(1, 30), Plane(0, 9)])
    return Volume(image[None], geometry), labels, truth


def _densify(bars, region):
    settings = DensifySettings(budget_steps=20, device="cpu", experts=EXPERTS, region=region)
    densifier = Densifier(bars[0], settings)
    return densifier, densifier.learn(bars[1])


def test_nothing_is_segmented_outside_of_a_chosen_region(bars):
    _, labels, truth = bars
    _, result = _densify(bars, (0, 20, 8, 26, 0, 20))  # around the middle of the first bar
    inside = np.zeros(SHAPE, bool)
    inside[:, 8:26, :20] = True
    drawn = labels.array[~inside]
    np.testing.assert_array_equal(result.labels[~inside], np.where(drawn == UNLABELED, 0, drawn))
    assert (result.labels[inside] == truth[inside]).mean() > 0.97
    assert result.uncertainty[~inside].max() == 0
    assert result.edges == (Plane(1, 8), Plane(1, 25))
    edges = result.figures()["reached_edges"]
    assert [(edge["axis"], edge["index"]) for edge in edges] == [("y", 8), ("y", 25)]


def test_the_region_stays_when_slices_are_added_and_reaches_no_edge_where_the_bars_end(bars):
    _, labels, truth = bars
    densifier, result = _densify(bars, (0, 20, 0, 40, 0, 40))
    assert result.edges == ()
    problem = densifier._problem
    densifier.learn(labels.merge(keep_planes(truth, labels.geometry, [Plane(2, 10)])))
    assert densifier._problem.box == problem.box
    assert densifier._problem.image is problem.image


def test_a_structure_reaches_an_edge_only_where_the_volume_goes_on():
    labels = np.zeros((6, 7, 8), np.uint8)
    labels[2:4, 0:7, 3:6] = 1
    labels[4, 3, 7] = 1  # drawn outside of the region, in the plane of one of its faces
    box = (slice(2, 5), slice(0, 7), slice(1, 6))
    assert reached_edges(labels, box) == (Plane(0, 2), Plane(2, 5))


def test_regions_that_cannot_be_worked_on_are_refused(bars):
    _, labels, _ = bars
    z, y, x = slice(0, 20), slice(0, 40), slice(0, 40)
    assert region_of_interest(labels, chosen=(slice(-3, 50), y, slice(5, 44))) == (z, y, slice(5, 40))
    with pytest.raises(GeometryError, match="outside of the volume"):
        region_of_interest(labels, chosen=(slice(20, 30), y, x))
    with pytest.raises(AnnotationError, match="Nothing is annotated in the region"):
        region_of_interest(labels, chosen=(z, y, slice(17, 22)))
    with pytest.raises(UsageError, match="is empty"):
        DensifySettings(region=(0, 20, 8, 8, 0, 40))


def test_the_command_line_takes_a_region_and_tells_of_its_edges(tmp_path, capsys):
    phantom = multi_class()
    geometry = phantom.volume.geometry
    write_image(phantom.volume.array[0], geometry, tmp_path / "image.nrrd")
    drawn = keep_planes(phantom.labels, geometry, [Plane(axis, geometry.shape[axis] // 2) for axis in (0, 1)])
    write_labels(drawn.array, geometry, tmp_path / "drawn.nrrd")
    given = ["densify", tmp_path / "image.nrrd", "-l", tmp_path / "drawn.nrrd", "-o", tmp_path / "dense.nrrd"]
    command = [*map(str, given), "--steps", "2", "--experts", "extra-trees", "--region"]
    middle = ",".join(f"{side // 2 - 4}:{side // 2 + 4}" for side in geometry.shape[::-1])
    assert main([*command, middle, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reached_edges"]
    assert main([*command, middle, "--overwrite"]) == 0
    assert "reaches the edge of the region" in capsys.readouterr().out
    assert main([*command, "1:2,3:4"]) == UsageError.exit_code
    assert "1:2,3:4 is not of the form" in capsys.readouterr().err
