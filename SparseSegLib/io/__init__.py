"""Volumes and labels on disk: NRRD, NIfTI, MHA/MHD, TIFF, OME-Zarr, DICOM series and 3D Slicer's .seg.nrrd."""

from SparseSegLib.io.images import read_volume, volume_name, write_image
from SparseSegLib.io.information import ImageInformation, read_information
from SparseSegLib.io.label_writer import LabelWriter
from SparseSegLib.io.labels import check_drawn, read_labels, write_labels
from SparseSegLib.io.on_disk import open_volume
from SparseSegLib.io.parts import VolumeParts, open_parts, read_region
from SparseSegLib.io.segmentation import SegmentInfo, default_color, default_segment
from SparseSegLib.io.writable import check_writable

__all__ = [
    "ImageInformation",
    "LabelWriter",
    "SegmentInfo",
    "VolumeParts",
    "check_drawn",
    "check_writable",
    "default_color",
    "default_segment",
    "open_parts",
    "open_volume",
    "read_information",
    "read_labels",
    "read_region",
    "read_volume",
    "volume_name",
    "write_image",
    "write_labels",
]
