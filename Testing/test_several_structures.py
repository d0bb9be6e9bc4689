"""Several structures in one volume: each against the rest, by a network that they share."""

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.first_guess import guess_one_by_one
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.densify.settings import SliceRecipe
from SparseSegLib.densify.slice_learner import SliceLearner
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.networks.one_versus_rest import OneVersusRest
from SparseSegLib.networks.slice_unet import SliceUNet

SUBJECTS = [0, 1, 2, 3, 0, 1, 2, 3]
NARROW = SliceRecipe(widths=(4, 8), neighbors=0, crop=24, pretrained=False, forest=False, volume=False)


@pytest.fixture(scope="module")
def two_balls():
    """Two balls of one gray value on a darker background; the second one meets one of the annotated planes only."""
    z, y, x = np.indices((24, 32, 48))
    truth = np.zeros((24, 32, 48), np.uint8)
    truth[(z - 12) ** 2 + (y - 16) ** 2 + (x - 13) ** 2 < 81] = 1
    truth[(z - 16) ** 2 + (y - 16) ** 2 + (x - 36) ** 2 < 36] = 2
    image = 100.0 * (truth > 0) + np.random.default_rng(0).normal(0, 10, truth.shape)
    geometry = Geometry.identity(truth.shape)
    planes = [Plane(0, 8), Plane(0, 16), Plane(2, 13)]
    return Volume(image[None].astype(np.float32), geometry), truth, keep_planes(truth, geometry, planes)


def _learner(case, **options):
    volume, _, labels = case
    problem = make_problem(volume, labels, 0.1, 100_000)
    return SliceLearner(problem, NARROW, NARROW.prior, 0, torch.device("cpu"), **options)


def test_structures_that_change_places_change_what_is_said_of_them_and_nothing_else():
    torch.manual_seed(0)
    network = OneVersusRest(SliceUNet(4, 2, (4, 8)), SUBJECTS).eval()
    image = torch.randn(2, 8, 16, 16)
    other = image[:, [0, 3, 1, 2, 4, 7, 5, 6]]
    said, swapped = network(image), network(other)
    torch.testing.assert_close(swapped, said[:, [0, 3, 1, 2]])
    assert not torch.allclose(said[:, 1], said[:, 2])


def test_a_single_structure_against_the_rest_is_what_the_network_says():
    torch.manual_seed(0)
    network = SliceUNet(3, 2, (4, 8)).eval()
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(OneVersusRest(network, [0, 1, 1])(image).softmax(1), network(image).softmax(1))


def test_the_prior_tells_which_channels_speak_of_which_structure(two_balls):
    learner = _learner(two_balls)
    subjects = learner.prior.subjects
    assert subjects.count(1) == subjects.count(2) > 0
    views = learner.views()[0]
    middle = views[len(views) * 2 // 3]  # through both
    channels = learner.prior.channels(middle, learner.prior.everything)
    walk = channels[learner.prior.spans["walk"]]
    of_second = walk[[subject == 2 for subject in subjects[learner.prior.spans["walk"]]]]
    truth = middle.cut(torch.from_numpy(learner.problem.labels.array.astype(np.int64)))
    assert len(channels) == len(subjects)
    assert of_second[:, truth == 2].mean() > 0.5 > of_second[:, truth == 1].mean()


def test_without_a_prior_that_tells_them_apart_they_are_learned_together(two_balls):
    volume, _, labels = two_balls
    problem = make_problem(volume, labels, 0.1, 100_000)
    assert isinstance(SliceLearner(problem, NARROW, (), 0, torch.device("cpu")).network, SliceUNet)
    assert isinstance(_learner(two_balls).network, OneVersusRest)


def test_a_structure_that_no_other_slice_shows_is_not_learned_there(two_balls):
    bank = _learner(two_balls).bank
    planes = [(target.view.axis, target.view.index) for target in bank.targets]
    only_shown, ball = bank.drawn[planes.index((0, 16))], bank.targets[planes.index((0, 16))].labels == 2
    assert ball.any()
    assert (only_shown[: ball.shape[0], : ball.shape[1]][ball] == UNLABELED).all()
    assert (only_shown == 1).any()
    assert (only_shown == 0).any()


def test_where_each_is_shown_once_they_are_learned_all_the_same(two_balls):
    volume, truth, _ = two_balls
    bank = _learner((volume, truth, keep_planes(truth, volume.geometry, [Plane(0, 16)]))).bank
    assert {1, 2} <= set(bank.drawn[0].unique().tolist())


def test_the_first_guess_about_one_structure_holds_for_another():
    """Each has a channel of its own that is high inside; the third one is never drawn."""
    generator = torch.Generator().manual_seed(0)
    image = torch.rand(3, 20, 20, generator=generator)
    labels = torch.where(image[0] > 0.8, 1, torch.where(image[1] > 0.8, 2, 0))
    labels[image[2] > 0.8] = UNLABELED
    guess = guess_one_by_one([image], [labels], [1, 2, 3], balance=0.5)
    third = torch.tensor([0.1, 0.1, 0.97]).view(1, 3, 1, 1).expand(1, 3, 4, 4)
    assert (guess(third).argmax(1) == 3).all()


def test_a_structure_that_one_slice_shows_is_found(two_balls):
    volume, truth, labels = two_balls
    found = densify(volume, labels, DensifySettings(budget_steps=120))
    unseen = ~labels.labeled
    assert [iou((found.labels == k) & unseen, (truth == k) & unseen) > 0.75 for k in (1, 2)] == [True, True]


def test_slices_that_do_not_show_every_structure_do_not_judge(two_balls):
    volume, truth, _ = two_balls
    planes = [Plane(0, 8), Plane(0, 14), Plane(0, 16), Plane(2, 13), Plane(2, 36)]
    learner = _learner((volume, truth, keep_planes(truth, volume.geometry, planes)))
    both, first, second = planes.index(Plane(0, 14)), planes.index(Plane(2, 13)), planes.index(Plane(2, 36))
    for held, judged in (({both}, True), ({first}, False), ({first, second}, True), (set(), False)):
        learner.hold_out(frozenset(held))
        assert learner.is_judged == judged
    learner.hold_out(frozenset([first]))
    learner.before.share = 0.33
    learner.weigh_others()
    assert learner.before.share == 0.33


def test_the_prediction_is_of_all_structures(two_balls):
    learner = _learner(two_balls)
    probabilities = learner.predict(CancelToken())
    assert len(probabilities) == 3
    torch.testing.assert_close(probabilities.sum(0), torch.ones(probabilities.shape[1:]))
