"""Likelihood maps: what tells structures apart is found at the scale where it is, and left-out slices stay hidden."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from SparseSegLib.annotation import Plane, keep_planes
from SparseSegLib.image import Geometry
from SparseSegLib.image.intensity import normalize
from SparseSegLib.image.region_image import InMemory
from SparseSegLib.prior import SliceView, sources_of
from SparseSegLib.prior.likelihood import FEATURES, LikelihoodPrior

SHAPE = (24, 40, 36)
SPACING = (1.0, 1.0, 1.0)
PLANES = [Plane(0, 8), Plane(0, 15), Plane(1, 20)]


def _truth():
    z, y, x = np.indices(SHAPE)
    return (((z - 12) / 9) ** 2 + ((y - 20) / 13) ** 2 + ((x - 18) / 12) ** 2 < 1).astype(np.uint8)


def _prior(*channels, truth=None, classes=2):
    truth = _truth() if truth is None else truth
    image = InMemory(normalize(torch.from_numpy(np.stack(channels).astype(np.float32))))
    labels = keep_planes(truth, Geometry(SHAPE, SPACING), PLANES)
    return LikelihoodPrior(image, sources_of(labels, classes, SPACING), classes, SPACING)


def _view(index=12, axis=0):
    return SliceView(axis, index, SHAPE, SPACING)


def _iou(found, truth):
    return float((found & truth).sum() / (found | truth).sum())


def test_gray_values_and_grains_are_told_apart():
    """By the brightness alone, or by the coarseness of the noise alone, where the gray values say nothing."""
    rng, truth = np.random.default_rng(0), _truth()
    fine = rng.standard_normal(SHAPE)
    coarse = ndimage.gaussian_filter(rng.standard_normal(SHAPE), 1.5)
    grains = np.where(truth, coarse / coarse.std(), fine)
    there = torch.from_numpy(truth[12] > 0)
    for image in (truth + 0.3 * fine, grains):
        each, together = _prior(image).maps(_view(), (0, 1, 2))
        assert each.shape == (1, 1, FEATURES, *SHAPE[1:])
        assert float(each.abs().max()) <= 1
        assert float(together.abs().max()) <= 1
        assert _iou(together[0] > 0, there) > 0.8
    assert _iou(each[0, 0, 0] > 0, there) < 0.6, "the gray values of the grains are alike"


def test_what_only_all_channels_together_show_is_found():
    rng, truth = np.random.default_rng(0), _truth()
    common = rng.standard_normal(SHAPE)
    first, second = common + 0.4 * truth, common - 0.4 * truth + 0.1 * rng.standard_normal(SHAPE)
    there = torch.from_numpy(truth[12] > 0)
    _, one = _prior(first).maps(_view(), (0, 1, 2))
    _, both = _prior(first, second).maps(_view(), (0, 1, 2))
    assert _iou(both[0] > 0, there) > _iou(one[0] > 0, there)


def test_a_source_that_is_left_out_does_not_count():
    rng, truth = np.random.default_rng(0), _truth()
    image = truth + 0.3 * rng.standard_normal(SHAPE)
    lying = truth.copy()
    lying[8] = 1 - lying[8]
    honest, wrong = _prior(image), _prior(image, truth=lying)
    for maps in (0, 1):
        torch.testing.assert_close(honest.maps(_view(), (1,))[maps], wrong.maps(_view(), (1,))[maps])
        assert not torch.equal(honest.maps(_view(), (0, 1))[maps], wrong.maps(_view(), (0, 1))[maps])


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_each_structure_has_maps_of_its_own_in_every_orientation(axis):
    rng, truth = np.random.default_rng(0), _truth()
    truth[:, :, 20:] *= 2
    image = truth + 0.2 * rng.standard_normal(SHAPE)
    prior = _prior(image, truth=truth, classes=3)
    view = _view(18 if axis < 2 else 23, axis)
    _, together = prior.maps(view, (0, 1, 2))
    there = view.cut(torch.from_numpy(truth))
    assert together.shape == (2, *view.size)
    assert _iou(together[1] > 0, there == 2) > 0.7


def test_features_are_taken_over_with_other_labels():
    image = _truth() + 0.1 * np.random.default_rng(0).standard_normal(SHAPE)
    before = _prior(image)
    labels = keep_planes(_truth(), Geometry(SHAPE, SPACING), PLANES[:2])
    values = InMemory(normalize(torch.from_numpy(image[None].astype(np.float32))))
    sources = sources_of(labels, 2, SPACING)
    taken, new = (LikelihoodPrior(values, sources, 2, SPACING, one) for one in (before, None))
    torch.testing.assert_close(taken.maps(_view(), (0, 1)), new.maps(_view(), (0, 1)))
