"""The simulated user: which slices, how many voxels, and when it ends."""

from dataclasses import dataclass

import numpy as np
import pytest
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import UNLABELED, Plane
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.errors import AnnotationError, GeometryError
from SparseSegLib.evaluation import SimulatedUser
from SparseSegLib.image import Geometry


@dataclass
class Guess:
    """What a made-up tool found."""

    labels: np.ndarray
    next_slice: Plane | None


class Shifted:
    """A tool that finds the truth one voxel too far along x, and right where it is labeled; suggests from a list."""

    def __init__(self, truth, planes):
        self.truth = truth
        self.planes = list(planes)
        self.seen = []

    def __call__(self, labels):
        self.seen.append(labels)
        found = np.where(labels.labeled, labels.array, np.roll(self.truth, 1, axis=2))
        return Guess(found, self.planes.pop(0) if self.planes else None)


def _box():
    """A box of 6 × 8 × 10 voxels; its slice across z is largest at 5, where there is one voxel more."""
    truth = np.zeros((12, 14, 16), np.uint8)
    truth[3:9, 3:11, 3:13] = 1
    truth[5, 1, 1] = 1
    return truth


def _user(truth):
    return SimulatedUser(truth, Geometry.identity(truth.shape), ("box",))


def test_the_first_slice_is_the_largest_one_and_drawn_from_nothing():
    user = _user(_box())
    tool = Shifted(user.truth, [])
    (only,) = user.rounds(tool, 5)
    assert only.plane == user.largest_slice() == Plane(0, 5)
    assert only.voxels == 8 * 10 + 1
    assert user.largest_slice(2) == Plane(2, 3)
    assert tool.seen[0].planes == (Plane(0, 5),)
    assert only.labels is tool.seen[0]


def test_a_correction_counts_the_voxels_that_are_wrong_on_the_slice():
    user = _user(_box())
    rounds = list(user.rounds(Shifted(user.truth, [Plane(0, 4), Plane(1, 6)]), 5))
    assert [one.plane for one in rounds] == [Plane(0, 5), Plane(0, 4), Plane(1, 6)]
    assert rounds[1].voxels == 2 * 8, "one column is missing, and one is too much"
    assert rounds[2].voxels == 2 * (6 - 2), "where the drawn slices cross it the result is right already"
    last = rounds[-1].labels
    assert last.planes == (Plane(0, 4), Plane(0, 5), Plane(1, 6))
    assert last.names == ("box",)
    drawn = np.zeros(user.truth.shape, bool)
    drawn[4:6] = drawn[:, 6] = True
    np.testing.assert_array_equal(last.array, np.where(drawn, user.truth, UNLABELED))


def test_a_voxel_that_changes_its_class_counts_once():
    truth = multi_class().labels
    user = _user(truth)
    plane = user.largest_slice()
    shown = truth.copy()
    shown[plane.voxels][truth[plane.voxels] == 2] = 1
    shown[plane.index + 1] = 0
    labels, none = user.draw([])
    labels, changed = user.correct(labels, plane, shown)
    assert none == 0
    assert changed == (truth[plane.voxels] == 2).sum()
    assert user.correct(labels, plane, truth)[1] == 0


def test_slices_drawn_from_nothing_count_crossings_once():
    user = _user(_box())
    labels, voxels = user.draw([Plane(0, 4), Plane(2, 7)])
    assert voxels == 8 * 10 + 6 * 8 - 8
    assert labels.planes == (Plane(0, 4), Plane(2, 7))


def test_it_ends():
    user = _user(_box())
    many = [Plane(1, index) for index in range(3, 10)]
    assert len(list(user.rounds(Shifted(user.truth, many), 4))) == 4, "after as many slices as were asked for"
    assert len(list(user.rounds(Shifted(user.truth, many[:2]), 9))) == 3, "without a suggestion"
    again = [many[0], many[0], many[1]]
    assert len(list(user.rounds(Shifted(user.truth, again), 9))) == 2, "where an annotated slice is suggested"


def test_another_choice_than_the_tools():
    user = _user(_box())
    asked = []

    def choose(labels, result):
        asked.append((labels.planes, result.labels.shape))
        return Plane(2, 2 + len(asked))

    rounds = list(user.rounds(Shifted(user.truth, [Plane(0, 4)] * 3), 3, choose))
    assert [one.plane for one in rounds] == [Plane(0, 5), Plane(2, 3), Plane(2, 4)]
    assert asked[1] == ((Plane(0, 5), Plane(2, 3)), user.truth.shape)


def test_structures_that_no_slice_shows_come_first():
    truth = _box()
    truth[0, 12:, :4] = 2
    truth[11, 12:, :3] = 3
    user = SimulatedUser(truth, Geometry.identity(truth.shape), ("box", "two", "three"))
    rounds = list(user.rounds(Shifted(truth, [None, None, Plane(1, 7)]), 4))
    assert [one.plane for one in rounds] == [Plane(0, 5), Plane(0, 0), Plane(0, 11), Plane(1, 7)]
    assert [user.undrawn(one.labels) for one in rounds] == [[2, 3], [3], [], []]


def test_what_does_not_fit_is_refused():
    truth = _box()
    with pytest.raises(AnnotationError, match="empty"):
        _user(np.zeros_like(truth))
    with pytest.raises(GeometryError):
        SimulatedUser(truth, Geometry.identity((12, 14, 17)))
    user = _user(truth)
    labels, _ = user.draw([Plane(0, 4)])
    with pytest.raises(GeometryError, match="shape"):
        user.correct(labels, Plane(0, 5), truth[1:])
    with pytest.raises(GeometryError, match="not in the volume"):
        user.correct(labels, Plane(0, 12), truth)


def test_densify_is_such_a_tool():
    phantom = blob(GEOMETRIES["anisotropic"])
    user = SimulatedUser(phantom.labels, phantom.volume.geometry)
    settings = DensifySettings(budget_steps=1, experts=("extra-trees",))
    first, second = user.rounds(lambda labels: densify(phantom.volume, labels, settings), 2)
    plane = first.result.next_slice
    assert second.plane == plane
    wrong = first.result.labels[plane.voxels] != phantom.labels[plane.voxels]
    assert second.voxels == np.count_nonzero(wrong)
    assert (second.result.labels[plane.voxels] == phantom.labels[plane.voxels]).all()
