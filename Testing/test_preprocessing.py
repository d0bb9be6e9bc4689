"""Preprocessing: the bias field goes, orientation, spacing and size are as asked for, and the way back is exact."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.image import Geometry, Volume
from SparseSegLib.image.intensity import normalize
from SparseSegLib.models import Preprocessing
from SparseSegLib.preprocessing import centered, conform, correct_bias_field, reoriented
from SparseSegLib.preprocessing.bias_field import bias_field
from SparseSegLib.preprocessing.for_model import prepare_for
from SparseSegLib.preprocessing.grid import labels_on, oriented, working_grid

ORIENTATIONS = [
    "".join(code) for letters in itertools.permutations(("LR", "PA", "SI")) for code in itertools.product(*letters)
]


def _biased(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two tissues in an ellipsoid, the field, and where the tissues are; all (Z, Y, X)."""
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, size) for size in geometry.shape), indexing="ij")
    tissue = np.where(np.sin(6 * x) * np.cos(5 * y) > 0, 180.0, 110.0)
    inside = z**2 + y**2 + x**2 < 0.9
    field = np.exp(0.45 * x - 0.3 * y**2 + 0.25 * z)
    noise = np.abs(np.random.default_rng(0).normal(0, 2, geometry.shape))
    return (tissue * inside * field + noise).astype(np.float32), field, inside


@pytest.mark.parametrize("name", ["anisotropic", "oblique"])
def test_n4_removes_a_known_bias_field(name):
    geometry = Geometry((16, 48, 48), (3.0, 1.0, 1.0), (4.0, 5.0, 6.0), GEOMETRIES[name].direction)
    image, field, inside = _biased(geometry)
    found = np.log(bias_field(image, geometry))[inside]
    true = np.log(field)[inside]
    rest = (found - true).std()
    assert np.corrcoef(found, true)[0, 1] > 0.99
    assert rest < 0.12 * true.std()
    corrected = correct_bias_field(Volume(image, geometry, "t2"))
    assert corrected.array.dtype == np.float32
    assert (corrected.name, corrected.geometry) == ("t2", geometry)
    np.testing.assert_allclose(corrected.array[0] * bias_field(image, geometry), image, rtol=1e-5, atol=1e-3)


def test_the_shrunk_copy_gives_the_field_of_the_whole():
    geometry = Geometry((16, 60, 64), (3.0, 0.8, 0.8))
    image, field, inside = _biased(geometry)
    fine = np.repeat(np.repeat(image, 3, 1), 3, 2)
    on_fine = bias_field(fine, geometry.with_spacing((3.0, 0.8 / 3, 0.8 / 3)))
    blocks = on_fine.reshape(16, 60, 3, 64, 3)[:, :, 1, :, 1]
    assert np.log(blocks / field)[inside].std() < 0.12 * np.log(field)[inside].std()


@pytest.mark.parametrize("fill", [0, -5])
def test_a_channel_with_nothing_bright_stays_as_it_is(fill):
    dark = np.full((4, 8, 8), fill, np.int16)
    phantom = blob(Geometry.identity((4, 8, 8)))
    volume = Volume(np.stack([dark, (100 * phantom.volume.array[0]).astype(np.int16)]), phantom.volume.geometry)
    corrected = correct_bias_field(volume)
    np.testing.assert_array_equal(corrected.array[0], dark)
    assert np.isfinite(corrected.array).all()


@pytest.mark.parametrize("name", GEOMETRIES)
def test_every_orientation_is_that_of_simpleitk(name):
    phantom = multi_class(GEOMETRIES[name])
    image = phantom.volume.geometry.to_sitk(phantom.labels)
    for orientation in ORIENTATIONS:
        expected = sitk.DICOMOrient(image, orientation)
        grid = reoriented(phantom.volume.geometry, orientation)
        assert grid.matches(Geometry.from_sitk(expected)), orientation
    assert len(ORIENTATIONS) == 48
    assert reoriented(phantom.volume.geometry, "LPS") == oriented(phantom.volume.geometry)


@pytest.mark.parametrize("code", ["LP", "LPSA", "LLS", "XYZ", "lps"])
def test_what_is_no_orientation_is_refused(code):
    with pytest.raises(UsageError, match="three letters"):
        reoriented(GEOMETRIES["identity"], code)


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "IAR"])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_without_resampling_the_way_there_and_back_is_exact(name, orientation):
    phantom = multi_class(GEOMETRIES[name])
    geometry = phantom.volume.geometry
    spacing = reoriented(geometry, orientation).spacing
    for size in (None, (45, 43, 44)):
        conformed = conform(phantom.volume, spacing, size, orientation)
        there = conformed.labels_here(phantom.labels)
        assert there.shape == conformed.grid.shape == tuple(conformed.image.shape[1:])
        np.testing.assert_array_equal(np.bincount(there.ravel()), _counts(phantom.labels, there.size))
        np.testing.assert_array_equal(conformed.labels_back(there), phantom.labels)
        hot = torch.nn.functional.one_hot(torch.from_numpy(there).long(), 4).movedim(-1, 0).float()
        back = conformed.probabilities_back(hot)
        np.testing.assert_array_equal(back.argmax(0).numpy(), phantom.labels)
        torch.testing.assert_close(back.sum(0), torch.ones(geometry.shape), atol=1e-4, rtol=0)
        np.testing.assert_array_equal(labels_on(hot, conformed.grid, geometry), phantom.labels)


def _counts(labels: np.ndarray, size: int) -> np.ndarray:
    counts = np.bincount(labels.ravel())
    return np.array([size - counts[1:].sum(), *counts[1:]])


@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_conformed_image_shows_each_point_of_the_patient(name):
    phantom = blob(GEOMETRIES[name], noise=0)
    conformed = conform(phantom.volume, (1.5, 1.0, 1.0), (64, 48, 40), "RAS")
    assert conformed.grid.spacing == pytest.approx((1.5, 1.0, 1.0))
    assert conformed.image.shape == (1, 64, 48, 40)
    middle = (np.array(phantom.volume.geometry.shape) - 1) / 2
    there = conformed.grid.physical_to_index(phantom.volume.geometry.index_to_physical(middle))
    np.testing.assert_allclose(there, (np.array(conformed.grid.shape) - 1) / 2, atol=1)
    bright = conformed.image[0].numpy() > 0
    labels = conformed.labels_here(phantom.labels) == 1
    assert 2 * (bright & labels).sum() / (bright.sum() + labels.sum()) > 0.93


def test_beyond_the_volume_is_dark_and_unlabeled_and_nothing_is_cut_twice():
    phantom = blob(Geometry.identity((10, 12, 14)))
    conformed = conform(phantom.volume, (1, 1, 1), (16, 6, 14))
    whole = conform(phantom.volume, (1, 1, 1)).image
    torch.testing.assert_close(conformed.image[:, 3:13], whole[:, :, 3:9])
    assert bool((conformed.image[:, :3] == whole.min()).all())
    labels = conformed.labels_here(phantom.labels, fill=UNLABELED)
    assert (labels[:3] == UNLABELED).all()
    assert (labels[13:] == UNLABELED).all()
    np.testing.assert_array_equal(labels[3:13], phantom.labels[:, 3:9])
    back = conformed.labels_back(np.ones((16, 6, 14), np.uint8))
    assert (back[:, 3:9] == 1).all()
    assert back.sum() == 10 * 6 * 14
    probabilities = conformed.probabilities_back(torch.stack([torch.zeros(16, 6, 14), torch.ones(16, 6, 14)]))
    np.testing.assert_array_equal(probabilities.argmax(0).numpy(), back)


def test_the_box_around_the_center_is_the_same_there_and_back():
    for whole, part in itertools.product(range(1, 9), repeat=2):
        box = centered((whole, 5, 5), (part, 5, 5))
        assert box[0].stop - box[0].start == part
        assert abs((box[0].start + box[0].stop) - whole) <= 1
        assert box[1:] == (slice(0, 5), slice(0, 5))


@pytest.mark.parametrize("step", [1e-6, 1e-3])
def test_a_model_whose_spacing_is_of_another_order_is_refused_before_memory_is_taken(step):
    volume = Volume(np.zeros((1, 20, 30, 30), np.float32), Geometry.identity((20, 30, 30), (1.0, 1.0, 1.0)))
    with pytest.raises(ModelError, match=r"1 × 1 × 1 [µn]m, far finer than the volume's 1 × 1 × 1 mm"):
        prepare_for(volume, Preprocessing((step, step, step), ("T1",)))


def test_a_model_that_sees_the_middle_gets_it_on_its_place_and_its_gray_values_do_not_depend_on_what_is_around_it():
    array = np.random.default_rng(0).normal(size=(1, 6, 40, 50)).astype(np.float32)
    array[..., :8, :] = array[..., :5] = 1000  # out of sight
    volume = Volume(array, Geometry.identity((6, 40, 50), (3.0, 1.0, 1.0)))
    seen = Preprocessing((3.0, 1.0, 1.0), ("T2",), field_of_view=(20.0, 30.0))
    image, grid = prepare_for(volume, seen)
    box = (slice(0, 6), slice(10, 30), slice(10, 40))
    assert grid == volume.geometry.crop(box)
    torch.testing.assert_close(image, normalize(torch.from_numpy(array[(slice(None), *box)].copy())))
    assert image.std() > 0.3
    whole, everywhere = prepare_for(volume, replace(seen, field_of_view=(90.0, 90.0)))
    assert everywhere == volume.geometry
    assert torch.equal(whole, prepare_for(volume, replace(seen, field_of_view=None))[0])


@pytest.mark.parametrize(
    "spacing", [(1e-6, 1e-6, 1e-6), (1e-300, 1, 1), (1, 1, 1e-5), (1e9, 1e9, 1e9), (1e9, 1.0, 1.0)], ids=str
)
def test_spacings_that_no_volume_can_have_are_refused(spacing):
    with pytest.raises(UsageError, match="spacing of"):
        working_grid(Geometry.identity((40, 50, 60)), spacing)


def test_spacings_of_micrometers_are_fine():
    grid = Geometry.identity((40, 50, 60), (0.0005, 0.0002, 0.0002))
    assert working_grid(grid, (0.0005, 0.0004, 0.0004)).shape == (40, 25, 30)
