"""Several structures in one volume: each against the rest, by a network that they share."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import UNLABELED, Plane, keep_planes
from SparseSegLib.control import CancelToken
from SparseSegLib.densify import DensifySettings, densify
from SparseSegLib.densify.experts import Request, SliceUNetRecipe
from SparseSegLib.densify.problem import make_problem
from SparseSegLib.evaluation import iou
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.networks.one_versus_rest import OneVersusRest
from SparseSegLib.networks.slice_unet import SliceUNet

SUBJECTS = [0, 1, 2, 3, 0, 1, 2, 3]
NARROW = SliceUNetRecipe(widths=(4, 8), neighbors=0, crop=24)


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


def _expert(case, recipe=NARROW):
    volume, _, labels = case
    problem = make_problem(volume, labels, 0.1, 100_000)
    expert = recipe.make(problem, 0, torch.device("cpu"))
    expert.set_annotation(problem, frozenset())
    return expert


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
    expert = _expert(two_balls)
    features = expert.dataset.features
    prior, channel_classes = features.prior, features.prior.channel_classes
    assert channel_classes.count(1) == channel_classes.count(2) > 0
    middle = features.view(0, prior.shape[0] * 2 // 3)  # through both
    channels = prior.channels(middle, prior.everything)
    walk = channels[prior.spans["walk"]]
    of_second = walk[[label == 2 for label in channel_classes[prior.spans["walk"]]]]
    truth = middle.cut(torch.from_numpy(expert.problem.labels.array.astype(np.int64)))
    assert len(channels) == len(channel_classes)
    assert of_second[:, truth == 2].mean() > 0.5 > of_second[:, truth == 1].mean()


def test_without_a_prior_that_tells_them_apart_they_are_learned_together(two_balls):
    assert isinstance(_expert(two_balls, replace(NARROW, prior=())).network, SliceUNet)
    assert isinstance(_expert(two_balls).network, OneVersusRest)


def test_a_structure_that_no_other_slice_shows_is_not_learned_there(two_balls):
    dataset = _expert(two_balls).dataset
    planes = [(one.view.axis, one.view.index) for one in dataset.slices]
    number = planes.index((0, 16))
    only_shown, ball = dataset.labels[number], dataset.slices[number].labels == 2
    assert ball.any()
    assert (only_shown[: ball.shape[0], : ball.shape[1]][ball] == UNLABELED).all()
    assert (only_shown == 1).any()
    assert (only_shown == 0).any()


def test_where_each_is_shown_once_they_are_learned_all_the_same(two_balls):
    volume, truth, _ = two_balls
    dataset = _expert((volume, truth, keep_planes(truth, volume.geometry, [Plane(0, 16)]))).dataset
    assert {1, 2} <= set(dataset.labels[0].unique().tolist())


def test_a_structure_that_one_slice_shows_is_found(two_balls):
    volume, truth, labels = two_balls
    found = densify(volume, labels, DensifySettings(budget_steps=60))
    unseen = ~labels.labeled
    assert [iou((found.labels == k) & unseen, (truth == k) & unseen) > 0.75 for k in (1, 2)] == [True, True]


def test_the_prediction_is_of_all_structures(two_balls):
    expert = _expert(two_balls)
    probabilities = expert.predict(Request.whole(expert.problem), CancelToken())
    assert len(probabilities) == 3
    torch.testing.assert_close(probabilities.sum(0), torch.ones(probabilities.shape[1:]))
