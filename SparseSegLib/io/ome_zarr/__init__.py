"""OME-Zarr 0.4 and 0.5: images and labels in folders of compressed chunks, read and written with zarr."""

from SparseSegLib.io.ome_zarr.reading import ZarrParts, open_zarr, read_zarr
from SparseSegLib.io.ome_zarr.segments import is_label_image, zarr_segments
from SparseSegLib.io.ome_zarr.store import SUFFIX, has_zarr_name
from SparseSegLib.io.ome_zarr.writing import ZarrWriter, check_replaceable, write_zarr

__all__ = [
    "SUFFIX",
    "ZarrParts",
    "ZarrWriter",
    "check_replaceable",
    "has_zarr_name",
    "is_label_image",
    "open_zarr",
    "read_zarr",
    "write_zarr",
    "zarr_segments",
]
