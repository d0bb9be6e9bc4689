"""Results as files: read back, on their scan's grid, through the DICOM database or from a folder."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import slicer
from host import Host
from module_helpers import add_phantom, add_volume
from phantoms import oblique_geometry
from test_io_dicom import ARRAY, SHAPE, UID, right_handed, write_series
from test_module_compare import _segmented

from SparseSegLib.errors import AnnotationError, DependencyError, FileError, UsageError, VolumeError
from SparseSegLib.image import place
from SparseSegLib.io import read_labels

pydicom = pytest.importorskip("pydicom")

NAMES = ("Shell ü", "Core")


@pytest.fixture
def result(panel, tmp_path, monkeypatch):
    """A CT that Slicer's DICOM database knows, with the slices of another series beside it, and segments on it."""
    geometry = right_handed(oblique_geometry())
    folder = tmp_path / "ct ü"
    files = write_series(folder, geometry, more={"0020|0052": f"{UID}.77"})
    write_series(folder, geometry, uid=f"{UID}.5", description="other", first=100)
    volume_node = add_volume(ARRAY.astype(float), geometry, "CT")
    uids = [f"{UID}.{number}" for number in range(1, SHAPE[0] + 1)]
    volume_node.SetAttribute("DICOM.instanceUIDs", " ".join(uids))
    known = dict(zip(uids, map(str, files), strict=True))
    database = SimpleNamespace(isOpen=True, fileForInstance=lambda uid: known.get(uid, ""))
    monkeypatch.setattr(slicer, "dicomDatabase", database, raising=False)
    labels = np.zeros(SHAPE, np.uint8)
    labels[1:5, 3:13, 4:16] = 1
    labels[2:4, 6:10, 8:12] = 2
    return _segmented(labels, geometry, volume_node, NAMES, "CT organs"), volume_node, labels, geometry, folder


def _write(panel, *arguments, **options):
    return panel.logic.exportSegmentation(*arguments, **options)


def test_for_slicer_and_for_other_programs(panel, result, tmp_path):
    node, volume_node, labels, geometry, _folder = result
    path = _write(panel, node, tmp_path / "a ü.seg.nrrd")
    found, grid, segments = read_labels(path)
    np.testing.assert_array_equal(place(found, grid, geometry), labels)
    assert [segment.name for segment in segments] == list(NAMES)
    assert b"85756007^Tissue" in path.read_bytes()  # the terminology
    assert node.GetStorageNode() is None  # saving the scene later goes its own way
    found, grid, _segments = read_labels(_write(panel, node, tmp_path / "a.nii.gz"))
    assert grid.matches(geometry, 1e-3)
    np.testing.assert_array_equal(found, labels)
    with pytest.raises(UsageError, match="there already"):
        _write(panel, node, tmp_path / "a.nii.gz")
    _write(panel, node, tmp_path / "a.nii.gz", overwrite=True)
    with pytest.raises(UsageError, match="does not say the format"):
        _write(panel, node, tmp_path / "a.dcm")
    with pytest.raises(AnnotationError, match="Nothing is segmented"):
        _write(panel, _segmented(0 * labels, geometry, volume_node, NAMES, "none"), tmp_path / "b.nii.gz")


def test_a_structure_set_refers_to_the_slices_that_the_database_knows(panel, result, tmp_path):
    node, _volume_node, labels, geometry, _folder = result
    temporary = Path(slicer.app.temporaryPath)
    before = set(temporary.iterdir())
    found = pydicom.dcmread(_write(panel, node, tmp_path / "rt.dcm", "rtstruct"))
    assert [roi.ROIName for roi in found.StructureSetROISequence] == list(NAMES)
    series = found.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[0]
    assert series.SeriesInstanceUID == UID
    contours = found.ROIContourSequence[1].ContourSequence
    points = [np.array(one.ContourData, float).reshape(-1, 3) for one in contours]
    indices = np.concatenate([geometry.physical_to_index(one) for one in points])
    core = np.argwhere(labels == 2)
    assert np.abs(indices.min(0) - core.min(0))[1:].max() <= 0.51
    assert np.abs(indices.max(0) - core.max(0)).max() <= 0.51
    assert set(temporary.iterdir()) == before


def test_without_the_database_the_folder_is_asked_for_and_must_hold_that_series(panel, result, tmp_path):
    host, ui = Host.instance(), panel.ui
    node, volume_node, _labels, _geometry, folder = result
    slicer.dicomDatabase.isOpen = False
    with pytest.raises(FileError, match="not in Slicer's DICOM database"):
        _write(panel, node, tmp_path / "rt.dcm", "rtstruct")
    with pytest.raises(FileError, match="2 DICOM series"):
        _write(panel, node, tmp_path / "rt.dcm", "rtstruct", dicomFolder=folder)
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    item = hierarchy.CreateItem(hierarchy.GetSceneItemID(), volume_node)
    hierarchy.SetItemUID(item, "DICOM", UID)
    panel.parameterNode.shown = node
    ui.exportFormatSelector.setCurrentIndex(ui.exportFormatSelector.findText("DICOM RTSTRUCT"))
    host.answers.extend([str(folder), str(tmp_path / "by hand")])
    ui.exportButton.click()
    assert [kind for kind, _text in host.dialogs] == ["getExistingDirectory", "getSaveFileName"]
    assert host.wait(lambda: "Written" in ui.exportLabel.text, 20)
    assert (tmp_path / "by hand.dcm").is_file()
    hierarchy.SetItemUID(item, "DICOM", f"{UID}.404")
    with pytest.raises(FileError, match="no DICOM series"):
        _write(panel, node, tmp_path / "rt.dcm", "rtstruct", dicomFolder=folder)


def test_dialogs_open_beside_the_volumes_file_else_where_slicer_saves_scenes(panel, result, tmp_path):
    host, ui = Host.instance(), panel.ui
    node, volume_node, _labels, _geometry, _folder = result
    host.places.clear()
    panel.parameterNode.shown = node
    saves = Path(slicer.app.defaultScenePath)
    ui.exportButton.click()  # a scan of the database, whose files are none of the user's
    slicer.dicomDatabase.isOpen = False
    ui.exportButton.click()
    file = tmp_path / "patient ü" / "ct.nrrd"
    file.parent.mkdir()
    assert slicer.util.saveNode(volume_node, str(file))
    ui.exportButton.click()
    file.unlink()
    file.parent.rmdir()
    ui.exportButton.click()
    name = "CT organs.seg.nrrd"
    assert host.places == [str(folder / name) for folder in (saves, saves, file.parent, saves)]
    ui.exportFormatSelector.setCurrentIndex(ui.exportFormatSelector.findText("DICOM RTSTRUCT"))
    ui.exportButton.click()
    assert host.places[-1] == str(saves)


def test_a_missing_package_is_named_and_offered(panel, result, tmp_path, monkeypatch):
    from SparseSegModule import dependencies

    host, ui = Host.instance(), panel.ui
    node = result[0]
    there = {requirement.split(">=")[0]: "99.0" for requirement in dependencies.PACKAGES}
    del there["highdicom"]
    monkeypatch.setattr(dependencies, "installedVersion", there.get)
    with pytest.raises(DependencyError, match="highdicom"):
        _write(panel, node, tmp_path / "seg.dcm", "dicom-seg")
    panel.parameterNode.shown = node
    ui.exportFormatSelector.setCurrentIndex(ui.exportFormatSelector.findText("DICOM SEG"))
    before = len(host.pipCalls)
    ui.exportButton.click()
    assert host.pipCalls[before:] == [("pip_ensure", ["highdicom>=0.27"])]
    assert not list(tmp_path.glob("*.dcm"))

    def declined(*_arguments, **_options):
        raise RuntimeError("declined")

    monkeypatch.setattr(slicer.packaging, "pip_ensure", declined)
    ui.exportButton.click()
    ((kind, text),) = host.dialogs
    assert kind == "error"
    assert "highdicom" in text and "declined" in text


def test_a_segmentation_object_is_written_where_highdicom_is_there(panel, result, tmp_path):
    pytest.importorskip("highdicom")
    found = pydicom.dcmread(_write(panel, result[0], tmp_path / "seg.dcm", "dicom-seg"))
    assert found.Modality == "SEG"
    assert [one.SegmentLabel for one in found.SegmentSequence] == list(NAMES)


class Database:
    """Slicer's DICOM database, as far as an export needs it: what is inserted is copied into its folder."""

    def __init__(self, folder: Path, files: list[Path]) -> None:
        self.folder = folder
        self.isOpen = True
        self._files = {self.fileValue(str(file), "0008,0018"): str(file) for file in files}

    def fileValue(self, path: str, tag: str) -> str:  # noqa: N802
        found = pydicom.dcmread(path, stop_before_pixels=True).get(int(tag.replace(",", ""), 16))
        return "" if found is None else "\\".join(found.value) if found.VM > 1 else str(found.value)

    def instanceValue(self, uid: str, tag: str) -> str:  # noqa: N802
        return self.fileValue(self._files[uid], tag)

    def fileForInstance(self, uid: str) -> str:  # noqa: N802
        return self._files.get(uid, "")

    def insert(self, path: str, store: bool, thumbnail: bool) -> None:
        copy = self.folder / f"{len(self._files)}.dcm"
        copy.write_bytes(Path(path).read_bytes())
        self._files[self.fileValue(path, "0008,0018")] = str(copy)


def test_dicom_goes_into_the_database_and_temporary_files_away(panel, result, tmp_path, monkeypatch):
    host, ui, node = Host.instance(), panel.ui, result[0]
    stored = tmp_path / "database"
    stored.mkdir()
    monkeypatch.setattr(slicer, "dicomDatabase", Database(stored, sorted(result[4].glob("*.dcm"))))
    temporary = Path(slicer.app.temporaryPath)
    before = set(temporary.iterdir())
    path = _write(panel, node, None, "rtstruct")
    assert path.parent == stored
    assert pydicom.dcmread(path).Modality == "RTSTRUCT"
    with pytest.raises(UsageError, match="no DICOM"):
        _write(panel, node, None, "nifti")
    panel.parameterNode.shown = node
    assert not ui.databaseCheckBox.enabled
    ui.exportFormatSelector.setCurrentIndex(ui.exportFormatSelector.findText("DICOM RTSTRUCT"))
    assert ui.databaseCheckBox.enabled
    ui.databaseCheckBox.checked = True
    ui.exportButton.click()
    assert host.wait(lambda: "into the DICOM database" in ui.exportLabel.text, 20)
    assert len(list(stored.iterdir())) == 2
    monkeypatch.setattr(Database, "insert", lambda *_arguments: None)
    with pytest.raises(FileError, match="did not take"):
        _write(panel, node, None, "rtstruct")
    assert host.dialogs == []
    assert set(temporary.iterdir()) == before


def test_a_wrong_series_is_recognized_before_the_work(panel, bundle, tmp_path, monkeypatch):
    from dicom_helpers import save_all, slices
    from SparseSegModule.dicomScan import checkForModel, seriesDoubts
    from SparseSegModule.inputsPart import firstImage

    phantom, scan = add_phantom(name="T2")
    assert seriesDoubts(scan) == ""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(slicer.mrmlScene)
    files, nodes = [], {}
    kinds = {"scout": ["ORIGINAL", "PRIMARY", "LOCALIZER"], "ADC": ["DERIVED", "PRIMARY", "ADC"], "few": ["ORIGINAL"]}
    for name, kind in kinds.items():
        part = phantom.volume.array[0][: 3 if name == "few" else None] * 100
        nodes[name] = add_volume(part, phantom.volume.geometry, name)
        (one, *_others) = slices(ImageType=kind)
        files += save_all([one], tmp_path / name)
        nodes[name].SetAttribute("DICOM.instanceUIDs", str(one.SOPInstanceUID))
        hierarchy.SetItemAttribute(
            hierarchy.CreateItem(hierarchy.GetSceneItemID(), nodes[name]), "DICOM.Modality", "CT"
        )
    monkeypatch.setattr(slicer, "dicomDatabase", Database(tmp_path, files), raising=False)
    expected = ["a localizer (scout view)", "derived from another series (ADC)", "a scan of 3 slices"]
    assert [seriesDoubts(node) for node in nodes.values()] == expected
    panel.parameterNode.inputVolume = nodes["ADC"]
    assert panel.ui.seriesLabel.text == "Is this the right series? It is derived from another series (ADC)."
    panel.parameterNode.inputVolume = scan
    assert panel.ui.seriesLabel.text == ""
    with pytest.raises(VolumeError, match="scout seems to be the wrong series"):
        panel.logic.applyModel(str(bundle), nodes["scout"])
    card = SimpleNamespace(name="prostate", scans="MR")
    with pytest.raises(VolumeError, match="few is CT, and the model prostate is for MR"):
        checkForModel(nodes["few"], card)
    for node in (scan, nodes["few"]):
        slicer.mrmlScene.RemoveNode(node)
    panel.parameterNode.inputVolume = None
    assert firstImage() is nodes["scout"]
    assert firstImage([nodes["scout"], add_phantom(name="later")[1]]).GetName() == "later"
