"""Which volume of a cohort to annotate next, and which slice of it."""

import json

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.cli import main
from SparseSegLib.cohort.next_case import Suggestion, expected_dice, rank, suggest_case, uncertainty
from SparseSegLib.geometry import Geometry

SIZE = (10, 12, 14)


def _sure(confidence):
    """Probabilities of a box of one structure, with this confidence everywhere."""
    inside = torch.full(SIZE, 1 - confidence)
    inside[3:7, 3:9, 3:11] = confidence
    return torch.stack([1 - inside, inside])


def test_the_expected_dice_follows_the_confidence():
    assert expected_dice(_sure(1.0)) == 1
    box, whole = 4 * 6 * 8, 10 * 12 * 14
    assert expected_dice(_sure(0.95)) == pytest.approx(2 * 0.95 / 1.95)
    assert expected_dice(_sure(0.8)) == pytest.approx(2 * 0.8 * box / (box + 0.8 * box + 0.2 * (whole - box)))
    assert expected_dice(torch.stack([torch.full(SIZE, 0.7), torch.full(SIZE, 0.3)])) == 0
    assert expected_dice(torch.stack([torch.ones(SIZE), torch.zeros(SIZE)])) == 0


def test_uncertainty_is_an_entropy_from_0_to_1():
    assert uncertainty(torch.full((3, *SIZE), 1 / 3)) == pytest.approx(np.ones(SIZE), abs=1e-5)
    assert uncertainty(_sure(1.0)).max() == 0


def test_the_slice_lies_in_the_doubtful_part_on_the_volumes_own_grid():
    probabilities = _sure(1.0)
    probabilities[:, 6, 3:9, 3:11] = 0.5
    grid, own = Geometry.identity(SIZE, (2.0, 2.0, 2.0)), Geometry.identity((20, 24, 28), (1.0, 1.0, 1.0))
    first = suggest_case("a", probabilities, grid, own)
    assert first.plane.axis == 0
    assert abs(first.plane.index - 12) <= 1
    second = suggest_case("a", probabilities, grid, own, (first.plane, Plane(0, first.plane.index + 1)))
    assert second.plane not in (first.plane, Plane(0, first.plane.index + 1))
    assert second.annotated == 2
    assert suggest_case("a", _sure(1.0), grid, own).plane is None


def test_the_worst_comes_first_and_what_is_annotated_later():
    plane = Plane(0, 1)
    bad, good = Suggestion("bad", 0.5, plane), Suggestion("good", 0.9, plane)
    seen, sure = Suggestion("seen", 0.5, plane, 2), Suggestion("sure", 0.1, None)
    assert [one.name for one in rank([sure, good, seen, bad])] == ["bad", "seen", "good", "sure"]


def test_the_command_line(study, bundle, capsys):
    images, labels = str(study / "images"), str(study / "labels")
    assert main(["suggest", images, "--model", str(bundle), "--labels", labels, "--device", "cpu", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["suggestions"]
    assert {row["name"] for row in rows} == {"p0", "p1"}
    assert [row["annotated"] for row in rows] == [6, 6]
    assert 0 < rows[0]["expected_dice"] <= rows[1]["expected_dice"] < 1
    assert main(["suggest", images, "--model", str(bundle), "--device", "cpu", "--count", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
