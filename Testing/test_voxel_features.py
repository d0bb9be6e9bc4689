"""Features of voxels at several scales."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from SparseSegLib.densify.voxel_features import SCALES, VoxelFeatures, _eigenvalues, _Level, _smooth
from SparseSegLib.image.region_image import InMemory

SHAPE = (12, 20, 24)


def _noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def test_eigenvalues_are_those_of_the_matrices():
    matrices = _noise(500, 3, 3)
    matrices = matrices + matrices.mT
    straight = [matrices[:, axis, axis] for axis in range(3)]
    mixed = [matrices[:, one, other] for one, other in ((0, 1), (0, 2), (1, 2))]
    found = torch.stack(_eigenvalues(straight, mixed), 1)
    torch.testing.assert_close(found, torch.linalg.eigvalsh(matrices).flip(1), atol=1e-4, rtol=1e-4)


def test_no_contrast_gives_no_nan():
    assert all(bool((value == 0).all()) for value in _eigenvalues([torch.zeros(4)] * 3, [torch.zeros(4)] * 3))


@pytest.mark.parametrize("deviations", [[1.0, 1.0, 1.0], [0.3, 2.0, 2.0], [4.0, 4.0, 4.0], [2.0, 8.0, 8.0]])
def test_smoothing_is_a_gaussian_even_by_way_of_a_coarser_grid(deviations):
    image = torch.from_numpy(ndimage.gaussian_filter(_noise(1, 30, 41, 50).numpy(), (0, 1, 1, 1), mode="nearest"))
    found = _smooth(InMemory(image), deviations, tuple(slice(0, side) for side in image.shape[1:]))
    expected = ndimage.gaussian_filter(image.numpy(), (0, *deviations), mode="nearest")
    assert found.shape == image.shape
    assert np.corrcoef(found.numpy().ravel(), expected.ravel())[0, 1] > 0.95
    assert found.std() == pytest.approx(expected.std(), rel=0.2)


def test_derivatives_of_a_paraboloid():
    z, y, x = torch.meshgrid(*[torch.arange(9.0) - 4] * 3, indexing="ij")
    image = (z**2 + 2 * y**2 + 3 * x**2)[None]
    middle = tuple(range(index, index + 1) for index in (4, 5, 4))
    level = _Level.of(InMemory(image), [0.0] * 3, (slice(0, 9),) * 3, (1, 1, 1))
    value, gradient, *eigenvalues = (float(part) for part in level.features(middle))
    assert (value, gradient) == (2.0, 4.0)
    assert eigenvalues == pytest.approx([6.0, 4.0, 2.0], abs=1e-4)


def test_the_table_has_a_row_for_each_voxel_and_five_columns_a_scale():
    features = VoxelFeatures(InMemory(torch.cat([_noise(1, *SHAPE)] * 2)), (1.0, 1.0, 1.0))
    table = features.table((range(SHAPE[0]), range(2, 4), range(SHAPE[2])))
    assert table.shape == (SHAPE[0] * 2 * SHAPE[2], 2 * 5 * len(SCALES))


def test_a_part_of_the_table_is_that_of_the_whole():
    features = VoxelFeatures(InMemory(_noise(1, *SHAPE)), (3.0, 1.0, 1.0))
    whole = features.table(tuple(map(range, SHAPE))).view(*SHAPE, -1)
    part = features.table((range(3, 5), range(7, 12), range(1, 20)))
    torch.testing.assert_close(part, whole[3:5, 7:12, 1:20].flatten(0, 2))
    thin = features.table((range(1, 12, 4), range(7, 12), range(20)))
    torch.testing.assert_close(thin, whole[1:12:4, 7:12, :20].flatten(0, 2))
