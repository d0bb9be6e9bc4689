"""Models on a folder and on patients of the DICOM database, with nothing loaded; and the library in the panel."""

import csv
from pathlib import Path

import numpy as np
import pytest
import qt_states
import slicer
from dicom_helpers import save_all, slices
from host import Host
from host.dicomDatabase import DICOMDatabase
from module_helpers import add_phantom
from phantoms import GEOMETRIES, blob

from SparseSegLib.errors import FileError, UsageError
from SparseSegLib.evaluation import iou
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.models import ModelLibrary

UID = "1.2.826.0.1.3680043.2.1125.9"


@pytest.fixture
def model(panel, bundle):
    """The part of the panel that runs models, with one in the library that is for MR."""
    ModelLibrary().add(bundle)
    ModelLibrary().describe("Blob", modality="MR")
    part = panel.parts[3]
    part.showModels("Blob")
    return part


def _series(folder, number, **tags):
    phantom = blob(GEOMETRIES["identity"], seed=number)
    array = np.clip(1000 * phantom.volume.array[0], 0, None).astype(np.uint16)
    files = slices(phantom.volume.geometry, array, SeriesInstanceUID=f"{UID}.{number}", SeriesNumber=number, **tags)
    for index, file in enumerate(files):
        file.SOPInstanceUID = file.file_meta.MediaStorageSOPInstanceUID = f"{UID}.{number}.{index + 1}"
    return files, phantom


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Jane Doe with an MR among other series in one folder, Max Roe with one whose files lie in two folders."""
    home = tmp_path / "dicom ü"
    good, phantom = _series(home, 1, Modality="MR", SeriesDescription="T1 ü/axial")
    scout, _ = _series(
        home, 2, Modality="MR", SeriesDescription="scout", ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]
    )
    ct, _ = _series(home, 3, Modality="CT", SeriesDescription="chest")
    plan, _ = _series(home, 4, Modality="SR", SeriesDescription="report")
    save_all([*good, *scout, *ct, plan[0]], home / "jane")
    person = {"PatientName": "Roe^Max", "PatientID": "8", "StudyInstanceUID": f"{UID}.88"}
    apart, _ = _series(home, 5, Modality="MR", SeriesDescription="T1", **person)
    save_all(apart[::2], home / "max" / "a")
    save_all(apart[1::2], home / "max" / "b")
    made = DICOMDatabase([home])
    monkeypatch.setattr(slicer, "dicomDatabase", made, raising=False)
    made.phantom = phantom
    return made


def _rows(folder):
    with (folder / "report.csv").open(encoding="utf-8-sig") as file:
        return {row["case"]: row for row in csv.DictReader(file)}


def test_a_folder_is_segmented_without_being_loaded_and_table_and_sheets_are_opened(model, panel, tmp_path):
    host, ui = Host.instance(), panel.ui
    phantom, folder, results = blob(GEOMETRIES["flipped"]), tmp_path / "Bilder ü", tmp_path / "results"
    folder.mkdir()
    write_image(phantom.volume.array[0], phantom.volume.geometry, folder / "good.nrrd")
    (folder / "bad.nrrd").write_bytes(b"NRRD0005\nno image")
    ui.folderSelector.currentPath = str(folder)
    host.processEvents()
    host.answers.append(str(results))  # where the results shall go
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    ui.runButton.click()
    assert host.wait(lambda: model.handle is None, 90)
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    text = ui.automaticLabel.text
    assert "1 of 2 segmented" in text and "good: blob " in text and " ml" in text and "bad: " in text
    assert str(results) in text
    labels, geometry, _segments = read_labels(results / "good.seg.nrrd")
    assert geometry.matches(phantom.volume.geometry, 1e-4) and iou(labels > 0, phantom.labels > 0) > 0.6
    rows = _rows(results)
    assert float(rows["good"]["blob ml"]) > 0 and rows["bad"]["error"]
    opened = [what for kind, what in host.dialogs if kind == "openUrl"]
    assert opened == [str(results / "report.csv"), str(results / "contact-sheet.png")]


def test_patients_of_the_database_are_chosen_and_their_series_segmented(model, panel, database, tmp_path):
    import qt

    host, ui, results = Host.instance(), panel.ui, tmp_path / "results"
    model.refresh()
    assert not ui.patientsButton.isHidden()
    ui.resultsSelector.currentPath = str(results)
    seen = []

    def choose(dialog):
        jane, roe = (dialog.tree.topLevelItem(index) for index in range(2))
        seen.extend(jane.child(0).child(index).text(0) for index in range(jane.child(0).childCount()))
        ok = dialog.buttons.button(qt.QDialogButtonBox.Ok)
        assert not dialog.chosen() and not ok.enabled
        jane.setCheckState(0, qt_states.checked())
        roe.setCheckState(0, qt_states.checked())
        assert ok.enabled
        dialog.searchEdit.text = "doe"
        assert roe.isHidden() and not jane.isHidden()
        return True

    host.answers.append(choose)
    nodes = slicer.mrmlScene.GetNumberOfNodes()
    ui.patientsButton.click()
    assert host.wait(lambda: model.handle is None, 90)
    assert seen == ["T1 ü/axial", "scout"]  # neither the CT, nor the report
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert "2 of 3 segmented" in ui.automaticLabel.text
    assert "localizer" in ui.automaticLabel.text
    files = sorted(path.name for path in results.glob("*.seg.nrrd"))
    assert len(files) == 2 and files[0].startswith("Doe Jane 2020-01-01 1 T1 ü") and files[1].startswith("Roe Max")
    labels, geometry, _segments = read_labels(results / files[0])
    assert geometry.matches(database.phantom.volume.geometry, 1e-4)
    assert iou(labels > 0, database.phantom.labels > 0) > 0.6


def test_the_console_lists_patients_and_returns_files_and_milliliters(model, panel, database, tmp_path):
    jane, roe = panel.logic.patients()
    assert (jane.name, jane.identifier, roe.name) == ("Doe Jane", "7", "Roe Max")
    assert [one.modality for one in jane.series] == ["MR", "MR", "CT"]
    assert jane.series[0].count == ""
    database.updateDisplayedFields()
    assert panel.logic.patients()[0].series[0].count == str(len(database.phantom.labels))
    ct = [one for one in jane.series if one.modality == "CT"]
    result = panel.logic.applyModelToSeries("Blob", [jane.series[0], *ct], tmp_path / "out", device="cpu")
    good, bad = result.results
    assert good.file.is_file() and good.volumesMl["blob"] > 0 and not good.error
    assert bad.file is None and "is CT, not MR" in bad.error
    assert (result.report.is_file(), result.folder) == (True, tmp_path / "out")
    with pytest.raises(UsageError, match="no series"):
        panel.logic.applyModelToSeries("Blob", [], tmp_path / "out")
    with pytest.raises(FileError, match="no folder"):
        panel.logic.applyModelToFolder("Blob", tmp_path / "nowhere", tmp_path / "out")
    database._images.clear()
    with pytest.raises(FileError, match="has no files of Doe Jane"):
        panel.logic.applyModelToSeries("Blob", jane.series, tmp_path / "out")
    database.isOpen = False
    assert panel.logic.patients() == []


def test_results_of_others_are_not_replaced(model, panel, tmp_path):
    phantom, folder, results = blob(), tmp_path / "images", tmp_path / "results"
    folder.mkdir()
    results.mkdir()
    write_image(phantom.volume.array[0], phantom.volume.geometry, folder / "a.nrrd")
    (results / "report.csv").write_text("somebody's")
    with pytest.raises(Exception, match=r"report\.csv is there already"):
        panel.logic.applyModelToFolder("Blob", folder, results, device="cpu")
    assert (results / "report.csv").read_text() == "somebody's"


def test_the_menu_describes_exports_deletes_and_imports(model, panel, tmp_path):
    host, ui = Host.instance(), panel.ui
    menu = model.menu

    def done():
        return not menu._waiting.busy

    def rename(dialog):
        dialog.nameEdit.text = "Klecks ü"
        dialog.summaryEdit.setPlainText("Finds blobs.")
        dialog.modalitySelector.setCurrentIndex(0)
        return True

    host.answers.append(rename)
    menu.onDescribe()
    assert host.wait(done, 10)
    assert ui.modelSelector.currentText == "Klecks ü" and "Finds blobs." in ui.modelCardLabel.text
    assert ModelLibrary().find("Klecks ü").card.modality == ""
    host.answers.append(str(tmp_path / "klecks"))
    menu.onExport()
    assert host.wait(done, 10) and (tmp_path / "klecks.zip").is_file()
    host.answers.append(False)
    menu.onDelete()
    assert len(ModelLibrary().entries()) == 1
    menu.onDelete()
    assert host.wait(done, 10) and ModelLibrary().entries() == ()
    assert "no model yet" in ui.modelCardLabel.text
    for answers in ([], [True]):  # the second time it asks whether to replace
        host.answers.extend([str(tmp_path / "klecks.zip"), *answers])
        menu.onImport()
        assert host.wait(done, 10)
    assert [entry.name for entry in ModelLibrary().entries()] == ["Klecks ü"]
    assert any("Replace it?" in text for _kind, text in host.dialogs)
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    host.answers.append(str(tmp_path / "bad.zip"))
    menu.onImport()
    assert host.dialogs[-1][0] == "error" and "bad.zip is no zip" in host.dialogs[-1][1]


def test_a_shipped_model_stays_as_it_is_and_says_so(model, panel, bundle, tmp_path, monkeypatch):
    host = Host.instance()
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    ModelLibrary(shipped).add(bundle)
    ModelLibrary().remove("Blob")
    monkeypatch.setattr("SparseSegLib.models.library.shipped_folders", lambda: (shipped,))
    model.showModels()
    for act in (model.menu.onDescribe, model.menu.onDelete):
        act()
        assert host.dialogs[-1][0] == "error" and "comes with SparseSeg and stays" in host.dialogs[-1][1]


def test_densify_starts_from_the_model_that_is_chosen(model, panel):
    from SparseSegModule.densifier import roundSettings

    ui, node = panel.ui, panel.parameterNode
    names = [ui.densifyStartSelector.itemText(index) for index in range(ui.densifyStartSelector.count)]
    assert names == ["no model", "Blob"]
    ui.densifyStartSelector.setCurrentIndex(1)
    assert node.start == "Blob"
    chosen = {"preset": "fast", "margin": 0.1, "seed": 0, "device": "cpu", "start": node.start}
    settings = roundSettings(None, **chosen)
    assert Path(settings["start"]) == ModelLibrary().find("Blob").path
    ModelLibrary().remove("Blob")
    model.showModels()
    assert ui.densifyStartSelector.currentText == "Blob"  # what a scene has chosen is not forgotten
    with pytest.raises(Exception, match="no model Blob"):
        roundSettings(None, **chosen)


def test_a_densification_with_a_model_from_the_console(model, panel):
    from SparseSegModule.selfTest import annotate

    phantom, volume_node = add_phantom()
    segmentation_node, planes = annotate(volume_node, phantom.labels, (1, 0, 0))
    result = panel.logic.densify(
        volume_node, segmentation_node, planes=planes, start="Blob", budgetSteps=2, device="cpu", output="labelmap"
    )
    found = slicer.util.arrayFromVolume(result.labelmapNode) > 0
    assert iou(found, phantom.labels > 0) > 0.6
