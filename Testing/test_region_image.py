"""Gray values of a region: read in parts they are those that are in memory, and never read all at once."""

import numpy as np
import pytest
import torch

from SparseSegLib.image import region_image
from SparseSegLib.image.coarse import between_blocks, block_means
from SparseSegLib.image.intensity import normalize
from SparseSegLib.image.region_image import InMemory, InParts

SHAPE = (21, 30, 34)
WHOLE = tuple(slice(0, side) for side in SHAPE)
BOX = (slice(3, 9), slice(0, 17), slice(20, 34))


def _in_parts(array: np.ndarray, **options) -> InParts:
    return InParts(lambda box: array[(slice(None), *box)], array.shape, **options)


@pytest.fixture(scope="module")
def array():
    return np.random.default_rng(0).integers(0, 200, (2, *SHAPE)).astype(np.uint8)


@pytest.fixture
def image(array):
    return _in_parts(array)


def _assert_same_blocks(found, expected):
    """All but the last ones, which the image does not fill."""
    inside = (slice(None), *[slice(None, -1)] * 3)
    torch.testing.assert_close(found.float()[inside], expected[inside], atol=0.01, rtol=0)


def test_a_part_is_that_of_the_image_in_memory(array, image):
    whole = InMemory(normalize(torch.from_numpy(array.astype(np.float32))))
    assert (image.shape, image.sides, len(image)) == (whole.shape, whole.sides, 2)
    torch.testing.assert_close(image.part(BOX), whole.part(BOX), atol=0.05, rtol=0)
    assert torch.equal(image.part(BOX), image.part(WHOLE)[(slice(None), *BOX)])
    assert image.part(WHOLE).dtype == torch.float32


def test_blocks_have_the_means_of_their_voxels_by_way_of_finer_ones_too(array, image):
    direct = _in_parts(array).coarse((4, 4, 4))
    image.coarse((2, 2, 2))
    for found in (direct, image.coarse((4, 4, 4))):
        _assert_same_blocks(found, block_means(image.part(WHOLE), (4, 4, 4)))
    part = (slice(1, 3), slice(0, 2), slice(2, 5))
    assert torch.equal(image.coarse_part((4, 4, 4), part), image.coarse((4, 4, 4))[(slice(None), *part)].float())


def test_nothing_reads_all_of_a_large_image_at_once(array, monkeypatch):
    monkeypatch.setattr(region_image, "SLAB_VOXELS", 4000)
    read = []

    def recorded(box):
        read.append(array[(slice(None), *box)])
        return read[-1]

    image = InParts(recorded, array.shape)
    image.coarse((2, 2, 2))
    image.feed(lambda data: None)
    assert 0 < max(part.size for part in read) <= 2 * 4000


@pytest.mark.parametrize(("spacing", "most"), [((1, 1, 1), 3000), ((1, 1, 1), 200), ((5, 1, 1), 500)])
def test_a_coarser_grid_is_small_enough(image, spacing, most):
    factors, means = image.coarsened(spacing, most)
    assert means[0].numel() <= most
    assert means.shape[1:] == tuple(-(-side // factor) for side, factor in zip(SHAPE, factors, strict=True))
    _assert_same_blocks(means, block_means(image.part(WHOLE), factors))


def test_an_image_of_blocks_has_their_means(array):
    coarse, own = _in_parts(array, factors=(2, 3, 1)), _in_parts(array)
    assert coarse.sides == (11, 10, 34)
    box = (slice(2, 11), slice(1, 4), slice(5, 9))
    expected = block_means(own.part(WHOLE), (2, 3, 1))[(slice(None), *box)]
    torch.testing.assert_close(coarse.part(box), expected, atol=0.02, rtol=0)


def test_gray_values_are_clipped(image):
    assert image.clipped(0.5).part(BOX).abs().max() == 0.5
    assert InMemory(image.part(WHOLE)).clipped(0.5).part(BOX).abs().max() == 0.5


def test_an_image_that_is_constant_but_for_few_voxels_is_scaled_by_these():
    array = np.full((1, 40, 40, 40), 7, np.uint8)
    array[0, 20, 20, 20] = 9
    assert _in_parts(array).part((slice(20, 21),) * 3).item() == 1


def test_another_image_has_another_hash(array):
    def fed(image):
        parts = []
        image.feed(lambda data: parts.append(bytes(data)))
        return b"".join(parts)

    other = array.copy()
    other[1, 20, 29, 33] += 1
    assert fed(_in_parts(array)) != fed(_in_parts(other))
    assert fed(_in_parts(array)) == fed(_in_parts(array.copy()))


def test_between_blocks_values_change_linearly():
    ramp = torch.arange(5.0).view(1, 5, 1, 1) * 4 + 1.5  # at the middles of blocks of four
    found = between_blocks(ramp, (4, 1, 1), (range(20), range(1), range(1))).flatten()
    assert found[2:18].tolist() == pytest.approx(list(range(2, 18)))
    assert found[:2].tolist() == [1.5, 1.5]
    assert found[18:].tolist() == [17.5, 17.5]
