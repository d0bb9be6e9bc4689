"""Uncompressed NRRD for another process: read back as it was, written piece by piece."""

import numpy as np
import pytest
from phantoms import GEOMETRIES

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.io import read_volume, write_raw


@pytest.mark.parametrize("name", ["anisotropic", "oblique"])
@pytest.mark.parametrize("kind", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_what_was_written_is_read_back_where_it_was(tmp_path, name, kind):
    geometry = GEOMETRIES[name]
    array = (np.random.default_rng(0).random(geometry.shape) * 100).astype(kind)
    write_raw(array, geometry, tmp_path / "image ü.nrrd")
    volume = read_volume(tmp_path / "image ü.nrrd")
    np.testing.assert_array_equal(volume.array[0], array.astype(volume.array.dtype))
    assert volume.geometry.matches(geometry, 1e-9)


def test_a_view_and_the_other_byte_order_are_written_as_they_look(tmp_path):
    geometry = GEOMETRIES["anisotropic"]
    array = np.random.default_rng(0).integers(0, 1000, geometry.shape[::-1]).astype(">i2").T
    write_raw(array, geometry, tmp_path / "image.nrrd")
    np.testing.assert_array_equal(read_volume(tmp_path / "image.nrrd").array[0], array)


def test_what_cannot_be_written_leaves_nothing(tmp_path):
    geometry = GEOMETRIES["anisotropic"]
    with pytest.raises(UsageError, match="complex"):
        write_raw(np.zeros(geometry.shape, complex), geometry, tmp_path / "image.nrrd")
    with pytest.raises(FileError):
        write_raw(np.zeros(geometry.shape), geometry, tmp_path / "missing" / "image.nrrd")
    assert list(tmp_path.iterdir()) == []
