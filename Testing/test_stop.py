"""Stop, in a region that takes long: what there is comes soon, wherever the training is."""

import pytest
from cohort_helpers import Listener
from phantoms import blob

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.control import CancelSource, Control, Stopped, UntilStopped
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.ensemble import Ensemble
from SparseSegLib.densify.experts import SliceUNetRecipe
from SparseSegLib.densify.slicewise import SlicewisePredictor
from SparseSegLib.errors import Canceled
from SparseSegLib.image import Geometry

SLICES = SliceUNetRecipe(widths=(4, 8), prior=("walk",))
SETTINGS = DensifySettings(budget_steps=6, device="cpu", estimate=False, experts=(SLICES,))


@pytest.fixture
def problem(monkeypatch):
    """A small region that counts as a large one."""
    monkeypatch.setattr("SparseSegLib.densify.problem.SMALL_VOXELS", 0)
    phantom = blob(Geometry.identity((12, 20, 20), (1.0, 1.0, 1.0)))
    return phantom.volume, sparsify(phantom.labels, phantom.volume.geometry, (2, 2, 2))


@pytest.fixture
def looks(monkeypatch):
    """What every prediction was asked."""
    found, predict = [], Ensemble.predict

    def noted(self, request, token, **options):
        found.append(request)
        return predict(self, request, token, **options)

    monkeypatch.setattr(Ensemble, "predict", noted)
    return found


def _check(result, labels):
    drawn = labels.array != UNLABELED
    assert (result.labels[drawn] == labels.array[drawn]).all()


def test_a_training_that_is_stopped_takes_a_quick_look(problem, looks):
    volume, labels = problem
    source = CancelSource()
    result = densify(volume, labels, SETTINGS, Control(source.token, Listener(at=1, action=source.stop)))
    assert result.steps < 6
    assert looks[-1].quick
    _check(result, labels)


def test_a_last_prediction_that_is_stopped_becomes_a_quick_look(problem, looks, monkeypatch):
    volume, labels = problem
    source, predict = CancelSource(), SlicewisePredictor._probabilities

    def stopping(self, views, keep):
        if looks and not looks[-1].quick:
            source.stop()
        return predict(self, views, keep)

    monkeypatch.setattr(SlicewisePredictor, "_probabilities", stopping)
    result = densify(volume, labels, SETTINGS, Control(source.token))
    assert result.steps == 6
    assert [request.quick for request in looks][-2:] == [False, True]
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
