"""Augmentation: image, labels and "unlabeled" move together, and nothing unlabeled becomes labeled."""

import numpy as np
import torch

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import Augmentation, cut, random_places, vary_gray
from SparseSegLib.densify.slice_augmentation import SlicePatch, cut_patches, sampling_grid


def test_without_changes_a_patch_is_cut_as_it_is():
    image = torch.arange(10 * 11 * 12, dtype=torch.float32).view(1, 10, 11, 12)
    labels = image[0].long() % 5
    still = Augmentation(0, 0, False, 0, 32, 0)
    places = random_places(torch.tensor([[4.0, 5.0, 6.0]]), (3, 5, 7), still, torch.Generator().manual_seed(0))
    moved, found = cut(image, labels, places)
    torch.testing.assert_close(moved[0], image[:, 3:6, 3:8, 3:10], atol=1e-3, rtol=1e-5)
    assert torch.equal(found[0], labels[3:6, 3:8, 3:10])


def test_a_deformed_plane_labels_no_voxel_that_was_unlabeled():
    shape = (24, 24, 24)
    labels = torch.full(shape, UNLABELED)
    labels[12] = 1
    image = torch.zeros(1, *shape)
    places = random_places(torch.full((8, 3), 12.0), (20, 20, 20), Augmentation(), torch.Generator().manual_seed(3))
    _, found = cut(image, labels, places)
    source = places.round().long()[..., 0]
    assert (found != UNLABELED).any()
    assert bool((source[found != UNLABELED] == 12).all())


def test_image_and_labels_move_together():
    generator = torch.Generator().manual_seed(5)
    z, y, x = torch.meshgrid(*[torch.arange(32.0)] * 3, indexing="ij")
    ball = ((z - 16) ** 2 + (y - 14) ** 2 + (x - 18) ** 2).sqrt()
    labels = (ball < 9).long()
    places = random_places(torch.full((4, 3), 16.0), (24, 24, 24), Augmentation(), generator)
    moved, found = cut((9 - ball)[None], labels, places)
    seen = found != UNLABELED
    agree = ((moved[:, 0] > 0) == (found == 1))[seen].float().mean()
    assert agree > 0.97


def test_the_deformation_is_smooth_and_as_strong_as_it_should_be():
    settings = Augmentation(0, 0, False, 0, 32, 4)
    places = random_places(torch.zeros(16, 3), (64, 64, 64), settings, torch.Generator().manual_seed(0))
    still = random_places(torch.zeros(1, 3), (64, 64, 64), Augmentation(0, 0, False, 0, 32, 0), torch.Generator())
    moved = places - still
    # B-splines average the control points' vectors: the deviation at a voxel is below that of the grid
    assert 1.0 < float(moved.std()) < 4.0
    assert float((moved[:, 1:] - moved[:, :-1]).abs().max()) < 1.0


def test_gray_values_change_by_patch_and_channel():
    image = torch.rand(3, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    changed = vary_gray(image, Augmentation(), torch.Generator().manual_seed(0))
    slope = (changed.amax((2, 3, 4)) - changed.amin((2, 3, 4))) / (image.amax((2, 3, 4)) - image.amin((2, 3, 4)))
    assert len(slope.unique()) == 6


def test_slice_patches_take_labels_from_within_the_slice_only():
    rng = np.random.default_rng(0)
    labels = torch.full((6, 30, 30), UNLABELED)
    labels[:, :20, :16] = 1
    labels[:, :, 8] = torch.where(labels[:, :, 8] == 1, 0, UNLABELED)
    patches = [SlicePatch((10.0, 8.0), (20, 16), (1.0, 3.0))] * 6
    places = sampling_grid(patches, (24, 24), rng)
    inputs = (torch.arange(30.0)[None, None, None, :] == 8).float().expand(6, 1, 30, 30).contiguous()
    moved, found = cut_patches(inputs, labels, places, patches)
    nearest = places.round()
    outside = (nearest < 0).any(-1) | (nearest[..., 0] > 19) | (nearest[..., 1] > 15)
    assert bool((found[outside] == UNLABELED).all())
    column = nearest[..., 1]
    assert bool((column[found == 0] == 8).all())
    assert float(moved[:, 0][found == 0].mean()) > float(moved[:, 0][found == 1].mean())


def test_half_of_the_slice_patches_stay_on_the_grid():
    patches = [SlicePatch((20.3, 21.7), (40, 40), (1.0, 1.0))] * 200
    places = sampling_grid(patches, (16, 15), np.random.default_rng(0))
    whole = (places == places.round()).flatten(1).all(1).float().mean()
    assert 0.35 < float(whole) < 0.65
