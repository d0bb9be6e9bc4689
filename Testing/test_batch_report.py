"""What a run of many cases leaves for people: the report, and contact sheets."""

import csv
import sys

import pytest
from cohort_helpers import SIZE
from phantoms import blob

from SparseSegLib.batch import write_report
from SparseSegLib.batch.contact_sheet import write_contact_sheets
from SparseSegLib.batch.thumbnails import row_of_slices
from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Geometry


def test_the_report_has_a_row_for_every_case_and_a_column_for_all_that_is_said(tmp_path):
    entries = [
        {"name": "ä", "file": "ä.seg.nrrd", "seconds": 1.5, "voxels": {"liver": 7}, "volume_ml": {"liver": 0.5}},
        {"name": "b", "error": "No image.", "hint": "Look.", "code": "file"},
        {"name": "c", "file": "c.seg.nrrd", "voxels": {"liver": 0}, "volume_ml": {"liver": 0.0}, "doubts": "tiny"},
    ]
    write_report(entries, tmp_path / "report.csv")
    rows = list(csv.DictReader((tmp_path / "report.csv").open(encoding="utf-8-sig")))
    assert [row["case"] for row in rows] == ["ä", "b", "c"]
    assert (rows[0]["liver voxels"], rows[0]["liver ml"], rows[0]["error"]) == ("7", "0.5", "")
    assert (rows[1]["error"], rows[1]["liver ml"]) == ("No image.", "")
    assert rows[2]["doubts"] == "tiny"


def test_a_row_of_slices_shows_the_outline_in_its_color():
    phantom = blob(Geometry.identity(SIZE, (3.0, 1.0, 1.5)))
    picture = row_of_slices(phantom.volume, phantom.labels, {1: (1.0, 0.0, 0.0)})
    red = (picture == (255, 0, 0)).all(-1)
    assert red.any()
    assert red.mean() < 0.1
    assert picture.shape[1] / picture.shape[0] == pytest.approx(6 * 42 / 24, rel=0.05)
    assert not (row_of_slices(phantom.volume, 0 * phantom.labels, {1: (1.0, 0.0, 0.0)}) == (255, 0, 0)).all(-1).any()


def test_contact_sheets_have_pages_and_need_no_picture(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("SparseSegLib.batch.contact_sheet.ROWS", 2)
    failed = [{"name": str(number), "error": "No.", "hint": "", "code": "file"} for number in range(3)]
    assert [path.name for path in write_contact_sheets(failed, tmp_path)] == [
        "contact-sheet-001.png", "contact-sheet-002.png",
    ]  # fmt: skip
    assert [path.name for path in write_contact_sheets(failed[:2], tmp_path)] == ["contact-sheet.png"]
    assert [path.name for path in tmp_path.glob("*.png")] == ["contact-sheet.png"]


def test_only_pages_of_contact_sheets_are_replaced(tmp_path, monkeypatch):
    names = {"contact-sheet.png", "contact-sheet-007.png", "contact-sheet-reviewed.png", "contact-sheet-1.png"}
    for name in names:
        (tmp_path / name).write_text("")
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "matplotlib", None)
        with pytest.raises(DependencyError):
            write_contact_sheets([], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == names
    pytest.importorskip("matplotlib")
    write_contact_sheets([], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"contact-sheet-reviewed.png", "contact-sheet-1.png"}


def test_a_report_holds_no_formulas_and_nothing_that_nobody_sees(tmp_path):
    entries = [
        {"name": "=cmd|' /C calc'!A0", "file": "x", "seconds": 1.0, "voxels": {"+liver": 7}},
        {"name": "a\u202egnp", "error": "@SUM(1)\n", "hint": "1.2.3 (MR what somebody wrote)", "code": "-file"},
    ]
    write_report(entries, tmp_path / "report.csv")
    text = (tmp_path / "report.csv").read_text(encoding="utf-8-sig")
    rows = list(csv.reader(text.splitlines()))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row)
    assert rows[2][0] == "agnp"
    assert "somebody" not in text


def test_captions_of_contact_sheets_are_no_formulas(tmp_path):
    pytest.importorskip("matplotlib")
    write_contact_sheets([{"name": "$x^", "error": "\x07$\\frac{$", "hint": "", "code": "file"}], tmp_path)
    assert (tmp_path / "contact-sheet.png").is_file()
