"""Augmentation: image, labels and "unlabeled" move together, and nothing unlabeled becomes labeled."""

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from skimage.exposure import match_histograms as skimage_match_histograms

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.augmentation import (
    Augmentation,
    bspline_displacements,
    cut,
    deform,
    match_histograms,
    quantile_tables,
    random_places,
    read,
    vary_gray,
)
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


def test_some_patches_stay_on_the_grid_if_asked():
    generator = torch.Generator().manual_seed(0)
    centers = torch.full((200, 3), 6.5)
    places = random_places(centers, (4, 4, 4), Augmentation(still=0.5), generator)
    whole = torch.isclose(places, places.round(), atol=1e-4).flatten(1).all(1)
    assert 0.35 < float(whole.float().mean()) < 0.65
    middles = places[whole].flatten(1, 3).mean(1)
    torch.testing.assert_close(middles, centers[whole], atol=1e-4, rtol=0)
    assert len({tuple(place.flatten().round().tolist()) for place in places[whole]}) == 8  # mirrored all the same


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
    places = sampling_grid(patches, (24, 24), 0.5, rng)
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
    places = sampling_grid(patches, (16, 15), 0.5, np.random.default_rng(0))
    whole = (places == places.round()).flatten(1).all(1).float().mean()
    assert 0.35 < float(whole) < 0.65


def test_slices_are_turned_in_millimeters():
    """What is a circle in mm stays one, whatever the pixels' sides: the linear part is a turn, a scale and flips."""
    spacing, size = np.array([1.0, 6.0]), (256, 256)
    patches = [SlicePatch((128.0, 128.0), size, tuple(spacing))] * 40
    places = sampling_grid(patches, size, 1.0, np.random.default_rng(0)).numpy().reshape(40, -1, 2)
    rows, columns = np.meshgrid(*map(np.arange, size), indexing="ij")
    own = np.stack([rows.ravel(), columns.ravel(), np.ones(rows.size)], 1)
    stretches = []
    for found in places:
        pixels = np.linalg.lstsq(own, found, rcond=None)[0][:2].T
        longest, shortest = np.linalg.svd(spacing[:, None] * pixels / spacing)[1]
        stretches.append(longest / shortest)
    assert np.median(stretches) < 1.2


def _transform(vectors: np.ndarray, size: tuple[int, ...]) -> sitk.BSplineTransform:
    """SimpleITK's transform for the control points' vectors (3, kz, ky, kx) over a volume of ``size`` (z, y, x)."""
    transform = sitk.BSplineTransform(3, 3)
    transform.SetTransformDomainOrigin((-0.5, -0.5, -0.5))
    transform.SetTransformDomainPhysicalDimensions([float(part) for part in reversed(size)])
    transform.SetTransformDomainMeshSize([knots - 3 for knots in reversed(vectors.shape[1:])])
    transform.SetParameters(vectors[::-1].astype(float).ravel().tolist())
    return transform


@pytest.mark.parametrize("cells", [(2, 2, 2), (1, 2, 4)])
def test_the_bspline_moves_every_voxel_as_simpleitks_does(cells):
    size, knots = (9, 14, 17), [cell + 3 for cell in cells]
    vectors = 15 * torch.randn(2, 3, *knots, generator=torch.Generator().manual_seed(0))
    found = bspline_displacements(vectors, size).numpy()
    assert found.shape == (2, 3, *size)
    for displacements, own in zip(found, vectors.numpy(), strict=True):
        transform = _transform(own, size)
        field = sitk.TransformToDisplacementField(transform, sitk.sitkVectorFloat64, size[::-1])
        expected = np.moveaxis(sitk.GetArrayFromImage(field)[..., ::-1], -1, 0)
        np.testing.assert_allclose(displacements, expected, atol=1e-4)


def test_a_batch_is_deformed_as_simpleitk_would_each_volume_in_its_own_way():
    size, generator = (12, 20, 24), torch.Generator().manual_seed(2)
    images = torch.rand(2, 1, *size, generator=generator)
    labels = torch.randint(0, 4, (2, *size), generator=generator, dtype=torch.uint8)
    vectors = 3 * torch.randn(2, 3, 5, 5, 5, generator=generator)
    lines = torch.meshgrid(*(torch.arange(part) for part in size), indexing="ij")
    places = bspline_displacements(vectors, size).movedim(1, -1) + torch.stack(lines, -1)
    moved, found = read(images, labels, places)
    for number in range(2):
        transform = _transform(vectors[number].numpy(), size)
        image = sitk.GetImageFromArray(images[number, 0].numpy())
        mask = sitk.GetImageFromArray(labels[number].numpy())
        nearest = sitk.GetArrayFromImage(sitk.Resample(mask, mask, transform, sitk.sitkNearestNeighbor, UNLABELED))
        linear = sitk.GetArrayFromImage(sitk.Resample(image, image, transform, sitk.sitkLinear))
        assert (nearest == found[number].numpy()).mean() > 0.999
        inside = ((places[number] >= 0) & (places[number] <= torch.tensor(size) - 1)).all(-1).numpy()
        assert inside.mean() > 0.3
        np.testing.assert_allclose(moved[number, 0].numpy()[inside], linear[inside], atol=1e-3)
    assert not torch.equal(found[0], found[1])


def test_a_deformed_volume_has_no_label_that_was_not_there():
    labels = torch.full((2, 16, 24, 24), UNLABELED, dtype=torch.uint8)
    labels[:, :, 11:13] = 3
    images = (labels == 3)[:, None].float()
    moved, found = deform(images, labels, torch.Generator().manual_seed(1))
    again = deform(images, labels, torch.Generator().manual_seed(1))
    assert moved.shape == images.shape
    assert torch.equal(again[0], moved)
    assert torch.equal(again[1], found)
    assert set(found.unique().tolist()) == {3, UNLABELED}
    assert not torch.equal(found, labels)
    assert bool((moved[:, 0][found == 3] >= 0.49).all())  # the image went to the same places
    still = deform(images, labels, torch.Generator().manual_seed(1), deviation=0.0)
    assert torch.equal(still[1], labels)
    torch.testing.assert_close(still[0], images, atol=1e-4, rtol=0)


def test_the_deformations_vectors_have_the_deviation_asked_for():
    size, generator = (8, 8, 8), torch.Generator().manual_seed(0)
    ramp = torch.arange(8.0)[:, None, None].expand(512, 1, 8, 8, 8)
    labels = torch.zeros(512, *size, dtype=torch.uint8)
    moved, _ = deform(ramp, labels, generator, deviation=0.5)
    weights = bspline_displacements(torch.eye(125).view(125, 1, 5, 5, 5).expand(-1, 3, -1, -1, -1), size)[:, 0, 4, 4, 4]
    expected = 0.5 * float(weights.square().sum().sqrt())
    assert float((moved[:, 0, 4, 4, 4] - 4).std()) == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize("background", [0.0, 0.4])
def test_histogram_matching_is_that_of_scikit_image(background):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 2, 12, 20, 24)
    images = torch.randn(shape, generator=generator)
    others = torch.randn(shape, generator=generator).exp() * torch.tensor([1.0, 3.0]).view(2, 1, 1, 1, 1)
    for batch in (images, others):
        empty = torch.rand(shape, generator=generator) < background
        batch[empty] = float(batch.min())
    found = match_histograms(images, quantile_tables(others, 2048))
    for number in range(2):
        expected = skimage_match_histograms(images[number].numpy(), others[number].numpy(), channel_axis=0)
        apart = np.abs(found[number].numpy() - expected)
        assert np.quantile(apart, 0.98) < 0.01 * others[number].std()
        assert np.abs(np.sort(found[number].ravel()) - np.sort(expected.ravel())).mean() < 0.005 * others[number].std()


def test_matching_keeps_the_order_of_gray_values_and_what_matches_already():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(1, 1, 10, 20, 30, generator=generator)
    other = torch.rand(1, 1, 10, 20, 30, generator=generator) ** 3
    found = match_histograms(image, quantile_tables(other))
    in_order = found.flatten()[image.flatten().argsort()]
    assert bool((in_order[1:] >= in_order[:-1]).all())
    assert float(found.min()) == float(other.min())
    assert float(found.max()) == float(other.max())
    torch.testing.assert_close(match_histograms(image, quantile_tables(image)), image, atol=1e-3, rtol=0)
    flat = match_histograms(torch.full((1, 1, 4, 4, 4), 7.0), quantile_tables(other))
    assert len(flat.unique()) == 1
    assert bool(flat.isfinite().all())


def test_the_table_of_a_large_volume_is_made_of_a_part_of_it():
    large = torch.randn(1, 1, 32, 96, 96, generator=torch.Generator().manual_seed(0))
    places = torch.linspace(0, 1, 512, dtype=torch.float64)
    expected = torch.from_numpy(np.quantile(large.numpy(), places.numpy()))
    torch.testing.assert_close(quantile_tables(large)[0, 0, 10:-10].double(), expected[10:-10], atol=0.05, rtol=0)
