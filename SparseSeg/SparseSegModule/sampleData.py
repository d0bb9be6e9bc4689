"""The sample volumes, in Slicer's Sample Data module."""

from __future__ import annotations

from pathlib import Path

from SparseSegModule.engine import addEngineToPath

CATEGORY = "SparseSeg"
VOLUME = "SparseSegMNI152"
LABELS = "SparseSegMNI152WhiteMatter"
SARCOMA = "SparseSegSarcoma"
SARCOMA_LABELS = "SparseSegSarcomaTumor"
_URL = "https://github.com/SparseSeg/SlicerSparseSeg/raw/main/Resources/SampleData/"
_FILES = {  # and whether they are labels
    VOLUME: ("mni152_t1.nrrd", False),
    LABELS: ("mni152_white_matter.nrrd", True),
    SARCOMA: ("sarcoma_t1.nrrd", False),
    SARCOMA_LABELS: ("sarcoma_tumor.nrrd", True),
}
_CHECKSUMS = {
    "mni152_t1.nrrd": "SHA256:ab131c39e1801dbfb98ee39e4505ed45edfb016c7d7acac3d85a1f5e4f6765d2",
    "mni152_white_matter.nrrd": "SHA256:9efe758b603103ce540b0c3a3fbdad88cf3d7c25d684431a277a8972636f879b",
    "sarcoma_t1.nrrd": "SHA256:523afdeb996f51e7c53a4f40225a72ed29739d25a79a02515a5080441ea019fe",
    "sarcoma_tumor.nrrd": "SHA256:74b1f6dec3c51da86224fa2a586b660e78184bcf2e0f4e13af4a0088115429bf",
}


def registerSampleData() -> None:
    """Add the volumes and their structures to the Sample Data module; taken from the checkout where there is one."""
    import SampleData

    addEngineToPath()
    logic = SampleData.SampleDataLogic
    if hasattr(logic, "registerCustomSampleDataCategory"):  # Slicer 5.11 and later
        logic.registerCustomSampleDataCategory(CATEGORY, CATEGORY)
    icons = Path(__file__).resolve().parents[1] / "Resources" / "Icons"
    for name, (fileName, isLabelmap) in _FILES.items():
        logic.registerCustomSampleDataSource(
            category=CATEGORY,
            sampleName=name,
            thumbnailFileName=str(icons / "SparseSegSample.png"),
            uris=_uri(fileName),
            fileNames=fileName,
            checksums=_CHECKSUMS[fileName],
            nodeNames=name,
            loadFileTypes="VolumeFile",
            loadFileProperties={"labelmap": True} if isLabelmap else {},
        )


def _uri(fileName: str) -> str:
    """The file that came with the extension, or where to download it."""
    from SparseSegLib.errors import FileError
    from SparseSegLib.resources import sample_data

    try:
        return sample_data(fileName).as_uri()
    except FileError:
        return _URL + fileName
