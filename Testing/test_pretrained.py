"""The network that knows other volumes, and how much it has to say beside the one that learns."""

import pytest
import torch
from phantoms import blob, multi_class

from SparseSegLib.annotation import UNLABELED, sparsify
from SparseSegLib.densify import pretrained
from SparseSegLib.densify.first_guess import FORGOTTEN_AFTER
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.networks.slice_unet import SliceUNet
from SparseSegLib.prior import SliceView

NARROW = SliceRecipe(widths=(4, 8))


def _learner(case=None, parts=NARROW.prior, **options):
    case = case or blob()
    labels = sparsify(case.labels, case.volume.geometry, (3, 1, 1))
    problem = make_problem(case.volume, labels, 0.1, 100_000)
    return SliceLearner(problem, NARROW, parts, 0, torch.device("cpu"), **options)


def _slice(learner):
    shape = learner.prior.shape
    return SliceView(0, shape[0] // 3, shape, learner.prior.spacing)


def test_weights_come_back_as_they_were_saved(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = SliceUNet(5, 2, (4, 8)).eval()
    pretrained.save_pretrained(tmp_path / pretrained.FILE, network)
    monkeypatch.setattr(pretrained, "FOLDERS", (tmp_path,))
    again = pretrained.load_pretrained([0, 0, 0, 1, 1], 2)
    image = torch.randn(1, 5, 16, 16)
    torch.testing.assert_close(again(image), network(image), atol=0.02, rtol=0.02)
    assert pretrained.load_pretrained([0, 0, 0, 1, 1, 1], 2) is None
    assert pretrained.load_pretrained([0, 0, 0, 1, 1], 3) is None  # nothing speaks of the second structure
    monkeypatch.setattr(pretrained, "FOLDERS", ())
    assert pretrained.load_pretrained([0, 0, 0, 1, 1], 2) is None


def test_it_comes_with_the_project_and_segments_what_it_never_saw():
    """Before the first step, on a blob that it was not trained on."""
    learner = _learner()
    assert learner.before.network is not None
    view = _slice(learner)
    found = learner.predict_slices([view], learner.prior.everything, guess=True)[0].argmax(0)
    case = blob()
    problem = learner.problem
    truth = view.cut(torch.from_numpy(case.labels[problem.box].astype("int64")))
    overlap = ((found == 1) & (truth == 1)).sum() / ((found == 1) | (truth == 1)).sum()
    assert overlap > 0.85


@pytest.mark.parametrize(("case", "parts"), [(multi_class(), ()), (blob(), ("distance",))])
def test_other_problems_are_learned_without_it(case, parts):
    learner = _learner(case, parts)
    assert learner.before.network is None
    learner.weigh_others()
    view = _slice(learner)
    probabilities = learner.predict_slices([view], learner.prior.everything, guess=True)
    torch.testing.assert_close(probabilities.sum(1), torch.ones_like(probabilities[:, 0]))


def test_its_share_depends_on_how_well_it_does_on_held_out_slices():
    drawn = torch.zeros(4, 10, dtype=torch.int64)
    drawn[:, :5] = 1
    drawn[3] = UNLABELED

    def says(pixels):
        """Finds the structure, in the first row only so many pixels of it."""
        found = drawn.eq(1).float()
        found[0, pixels:] = 0
        return torch.stack([1 - found, found])

    share = pretrained.fitting_share
    assert share([(says(5), says(0), drawn)]) == pretrained.WORSE
    assert share([(says(0), says(5), drawn)]) == pretrained.BETTER
    assert share([(says(5), says(5), drawn)]) == share([]) == pretrained.ALIKE


def test_it_falls_silent_where_much_is_labeled(monkeypatch):
    view = _slice(learner := _learner())
    learner.averaged.steps = 1000
    both = learner.predict_slices([view], learner.prior.everything, guess=True)
    monkeypatch.setattr("SparseSegLib.densify.slice_learner.MANY_PIXELS", 0)
    learner.replace(learner.problem)
    alone = learner.predict_slices([view], learner.prior.everything, guess=True)
    theirs = learner.before.network(learner._inputs([view], learner.prior.everything)).softmax(1)
    torch.testing.assert_close(both, torch.lerp(alone, theirs, pretrained.ALIKE))
    assert not torch.allclose(both, alone)


def test_a_learner_that_was_saved_keeps_the_share():
    learner = _learner(estimate=True)
    assert learner.bank.held_out
    learner.before.share = 0.0
    other = _learner(estimate=True)
    other.restore(learner.state())
    assert other.before.share == 0.0


@pytest.mark.parametrize("slices", [(3, 0, 0), (2, 1, 0)])
def test_it_has_more_to_say_where_a_few_slices_of_one_orientation_are_all_there_is(slices):
    case = blob()
    problem = make_problem(case.volume, sparsify(case.labels, case.volume.geometry, slices), 0.1, 100_000)
    learner = SliceLearner(problem, NARROW, NARROW.prior, 0, torch.device("cpu"))
    learner.averaged.steps, learner.before.share = 1000, pretrained.WORSE
    view, keep = _slice(learner), learner.prior.everything
    found = learner.predict_slices([view], keep, guess=False)
    inputs = learner._inputs([view], keep)
    own, theirs = (network(inputs).softmax(1) for network in (learner.averaged.network, learner.before.network))
    share = pretrained.PARALLEL if slices == (3, 0, 0) else pretrained.WORSE
    torch.testing.assert_close(found, torch.lerp(own, theirs, share))
    learner.before.share = pretrained.BETTER
    assert learner.before.lasting_share == pretrained.BETTER


def test_it_fades_with_the_steps_of_the_network():
    view, half = _slice(learner := _learner()), FORGOTTEN_AFTER // 2
    inputs = learner._inputs([view], learner.prior.everything)
    own, theirs = (network(inputs).softmax(1) for network in (learner.averaged.network, learner.before.network))
    for steps, share in ((0, 1.0), (half, 0.5), (FORGOTTEN_AFTER, pretrained.ALIKE)):
        learner.averaged.steps = steps
        found = learner.predict_slices([view], learner.prior.everything, guess=True)
        torch.testing.assert_close(found, torch.lerp(own, theirs, share))
