"""What gray values alone say, and when it is shown."""

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import slice_learner
from SparseSegLib.densify.gray_guess import GrayGuess, is_clearly_better
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.image import Geometry, Volume

RECIPE = SliceRecipe(widths=(4, 8), forest=False)
EVEN = torch.ones(2)


def _band(values: torch.Tensor) -> torch.Tensor:
    """A class of middle gray, which no line between two gray values tells from the other."""
    return ((values - 0.5).abs() < 0.2).long()


def _gray_and_labels(seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    gray = torch.rand(1, 40, 40, generator=torch.Generator().manual_seed(seed))
    return gray, _band(gray[0])


def _learner(speckled: bool, **options) -> tuple[SliceLearner, np.ndarray]:
    """Of a volume whose structure is told by gray values alone (speckled), or by its place alone."""
    shape = (16, 24, 24)
    gray = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    truth = _band(gray).numpy().astype(np.uint8)
    if not speckled:
        truth[:] = 0
        truth[4:12, 6:18, 6:18] = 1
    geometry = Geometry.identity(shape)
    labels = sparsify(truth, geometry, (3, 2, 2))
    problem = make_problem(Volume(gray.numpy()[None], geometry), labels, 0.1, 100_000)
    return SliceLearner(problem, RECIPE, RECIPE.prior, 0, torch.device("cpu"), **options), truth[problem.box]


def test_it_finds_what_only_gray_values_tell():
    guess = GrayGuess.of(*map(list, zip(*(_gray_and_labels(seed) for seed in (0, 1)), strict=True)), EVEN, 0)
    gray, wanted = _gray_and_labels(2)
    found = guess.probabilities(gray[None])
    torch.testing.assert_close(found.sum(1), torch.ones(1, 40, 40))
    assert (found[0].argmax(0) == wanted).float().mean() > 0.95


def test_what_lies_under_unlabeled_pixels_does_not_reach_it():
    gray, labels = _gray_and_labels(0)
    labels[::2] = UNLABELED
    once = GrayGuess.of([gray], [labels], EVEN, 0).probabilities(gray[None])
    other = gray.clone()
    other[:, ::2] = 9.0
    again = GrayGuess.of([other], [labels], EVEN, 0).probabilities(gray[None])
    assert torch.equal(once, again)


def test_it_has_to_be_clearly_better():
    drawn = torch.zeros(10, 10, dtype=torch.int64)
    drawn[:5] = 1
    right, wrong = (torch.stack([drawn != 1, drawn == 1]).float(), torch.stack([drawn == 1, drawn != 1]).float())
    assert is_clearly_better([(right, drawn)], [(wrong, drawn)], 2)
    assert not is_clearly_better([(right, drawn)], [(right, drawn)], 2)
    assert not is_clearly_better([], [], 2)


@pytest.mark.parametrize("speckled", [True, False])
def test_it_is_shown_where_held_out_slices_prefer_it(monkeypatch, speckled):
    monkeypatch.setattr(slice_learner, "MANY_PIXELS", 0)
    learner, truth = _learner(speckled, estimate=True)
    assert learner.first_stride == (2 if speckled else 4)
    found = learner.predict(CancelToken()).argmax(0).numpy()
    overlap = ((found == 1) & (truth == 1)).sum() / ((found == 1) | (truth == 1)).sum()
    assert overlap > (0.85 if speckled else 0.6)


def test_nothing_is_shown_of_it_once_the_network_knows_something(monkeypatch):
    monkeypatch.setattr(slice_learner, "MANY_PIXELS", 0)
    learner, _ = _learner(True, estimate=True)
    assert learner.gray_values_speak
    learner.averaged.steps = 1000
    assert not learner.gray_values_speak
    known = learner.predict(CancelToken())
    learner.before.gray_guess = None
    assert torch.equal(known, learner.predict(CancelToken()))


@pytest.mark.parametrize("options", [{"estimate": False}, {"estimate": True}])
def test_little_annotation_does_without(options):
    learner, _ = _learner(True, **options)
    assert not learner.much_is_labeled
    assert learner.first_stride == 4


def test_the_network_is_timed_where_it_does_not_speak_yet(monkeypatch):
    learner, _ = _learner(True, estimate=True)
    seen = []
    monkeypatch.setattr(slice_learner, "PIXELS_AT_ONCE", 1000)
    monkeypatch.setattr(slice_learner.time, "monotonic", iter([10.0, 10.5]).__next__)
    monkeypatch.setattr(learner, "predict_slices", lambda views, keep, guess: seen.extend(views))
    slices = sum(map(len, learner.views()))
    assert learner.time_prediction() == pytest.approx(0.5 * slices / len(seen))
    assert 0 < len(seen) < slices
