"""Stop, in a region that takes long: what there is comes soon, wherever the training is."""

import pytest
from cohort_helpers import Listener
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.control import CancelSource, Control, Stopped, UntilStopped
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.errors import Canceled
from SparseSegLib.image import Geometry

SETTINGS = DensifySettings(budget_steps=6, device="cpu", estimate=False, prior=("walk",))


@pytest.fixture
def problem(monkeypatch):
    """A small region that counts as a large one; refining it in the end is a fault."""
    monkeypatch.setattr("SparseSegLib.densify.run.MOST_QUICK_VOXELS", 0)
    phantom = blob(Geometry.identity((12, 20, 20), (1.0, 1.0, 1.0)))
    return phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))


@pytest.fixture
def looks(monkeypatch):
    """What every prediction was asked: its stride and whether it was a quick one."""
    found, predict = [], SliceLearner.predict

    def noted(self, token, stride=1, *, quick=False, guess=True):
        found.append((stride, quick))
        return predict(self, token, stride, quick=quick, guess=guess)

    monkeypatch.setattr(SliceLearner, "predict", noted)
    return found


def _check(result, labels):
    drawn = labels.array != UNLABELED
    assert (result.labels[drawn] == labels.array[drawn]).all()


def test_a_training_that_is_stopped_takes_a_quick_look(problem, looks):
    volume, labels = problem
    source = CancelSource()
    result = densify(volume, labels, SETTINGS, Control(source.token, Listener(at=1, action=source.stop)))
    assert result.steps < 6
    assert looks[-1][1]
    _check(result, labels)


def test_a_last_prediction_that_is_stopped_becomes_a_quick_look(problem, looks, monkeypatch):
    volume, labels = problem
    source, predict = CancelSource(), SliceLearner.predict_slices

    def stopping(self, views, keep, *, guess):
        if not looks[-1][1]:
            source.stop()
        return predict(self, views, keep, guess=guess)

    monkeypatch.setattr(SliceLearner, "predict_slices", stopping)
    result = densify(volume, labels, SETTINGS, Control(source.token))
    assert result.steps == 6
    assert [quick for _, quick in looks][-2:] == [False, True]
    _check(result, labels)


def test_a_part_of_the_work_ends_where_stop_is_asked_for():
    source = CancelSource()
    part = UntilStopped(source.token)
    part.check()
    source.stop()
    with pytest.raises(Stopped):
        part.check()
    source.cancel()
    with pytest.raises(Canceled):
        part.check()
    assert part.stopped
    assert part.canceled
