"""The effort benchmark: where slices lie, what is counted, and what its report computes."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from Benchmarks.accuracy import effort, effort_report
from Benchmarks.shared.rows import Table
from phantoms import multi_class

from SparseSegLib.annotation import Plane
from SparseSegLib.errors import DependencyError
from SparseSegLib.evaluation import SimulatedUser
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels

TOOLS = ("Fill between slices", "Grow from seeds")
EXTENT = (range(10, 41), range(0, 41), range(20, 61))


def _indices(way, count):
    return [(plane.axis, plane.index) for plane in effort.places(way, EXTENT, count)]


def test_slices_of_other_tools_are_evenly_spaced():
    assert _indices("along z", 1) == _indices("along z to its ends", 1) == [(0, 25)]
    assert _indices("along z", 2) == [(0, 20), (0, 30)]
    assert _indices("along z to its ends", 4) == [(0, 10), (0, 20), (0, 30), (0, 40)]
    assert _indices("along all axes", 1) == [(2, 40)]
    assert _indices("along all axes", 4) == [(0, 25), (1, 20), (2, 33), (2, 47)]
    axes = [axis for axis, _ in _indices("along all axes", 8)]
    assert [axes.count(axis) for axis in range(3)] == [2, 3, 3]


def test_the_ten_structures(tmp_path):
    names = [case.name for case in effort.structures(tmp_path)]
    assert len(names) == len(set(names)) == 10
    assert set(effort.SPECIAL) < set(names)


def test_a_curve_has_the_means_over_the_structures():
    truth = multi_class().labels
    user = SimulatedUser(truth, Geometry.identity(truth.shape))
    labels, _ = user.draw([Plane(0, 10)])
    curve = effort.Curve(user)
    curve.add(labels, np.where(truth == 3, 0, truth), 7, 1.5)
    found = {name: values[0] for name, values in curve.columns.items()}
    third = round(2 / 3, 4)
    assert found == {"voxels": 7, "seconds": 1.5, "iou": third, "iou_unseen": third, "surface_dice_unseen": third}


def _files(folder):
    truth = np.zeros((12, 14, 16), np.uint8)
    truth[3:9, 3:11, 3:13] = 1
    geometry = Geometry.identity(truth.shape)
    write_image(truth.astype(np.float32), geometry, folder / "image.nrrd")
    write_labels(truth, geometry, folder / "labels.nrrd")
    return truth, f"box={folder / 'image.nrrd'},{folder / 'labels.nrrd'}"


def _run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["effort", *map(str, arguments)])
    effort.main()


def test_curves_from_end_to_end(tmp_path, monkeypatch, capsys):
    truth, volume = _files(tmp_path)
    runs, checkpoints = [], []

    def shifted(labels):
        return np.where(labels.labeled, labels.array, np.roll(truth, 1, axis=2))

    def densify(volume, labels, settings, checkpoint=None):
        runs.append((settings.budget_seconds, settings.seed))
        if checkpoint is None:
            return SimpleNamespace(labels=truth)
        checkpoints.append((checkpoint, checkpoint.exists()))
        checkpoint.touch()
        return SimpleNamespace(labels=shifted(labels), next_slice=Plane(1, 5 + len(labels.planes)))

    def segment_with(name, volume, labels):
        if name == "Random forest":
            raise DependencyError("It is not installed.")
        if name == "Fill between slices" and len({plane.axis for plane in labels.planes}) > 1:
            return truth
        return shifted(labels)

    for each in (effort, effort_report):
        monkeypatch.setattr(each, "CORRECTED", 2)
    monkeypatch.setattr(effort, "densify", densify)
    monkeypatch.setattr(effort, "segment_with", segment_with)
    arguments = ["--volume", volume, "--slices", 3, "--seconds", 2, "--seeds", 5, "-o", tmp_path / "out"]
    _run(monkeypatch, *arguments)
    assert "Random forest is left out" in capsys.readouterr().err
    found = {(row["method"], row["way"]): row for row in Table(tmp_path / "out/results.csv").rows()}
    assert list(found) == [("SparseSeg", "suggested"), ("SparseSeg", "even"), *((peer, "best") for peer in TOOLS)]
    own = found["SparseSeg", "suggested"]
    assert own["planes"] == [[0, 3], [1, 6], [1, 7]]
    assert own["voxels"] == [80, 80 + 2 * 5, 80 + 2 * 5 + 2 * 5], "a column is changed on either side, but for z = 3"
    assert own["drawn"] == [80, 80 + 60 - 10, 80 + 2 * (60 - 10)], "where slices cross, voxels count once"
    assert own["iou_afresh"] == 1.0
    assert len(own["iou"]) == len(own["seconds"]) == len(own["surface_dice_unseen"]) == 3
    assert own["iou"] == sorted(own["iou"])
    assert found["SparseSeg", "even"]["planes"][1] == [2, 7], "the middle of the widest gap"
    assert found["Grow from seeds", "best"]["place"] == "along z"
    assert found["Grow from seeds", "best"]["voxels"] == [80, 160, 240]
    assert found["Fill between slices", "best"]["place"] == "along all axes"
    assert found["Fill between slices", "best"]["voxels"] == [48, 102, 165]
    assert runs == [(2.0, 5)] * 8, "each curve once afresh"
    assert [known for _, known in checkpoints] == [False, True, True] * 2, "each curve goes on from its own weights"
    assert not any(Path(path).exists() for path, _ in checkpoints)
    for name in ("plot.png", "summary.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    _run(monkeypatch, *arguments)
    assert len(runs) == 8, "nothing is measured twice"


def _row(method, way, iou, voxels, volume="a", seed=0):
    own = method == "SparseSeg"
    base = {
        "volume": volume,
        "method": method,
        "way": way,
        "place": way,
        "seed": seed,
        "budget_seconds": 10.0 if own else 0.0,
    }
    seconds = [2.0 * (number + 1) for number in range(len(iou))]
    unseen = {"iou_unseen": iou, "surface_dice_unseen": iou}
    return {**base, "iou": iou, "voxels": voxels, "seconds": seconds, **unseen}


MADE_UP = [
    _row("SparseSeg", "suggested", [0.5, 0.86, 0.84, 0.9], [10, 20, 30, 40]),
    _row("SparseSeg", "suggested", [0.5, 0.7, 0.8, 0.86], [10, 22, 32, 44], seed=1),
    _row("Grow from seeds", "along all axes", [0.4, 0.5, 0.85, 0.88], [12, 32, 50, 100]),
]


def test_what_is_needed_until_an_iou():
    until = effort_report.Effort.until
    assert until(MADE_UP[0], 0.85) == effort_report.Effort(2, 20, 4.0, True), "the first time counts"
    assert until(MADE_UP[1], 0.90) == effort_report.Effort(4, 44, 8.0, False)
    both = effort_report.least(MADE_UP[:2], 0.90)
    assert both == effort_report.Effort(4, 42, 8.0, False), "reached by one seed of two"
    assert both.cells() == ["> 4", "> 42", "> 8"]


def test_corrected_slices_against_the_same_ones_drawn_from_nothing():
    first = {**_row("SparseSeg", "suggested", [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], list(range(10, 80, 10)))}
    second = {**first, "seed": 1, "iou": [0.8] * 7, "drawn": [10, 30, 50, 70, 90, 110, 130], "iou_afresh": 0.6}
    first |= {"drawn": [10, 20, 40, 60, 80, 90, 130], "iou_afresh": 0.5}
    found = effort_report.by_structure([first, second, *MADE_UP])
    (line,) = effort_report.corrected_table(found).splitlines()[2:]
    assert line == "| a | SparseSeg 10 s, suggested | 0.700 | 0.550 | 50 | 90 | 56 |"
    assert effort_report.corrected_table(effort_report.by_structure(MADE_UP)) == ""


def test_shares_are_of_the_best_other_tools_slices(tmp_path, capsys):
    weak = _row("Fill between slices", "along z", [0.1] * 4, [1, 2, 3, 4])
    other = [
        _row("SparseSeg", "suggested", [0.5, 0.6, 0.7, 0.75], [5, 6, 7, 8], volume="b"),
        _row("Random forest", "along z", [0.6, 0.7, 0.7, 0.8], [4, 8, 12, 16], volume="b"),
    ]
    found = effort_report.by_structure([*MADE_UP, weak, *other])
    shares = effort_report.shares(found)["SparseSeg 10 s, suggested"]
    assert shares["a"].peer is MADE_UP[2]
    assert shares["a"].percent == (100.0, 42.0), "0.88 after four slices and 40 voxels, and after more than 44"
    lines = effort_report.share_table(found).splitlines()
    assert lines[2].startswith("| a | SparseSeg 10 s, suggested | Grow from seeds, along all axes | 0.880 | 100 | 8 |")
    assert lines[3].endswith("| 0.800 | 16 | 8 | > 4 | > 8 | > 8 | > 100 | > 50 |")
    assert lines[4].endswith("| > 100 | > 46 |")
    assert effort_report.share_table(effort_report.by_structure(MADE_UP[:2])) == ""
    effort_report.write_report(MADE_UP[:2], tmp_path)
    assert "best other tool" not in capsys.readouterr().out
    effort_report.write_report([*MADE_UP, weak, *other], tmp_path)
    assert (tmp_path / "table.md").read_text().strip() == capsys.readouterr().out.strip()
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_tools_are_compared_after_eight_slices_or_the_last_one():
    longer = _row("Random forest", "along z", [number / 20 for number in range(12)], list(range(12)))
    (line,) = effort_report.until_table(effort_report.by_structure([longer])).splitlines()[2:]
    assert line.startswith("| a | Random forest | 0.350 |")
    shorter = {**longer, "iou": [0.2, 0.3]}
    (line,) = effort_report.until_table(effort_report.by_structure([shorter])).splitlines()[2:]
    assert line.startswith("| a | Random forest | 0.300 |")
