"""Lengths, volumes and places in words, and text that is safe to print."""

import json
import math

import pytest
from phantoms import GEOMETRIES

from SparseSegLib.image import Geometry, orientation, place_text, slice_place, slice_position
from SparseSegLib.text import printable, printable_json, printable_lines
from SparseSegLib.units import data_text, length_text, lengths_text, number_text, position_text, volume_text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (1234.5, "1234"), (99.96, "100"), (0.5, "0.5"), (0.00123, "0.00123"), (-12.34, "-12.3"), (5.0, "5")],
)
def test_numbers_have_significant_digits_and_no_exponent(value, text):
    assert number_text(value) == text


def test_numbers_that_are_none_are_a_dash():
    assert number_text(math.nan) == number_text(math.inf) == "–"


@pytest.mark.parametrize(
    ("mm", "text"),
    [(0.9765, "0.977 mm"), (0.0002, "0.2 µm"), (0.05, "50 µm"), (2e-6, "2 nm"), (0, "0 mm"), (5, "5 mm")],
)
def test_lengths_are_never_zero_that_are_not(mm, text):
    assert length_text(mm) == text


def test_several_lengths_share_a_unit():
    assert lengths_text((0.0002, 0.0002, 0.0005)) == "0.2 × 0.2 × 0.5 µm"
    assert lengths_text((0.98, 0.98, 3)) == "0.98 × 0.98 × 3 mm"


@pytest.mark.parametrize(
    ("ml", "text"), [(12.345, "12.3 ml"), (0.05, "50 mm³"), (2e-5, "0.02 mm³"), (8e-12, "8 µm³"), (0, "0 ml")]
)
def test_volumes_are_never_zero_that_are_not(ml, text):
    assert volume_text(ml) == text


def test_amounts_of_data():
    assert (data_text(12), data_text(3 << 30)) == ("12 bytes", "3 GiB")


def test_positions_are_in_ras():
    assert position_text((12.345, -4.0, 0.001)) == "R 12.35, A -4, S 0 mm"
    assert position_text((0.002, 0.0, -0.001)) == "R 2, A 0, S -1 µm"


def test_a_slice_is_where_slicer_shows_it():
    grid = Geometry((10, 20, 30), (2.0, 1.0, 0.5), (5.0, 6.0, 7.0))  # LPS
    place = slice_place(grid, 0, 4)
    assert place == {"axis": "z", "index": 4, "orientation": "axial", "ras_mm": [-12.25, -15.5, 15.0]}
    assert slice_position(grid, 0, 4) == "S 15 mm"
    assert slice_position(grid, 1, 0) == "A -6 mm"
    assert place_text(place) == "axial slice, z = 4, center at R -12.25, A -15.5, S 15 mm"


def test_the_orientation_is_that_of_the_anatomy_and_not_of_the_array():
    sagittal = Geometry((10, 20, 30), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0, 0.0))
    assert [orientation(sagittal, axis) for axis in range(3)] == ["sagittal", "axial", "coronal"]
    turned = math.sqrt(0.5)
    oblique = Geometry((4, 4, 4), (1.0, 1.0, 1.0), direction=(1.0, 0, 0, 0, turned, -turned, 0, turned, turned))
    assert orientation(oblique, 0) == "oblique"
    assert slice_position(GEOMETRIES["oblique"], 0, 3).count(",") == 2


def test_text_of_files_cannot_steer_a_terminal():
    assert printable("a\x1b[31m\u202eb\r\n") == "a\\x1b[31m\\u202eb\\x0d\\x0a"
    assert printable_lines("a\nb\x07") == "a\nb\\x07"
    assert printable("Größe 肝臓 µ") == "Größe 肝臓 µ"
    assert printable("caf\udce9 \ud800") == "caf\\xe9 \\ud800"


def test_json_keeps_its_value_without_such_characters():
    value = {"name": "a\x1b\x9b\u202e\udce9 日本"}
    text = printable_json(json.dumps(value, ensure_ascii=False))
    assert json.loads(text) == value
    assert printable(text) == text
    assert "日本" in text
