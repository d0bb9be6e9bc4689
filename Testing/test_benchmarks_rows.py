"""The tables of what benchmarks measured: what is written comes back, and what was measured is known."""

import math
import os

import pytest
from Benchmarks.shared import rows
from Benchmarks.shared.rows import Table

VALUES = {
    "number": 0.5,
    "whole": 20.0,
    "count": 3,
    "text": "white matter",
    "commas": '3,3,2 "so"',
    "looks like a number": "12",
    "looks like nothing": "NaN",
    "empty": "",
    "nothing": None,
    "flag": True,
    "planes": [[1, 41], [0, 7]],
    "dice": {"left": 0.25},
    "lines": "a\nb",
}


def test_a_row_comes_back_as_it_was(tmp_path):
    table = Table(tmp_path / "new" / "results.csv")
    assert table.rows() == []
    table.append(VALUES)
    table.append({**VALUES, "number": math.inf})
    first, second = table.rows()
    assert first == VALUES
    assert {name: type(value) for name, value in first.items()} == {name: type(part) for name, part in VALUES.items()}
    assert second["number"] == math.inf


def test_a_file_has_a_line_a_row_under_one_header(tmp_path):
    table = Table(tmp_path / "results.csv")
    for seed in range(3):
        table.append({"volume": "liver", "seed": seed, "iou": 1 / 3})
    assert table.path.read_bytes() == b"volume,seed,iou\nliver,0,0.33333\nliver,1,0.33333\nliver,2,0.33333\n"


def test_numbers_keep_five_digits_in_lists_too(tmp_path):
    table = Table(tmp_path / "results.csv")
    table.append({"seconds": 1234.5678, "whole": 123456.0, "curve": [0.123456789, 2.0]})
    assert table.rows() == [{"seconds": 1234.6, "whole": 123456.0, "curve": [0.12346, 2.0]}]


def test_a_new_column_is_empty_in_the_rows_before(tmp_path):
    table = Table(tmp_path / "results.csv")
    table.append({"method": "forest", "iou": 0.5})
    table.append({"method": "network", "steps": 7, "iou": 0.75})
    table.append({"iou": 0.25, "method": "other"})
    assert table.rows() == [
        {"method": "forest", "iou": 0.5, "steps": None},
        {"method": "network", "iou": 0.75, "steps": 7},
        {"method": "other", "iou": 0.25, "steps": None},
    ]
    assert os.listdir(tmp_path) == ["results.csv"]


@pytest.mark.parametrize("seconds", [20.0, 1 / 3, 12.3456789])
def test_what_was_measured_is_known_by_its_key(tmp_path, seconds):
    path = tmp_path / "results.csv"
    row = {"volume": "12", "seconds": seconds, "seed": 0}
    assert not Table(path, ("volume", "seconds", "seed")).has(row)
    Table(path).append({**row, "iou": 0.5})
    table = Table(path, ("volume", "seconds", "seed"))
    assert table.has(row)
    assert table.has({**row, "iou": 0.7})
    assert not table.has({**row, "seed": 1})
    assert not table.has({**row, "volume": 12})


def test_the_version_is_that_of_git():
    assert rows.commit() == "" or len(rows.commit()) >= 7
