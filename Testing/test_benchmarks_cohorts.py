"""The benchmarks over cohorts: what they compute, and that they run from end to end on tiny volumes."""

import sys

import numpy as np
import pytest
from Benchmarks.shared import rows
from Experiments.cohorts import active_learning, cicek2016, hippocampus
from phantoms import blob

from SparseSegLib.annotation import Plane
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image


@pytest.fixture
def cohort(tmp_path):
    """Three blobs, and their labels under the same names."""
    for seed in range(3):
        phantom = blob(Geometry.identity((16, 18, 20)), seed=seed)
        for part, array in (("images", phantom.volume.array), ("labels", phantom.labels)):
            (tmp_path / part).mkdir(exist_ok=True)
            write_image(array, phantom.volume.geometry, tmp_path / part / f"b{seed}.nii.gz")
    return tmp_path


def _run(monkeypatch, module, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *map(str, arguments)])
    module.main()


def test_sparse_and_dense_labels_are_compared_and_not_measured_twice(cohort, monkeypatch, capsys):
    arguments = ["--cohort", cohort, "--train", 2, "--test", 1, "--slices", "0,0,2", "--seconds", 0.2, "-o"]
    _run(monkeypatch, hippocampus, *arguments, cohort / "out", "--device", "cpu")
    found = rows.Table(cohort / "out" / "results.csv").rows()
    assert [row["way"] for row in found] == ["sparse", "dense"]
    assert all(0 <= row["mean_dice"] <= 1 and row["steps"] > 0 for row in found)
    _run(monkeypatch, hippocampus, *arguments, cohort / "out", "--device", "cpu")
    assert len(rows.Table(cohort / "out" / "results.csv").rows()) == 2
    assert "sparse labels reach" in capsys.readouterr().out


def test_the_share_that_sparse_labels_reach():
    base = {
        "slices": "0,0,3",
        "even": False,
        "train": 2,
        "test": 1,
        "budget_seconds": 1.0,
        "network": "n",
        "seed": 0,
        "steps": 3,
    }
    made_up = [{**base, "way": way, "dice": {"a": d}, "mean_dice": d} for way, d in (("sparse", 0.72), ("dense", 0.8))]
    assert "reach 90.0% of" in hippocampus.table(made_up)
    assert hippocampus.table([]) == "Nothing was measured."


def test_a_slice_is_added_in_both_ways(cohort, monkeypatch):
    pytest.importorskip("matplotlib")
    arguments = ["--cohort", cohort, "--pool", 2, "--test", 1, "--slices", 1, "--seconds", 0.2, "--device", "cpu"]
    _run(monkeypatch, active_learning, *arguments, "-o", cohort / "out")
    found = rows.Table(cohort / "out" / "results.csv").rows()
    assert [row["way"] for row in found] == ["suggested", "random"]
    assert all(len(row["dice"]) == 2 and len(row["chosen"]) == 1 for row in found)
    assert found[0]["dice"][0] == found[1]["dice"][0]
    assert (cohort / "out" / "plot.png").is_file()


def test_the_papers_tables_beside_what_was_measured(cohort, monkeypatch, capsys):
    arguments = [3, "--cohort", cohort, "--volumes", 2, "--slices", "0,0,2", "--seconds", 0.05, "--device", "cpu"]
    _run(monkeypatch, cicek2016, *arguments, "-o", cohort / "out")
    found = rows.Table(cohort / "out" / "results.csv").rows()
    assert {(row["row"], row["column"]) for row in found} == {(name, n) for name in cicek2016.SMALL for n in range(2)}
    text = capsys.readouterr().out
    assert "| 3D with BN | " in text
    assert "0.761 / 0.798 / 0.554 | 0.704 |" in text


def test_the_folds_share_out_the_slices(cohort, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["cicek2016", "1", "--cohort", str(cohort), "--slices", "1,1,3"])
    arguments = cicek2016.parse()
    seen = []

    class _Predictor:
        card = type("Card", (), {"figures": {}})()

        def segment(self, volume):
            return np.zeros(volume.geometry.shape, np.uint8)

    monkeypatch.setattr(cicek2016, "fit", lambda cases, settings: seen.append(cases) or _Predictor())
    for column in range(cicek2016.FOLDS):
        row = cicek2016.run_trial(cicek2016.Trial(1, "3D with BN", column), arguments)
        assert row["iou"] == 0
    first = [set(cases[0].labels.planes) for cases in seen]
    assert len(set.union(*first)) == 5
    assert sum(map(len, first)) == 2 * 5  # every slice is in two of three folds
    mask = cicek2016.on_planes((4, 5, 6), [Plane(0, 1), Plane(2, 3)])
    assert mask.sum() == 5 * 6 + 4 * 5 - 5
