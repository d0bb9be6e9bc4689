"""Volumes of many kinds without end, and the annotations on them."""

import numpy as np
import pytest
from Experiments.pretraining.annotating import annotate, scribbled
from Experiments.synthesis.kinds import HELD_OUT, KINDS, draw_structures
from Experiments.synthesis.space import Space
from Experiments.synthesis.worlds import LEARNED, World, partly_covered, random_world, with_thick_slices

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.errors import SparseSegError
from SparseSegLib.image import Geometry

SMALL = (24, 22, 20)


@pytest.fixture(scope="module", autouse=True)
def _small():
    """Volumes of twenty thousand voxels, so that they take no time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Space, "random", classmethod(lambda cls, rng: Space((30, 26, 28), (1.0, 1.0, 1.0), rng)))
        yield


@pytest.fixture(scope="module")
def worlds():
    return [random_world(np.random.default_rng(seed)) for seed in range(12)]


def _space(seed=0):
    return Space(SMALL, (1.0, 1.0, 1.0), np.random.default_rng(seed))


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_structures_of_its_own(kind):
    drawn = [draw_structures(kind, _space(seed)) for seed in range(6)]
    shares = [(one.labels > 0).mean() for one in drawn]
    assert all(one.labels.shape == SMALL and one.labels.dtype == np.uint8 for one in drawn)
    assert sum(0.001 < share < 0.9 for share in shares) >= 3
    again = draw_structures(kind, _space(2))
    np.testing.assert_array_equal(again.labels, drawn[2].labels)


def test_volumes_are_finite_and_of_several_channels_and_structures(worlds):
    for world in worlds:
        assert world.image.shape[1:] == world.labels.shape
        assert world.image.dtype == np.float32
        assert np.isfinite(world.image).all()
        assert world.kind in LEARNED
    assert {len(world.image) for world in worlds} > {1}
    assert max(int(world.labels.max()) for world in worlds) > 1
    assert len({world.kind for world in worlds}) > 3


def test_no_training_sees_the_kinds_that_are_held_out():
    assert set(HELD_OUT) & set(LEARNED) == set()
    assert set(HELD_OUT) | set(LEARNED) == set(KINDS)
    assert random_world(np.random.default_rng(0), HELD_OUT).kind in HELD_OUT


def test_the_same_seed_gives_the_same_volume(worlds):
    again = random_world(np.random.default_rng(3))
    np.testing.assert_array_equal(again.image, worlds[3].image)
    np.testing.assert_array_equal(again.labels, worlds[3].labels)


def test_thick_slices_are_means_and_their_labels_lie_in_the_middle():
    image = np.zeros((1, 60, 60, 60), np.float32)
    image[0] = np.arange(60)[:, None, None] + np.arange(60)[:, None] + np.arange(60)
    world = World("ramp", image, np.indices((60, 60, 60)).sum(0).astype(np.uint8), (1.0, 1.0, 1.0))
    thick = with_thick_slices(world, np.random.default_rng(0))
    assert sorted(thick.spacing)[:2] == [1.0, 1.0]
    factor = max(thick.spacing)
    assert factor >= 2
    assert thick.labels.size == pytest.approx(60**3 / factor, rel=0.1)
    middle = thick.labels - thick.image[0]
    assert np.abs(middle).max() <= 0.5


def test_a_part_of_a_volume_keeps_image_and_labels_together():
    labels = np.random.default_rng(0).integers(0, 3, (40, 30, 20)).astype(np.uint8)
    world = World("noise", labels[None].astype(np.float32), labels, (1.0, 2.0, 3.0))
    parts = [partly_covered(world, np.random.default_rng(seed)) for seed in range(8)]
    for part in parts:
        inside = part.labels > 0
        np.testing.assert_array_equal(part.image[0][inside], part.labels[inside])
    assert any(part.labels.size < labels.size for part in parts)
    assert any(part.labels.size == labels.size and (part.labels > 0).sum() < (labels > 0).sum() for part in parts)


def test_annotations_say_the_truth_in_many_ways():
    rng = np.random.default_rng(0)
    truth = np.zeros((30, 30, 30), np.uint8)
    truth[8:20, 6:22, 5:18] = 1
    truth[8:20, 6:22, 18:25] = 2
    found = []
    for _ in range(60):
        try:
            found.append(annotate(truth, Geometry(truth.shape, (1.0, 1.0, 1.0)), rng))
        except SparseSegError:
            continue
    for drawn in found:
        there = drawn.array != UNLABELED
        np.testing.assert_array_equal(drawn.array[there], truth[there])
    axes = [{plane.axis for plane in drawn.planes} for drawn in found]
    assert any(len(own) == 3 for own in axes)
    assert any(len(own) == 1 for own in axes)
    assert any(not drawn.planes and len(drawn.scribble_points) for drawn in found)
    assert any(drawn.planes and len(drawn.scribble_points) for drawn in found)


def test_strokes_stay_in_their_class():
    truth = np.zeros((10, 40, 40), np.uint8)
    truth[2:8, 10:30, 10:30] = 1
    plain = sparsify(truth, Geometry(truth.shape, (1.0, 1.0, 1.0)), (1, 0, 0))
    drawn = scribbled(plain, truth, np.random.default_rng(1))
    there = drawn.array != UNLABELED
    assert there.sum() > (plain.array != UNLABELED).sum()
    np.testing.assert_array_equal(drawn.array[there], truth[there])
