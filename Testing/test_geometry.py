import dataclasses

import numpy as np
import pytest
from phantoms import GEOMETRIES, SHAPE, blob, flipped_geometry, oblique_geometry

from SparseSegLib.errors import GeometryError, VolumeError
from SparseSegLib.image import Geometry, Volume, check_volume, place, resample, whole_voxel_offset

BOX = (slice(3, 15), slice(5, 25), slice(10, 33))

every_geometry = pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES.keys())


def landmarks(geometry: Geometry) -> np.ndarray:
    """Return an array of distinct values, one for each voxel."""
    return np.arange(np.prod(geometry.shape), dtype=np.int32).reshape(geometry.shape)


@every_geometry
def test_affine_agrees_with_sitk(geometry):
    image = geometry.to_sitk(landmarks(geometry))
    for index in [(0, 0, 0), (3, 7, 11), (19, 31, 39)]:
        expected = image.TransformIndexToPhysicalPoint(index[::-1])
        np.testing.assert_allclose(geometry.index_to_physical(np.array(index)), expected, atol=1e-9)
        np.testing.assert_allclose(geometry.affine() @ [*index, 1], [*expected, 1], atol=1e-9)


@every_geometry
def test_points_come_back(geometry):
    points = np.random.default_rng(0).uniform(-5, 50, (10, 3))
    np.testing.assert_allclose(geometry.physical_to_index(geometry.index_to_physical(points)), points, atol=1e-9)


@every_geometry
def test_sitk_and_dictionary_round_trip(geometry):
    assert Geometry.from_sitk(geometry.to_sitk(landmarks(geometry))) == geometry
    assert Geometry(**dataclasses.asdict(geometry)) == geometry


def test_vector_image_keeps_channels():
    array = np.random.default_rng(0).random((2, *SHAPE)).astype(np.float32)
    image = oblique_geometry().to_sitk(array)
    assert image.GetNumberOfComponentsPerPixel() == 2
    assert image.GetPixel(4, 3, 2) == pytest.approx(tuple(array[:, 2, 3, 4]))


@every_geometry
def test_crop_keeps_every_voxel_in_place(geometry):
    cropped = geometry.crop(BOX)
    assert cropped.shape == (12, 20, 23)
    np.testing.assert_allclose(
        cropped.index_to_physical(np.array([1, 2, 3])), geometry.index_to_physical(np.array([4, 7, 13])), atol=1e-9
    )
    assert whole_voxel_offset(cropped, geometry) == (3, 5, 10)


@every_geometry
def test_cropping_and_placing_back_is_exact(geometry):
    array = landmarks(geometry)
    back = place(array[BOX], geometry.crop(BOX), geometry, fill=-1)
    assert np.array_equal(back[BOX], array[BOX])
    assert np.count_nonzero(back != -1) == array[BOX].size


def test_place_cuts_off_what_lies_outside():
    geometry = oblique_geometry()
    source = geometry.crop((slice(-4, 6), slice(-3, 100), slice(35, 45)))
    array = np.full(source.shape, 7, np.uint8)
    placed = place(array, source, geometry)
    assert placed[:6, :, 35:].all() and np.count_nonzero(placed) == 6 * 32 * 5
    far_away = geometry.crop((slice(100, 110), slice(0, 5), slice(0, 5)))
    assert not place(np.ones(far_away.shape, np.uint8), far_away, geometry).any()


@pytest.mark.parametrize("target", ["flip", "swap"])
def test_place_between_flipped_and_swapped_axes_is_exact(target):
    source = oblique_geometry()
    array = landmarks(source)
    matrix = np.array(source.direction).reshape(3, 3)
    if target == "flip":  # the same voxels, y backwards
        origin = source.index_to_physical(np.array([0, source.shape[1] - 1, 0]))
        grid = Geometry(source.shape, source.spacing, tuple(origin), tuple((matrix * [1, -1, 1]).ravel()))
        expected = array[:, ::-1]
    else:  # the same voxels, x and z exchanged
        grid = Geometry(source.shape[::-1], source.spacing[::-1], source.origin, tuple(matrix[:, ::-1].ravel()))
        expected = array.transpose(2, 1, 0)
    assert np.array_equal(place(array, source, grid), expected)


@every_geometry
def test_with_spacing_keeps_the_field_of_view(geometry):
    finer = geometry.with_spacing([s / 2 for s in geometry.spacing])
    assert finer.shape == tuple(2 * n for n in geometry.shape)
    edges = np.array([[-0.5] * 3, np.array(geometry.shape) - 0.5])
    finer_edges = np.array([[-0.5] * 3, np.array(finer.shape) - 0.5])
    np.testing.assert_allclose(finer.index_to_physical(finer_edges), geometry.index_to_physical(edges), atol=1e-9)
    assert finer.with_spacing(geometry.spacing).matches(geometry)


def test_with_spacing_that_does_not_divide_keeps_the_center():
    geometry = oblique_geometry()
    other = geometry.with_spacing((1.1, 1.3, 1.7))
    assert other.spacing == (1.1, 1.3, 1.7)
    np.testing.assert_allclose(
        other.index_to_physical((np.array(other.shape) - 1) / 2),
        geometry.index_to_physical((np.array(geometry.shape) - 1) / 2),
    )
    extent, old = np.multiply(other.shape, other.spacing), np.multiply(geometry.shape, geometry.spacing)
    assert (np.abs(extent - old) <= np.array(other.spacing) / 2 + 1e-9).all()


@every_geometry
def test_labels_come_back_from_a_finer_grid(geometry):
    labels = blob(geometry).labels
    finer = geometry.with_spacing([s / 2 for s in geometry.spacing])
    there = resample(labels, geometry, finer, order="nearest")
    assert there.dtype == labels.dtype and there.sum() == 8 * labels.sum()
    assert np.array_equal(resample(there, finer, geometry, order="nearest"), labels)


@pytest.mark.parametrize("order", ["linear", "bspline"])
def test_interpolating_a_ramp_gives_the_ramp(order):
    source, target = oblique_geometry(), flipped_geometry().with_spacing((2, 2, 2))
    target = Geometry(target.shape, target.spacing, source.index_to_physical(np.array([8, 10, 9])), target.direction)
    ramp = np.arange(40, dtype=np.float32) * np.ones(source.shape, np.float32)  # the x index
    result = resample(ramp, source, target, order=order, fill=-100)
    indices = np.stack(np.meshgrid(*map(np.arange, target.shape), indexing="ij"), -1).reshape(-1, 3)
    x = source.physical_to_index(target.index_to_physical(indices))
    inner = ((x > 4) & (x < np.array(source.shape) - 5)).all(axis=1)
    assert inner.sum() > 50
    # A cubic spline bends where the ramp ends; linear does not.
    np.testing.assert_allclose(result.ravel()[inner], x[inner, 2], atol=1e-3 if order == "linear" else 0.05)
    outside = ((x < -1) | (x > np.array(source.shape))).any(axis=1)
    assert (result.ravel()[outside] == -100).all() and outside.any()


def test_resample_types_and_thin_volumes():
    geometry = Geometry.identity((2, 8, 8))
    array = np.ones(geometry.shape, np.int16)
    finer = geometry.with_spacing((0.5, 0.5, 0.5))
    assert resample(array, geometry, finer, order="linear").dtype == np.float32
    assert resample(array, geometry, finer, order="bspline").min() == pytest.approx(1)
    assert resample(array.astype(bool), geometry, finer, order="nearest").dtype == bool
    copy = resample(array, geometry, geometry, order="nearest")
    assert copy.dtype == np.int16 and not np.shares_memory(copy, array)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": (20, 32, 41)}, "size 41 x 32 x 20 instead of 40 x 32 x 20 voxels"),
        ({"spacing": (2.5, 0.8, 0.9)}, "spacing 0.9 x 0.8 x 2.5 instead of 0.7 x 0.8 x 2.5 mm"),
        ({"origin": (-31.5, 12.25, 142.0)}, "origin 2 mm away"),
        ({"direction": GEOMETRIES["identity"].direction}, "axes turned by 26.9 degrees"),
        ({"direction": tuple(-d for d in oblique_geometry().direction)}, "axes mirrored"),
    ],
)
def test_difference_says_what_differs(change, words):
    geometry = oblique_geometry()
    other = dataclasses.replace(geometry, **change)
    assert not geometry.matches(other)
    assert words in geometry.difference(other)


def test_tiny_differences_match():
    geometry = oblique_geometry()
    other = dataclasses.replace(geometry, origin=(-31.5, 12.25, 140.0001))
    assert geometry.matches(other) and geometry.difference(other) == ""


@pytest.mark.parametrize(
    "arguments",
    [
        {"shape": (0, 2, 2), "spacing": (1, 1, 1)},
        {"shape": (2, 2, 2), "spacing": (1, 0, 1)},
        {"shape": (2, 2, 2), "spacing": (1, 1, 1), "origin": (0, float("nan"), 0)},
        {"shape": (2, 2, 2), "spacing": (1, 1, 1), "direction": (1, 0, 0, 1, 0, 0, 0, 0, 1)},
        {"shape": (2, 2), "spacing": (1, 1)},
    ],
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(GeometryError):
        Geometry(**arguments)


def test_volume_refuses_an_array_of_another_shape():
    with pytest.raises(GeometryError, match="does not fit"):
        Volume(np.zeros((1, 2, 3, 4)), Geometry.identity((2, 3, 5)))


def test_volume_crop_and_resample_keep_geometry():
    volume = blob(oblique_geometry()).volume
    cropped = volume.crop(BOX)
    assert np.array_equal(cropped.array[0], volume.array[0][BOX])
    back = cropped.resampled(volume.geometry, fill=-9)
    assert np.array_equal(back.array[0][BOX], cropped.array[0]) and back.array[0, 0, 0, 0] == -9
    with pytest.raises(GeometryError):
        volume.crop((slice(-1, 3), slice(0, 3), slice(0, 3)))


@pytest.mark.parametrize(("value", "words"), [(np.nan, "1 voxels"), (np.inf, "1 voxels"), (-np.inf, "channel 2")])
def test_check_finds_bad_voxels(value, words):
    array = np.stack([blob().volume.array[0]] * 2)
    check_volume(Volume(array, GEOMETRIES["identity"]))
    array[1, 3, 4, 5] = value
    with pytest.raises(VolumeError, match=words) as caught:
        check_volume(Volume(array, GEOMETRIES["identity"], "liver"))
    assert "liver" in caught.value.message and caught.value.hint


def test_check_refuses_constant_and_flat_images():
    with pytest.raises(VolumeError, match="same value, 3, everywhere"):
        check_volume(Volume(np.full((1, *SHAPE), 3.0), GEOMETRIES["identity"]))
    with pytest.raises(VolumeError, match="2D"):
        check_volume(Volume(np.random.default_rng(0).random((1, 1, 5, 5)), Geometry.identity((1, 5, 5))))
