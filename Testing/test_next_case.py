"""Which volume of a cohort to annotate next, and which slice of it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from SparseSegLib.annotation import Plane
from SparseSegLib.cli import main
from SparseSegLib.cohort.next_case import expected_dice, suggest_slices, view_case
from SparseSegLib.image import Geometry

SIZE = (10, 12, 14)
GRID = Geometry.identity(SIZE)


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


def test_a_view_tells_where_the_structure_lies_on_the_volumes_own_grid():
    grid, own = Geometry.identity(SIZE, (2.0, 2.0, 2.0)), Geometry.identity((20, 24, 28), (1.0, 1.0, 1.0))
    probabilities = _sure(0.9)
    probabilities[:, 0, 0, 0] = torch.tensor([0.1, 0.9])  # a speck far off
    view = view_case("a", probabilities, grid, own)
    assert np.abs(np.array(view.extents) - [(6, 13), (6, 17), (6, 21)]).max() <= 1
    assert [float(area.max()) for area in view.areas] == [1, 1, 1]
    assert view.areas[0][0] == 0
    assert view.place(Plane(0, view.extents[0][1])) == 1


def test_slices_go_where_no_volume_has_any():
    first = view_case("a", _sure(0.9), GRID, GRID, (Plane(0, 5), Plane(1, 5), Plane(2, 6)))
    other = view_case("b", _sure(0.9), GRID, GRID)
    (found,) = suggest_slices([first, other])
    assert (found.name, found.annotated) == ("b", 0)
    assert found.plane.index in other.extents[found.plane.axis]  # an end: the middles are there
    many = suggest_slices([first, other], 7)
    places = {(one.plane.axis, round(other.place(one.plane), 1)) for one in many}
    assert len(places) == 7
    assert {axis for axis, _ in places} == {0, 1, 2}
    assert len({(one.name, one.plane) for one in many} | {("a", plane) for plane in first.planes}) == 10


def test_slices_that_show_more_are_preferred():
    probabilities = _sure(0.9)
    probabilities[:, 7, 5, 5] = torch.tensor([0.1, 0.9])  # a thin end along z
    view = view_case("a", probabilities, GRID, GRID, (Plane(0, 5), Plane(1, 3), Plane(1, 8), Plane(2, 3), Plane(2, 10)))
    assert suggest_slices([view])[0].plane == Plane(0, 3)


def test_volumes_with_fewer_slices_come_first_and_then_the_surest():
    bad, good = view_case("bad", _sure(0.8), GRID, GRID), view_case("good", _sure(0.95), GRID, GRID)
    seen = replace(bad, name="seen", planes=(Plane(0, 4),))
    assert [one.name for one in suggest_slices([bad, seen, good], 4)] == ["good", "bad", "good", "bad"]
    assert [one.annotated for one in suggest_slices([bad, seen, good], 5)] == [0, 0, 1, 1, 1]


def test_when_all_slices_are_annotated_nothing_is_suggested():
    view = view_case("a", _sure(1.0), GRID, GRID)
    planes = tuple(Plane(axis, index) for axis in range(3) for index in range(SIZE[axis]))
    assert suggest_slices([replace(view, planes=planes)]) == []


def test_the_command_line(study, bundle, capsys):
    images, labels = str(study / "images"), str(study / "labels")
    assert main(["suggest", images, "--model", str(bundle), "--labels", labels, "--device", "cpu", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["suggestions"]
    assert {row["name"] for row in rows} == {"p0", "p1"}
    assert [row["annotated"] for row in rows] == [6, 6, 7, 7, 8]
    assert 1 > rows[0]["expected_dice"] >= rows[1]["expected_dice"] > 0
    assert main(["suggest", images, "--model", str(bundle), "--device", "cpu", "--count", "1"]) == 0
    assert capsys.readouterr().out.count("\n") == 2
