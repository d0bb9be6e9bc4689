"""The experiments with the papers' methods: what they generate, score and write."""

import sys

import numpy as np
import pytest
import torch
from Benchmarks.shared.rows import Table
from Experiments.papers import isbi, methods, noisy_labels, segresnet_vae, thesis_ablation
from Experiments.papers.generated import radiograph, tumor

from SparseSegLib.networks.regions import BRATS


def test_generated_radiographs_have_all_structures_and_differ():
    rng = np.random.default_rng(0)
    image, labels = radiograph(64, rng)
    other, _ = radiograph(64, rng)
    assert image.shape == labels.shape == (64, 64) and image.dtype == np.float32
    assert set(np.unique(labels)) == {0, 1, 2, 3}
    assert not np.allclose(image, other)
    assert image[labels == 2].mean() > image[labels == 1].mean()


def test_generated_tumors_have_nested_regions_in_a_head():
    image, labels = tumor((24, 28, 24), np.random.default_rng(1))
    whole, core, enhancing = BRATS.regions_of(torch.from_numpy(labels)[None])[0].numpy()
    assert image.shape == (4, 24, 28, 24) and (image[:, 0, 0, 0] == 0).all()
    assert whole.sum() > core.sum() > enhancing.sum() > 0
    assert image[1][enhancing].mean() > image[1][whole & ~enhancing].mean()


def test_the_rand_score_sees_what_is_merged_and_not_where_membranes_lie():
    truth = np.ones((20, 21), bool)
    truth[:, 10] = False
    thicker = truth.copy()
    thicker[:, 11] = False
    assert isbi.rand_score(truth, truth) == pytest.approx(1)
    assert isbi.rand_score(truth, np.ones_like(truth)) == pytest.approx(2 / 3, abs=0.01)
    assert isbi.rand_score(truth, thicker) > 0.85


def test_every_case_is_in_one_fold():
    assert sorted(number for part in methods.folds(11, 3) for number in part) == list(range(11))


def test_curves_are_means_over_parts_of_the_training():
    curve = [[1.0, float("nan")], [3.0, 0.5], [1.0, 0.25], [1.0, 0.75]]
    assert noisy_labels.smoothed(curve * 50)[0] == [0.0075, 1.5, 0.5]
    assert noisy_labels.smoothed([[2.0, float("nan")]]) == [[0.0, 2.0, None]]


def test_the_rows_of_the_thesis_each_add_one_part():
    sizes = []
    for arguments in thesis_ablation.PARTS.values():
        with torch.device("meta"):
            network = thesis_ablation.create_network("resunet-se-small", 1, 2, **arguments)
        sizes.append((network.passes > 1, sum(parameter.numel() for parameter in network.parameters())))
    assert sizes == sorted(sizes) and sizes[-1] == sizes[-2] and len(set(sizes)) == 4


def _run(program, folder, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [program.__name__, "--device", "cpu", "-o", str(folder), *map(str, arguments)])
    program.main()


def test_noisy_labels_from_end_to_end(tmp_path, monkeypatch, capsys):
    arguments = ["--size", 32, "--train", 4, "--test", 1, "--steps", 1]
    _run(noisy_labels, tmp_path, monkeypatch, *arguments, "--methods", "plain", "QAM + OCM")
    found = Table(tmp_path / "results.csv").rows()
    assert [(row["method"], row["share"]) for row in found] == [
        (method, share) for share in (0.0, 0.25, 0.5, 0.75) for method in ("plain", "QAM + OCM")
    ]
    before = (tmp_path / "noisy-labels.md").read_text(encoding="utf-8")
    assert "| 50% | 1–2 | QAM + OCM |" in before
    _run(noisy_labels, tmp_path, monkeypatch, *arguments, "--methods", "plain", "QAM + OCM")  # nothing is missing
    assert Table(tmp_path / "results.csv").rows() == found


def test_the_branch_from_end_to_end(tmp_path, monkeypatch):
    arguments = ["--size", 16, 16, 16, "--train", 1, "--test", 1, "--steps", 1, "--seeds", 0]
    _run(segresnet_vae, tmp_path, monkeypatch, *arguments)
    found = {row["branch"]: row for row in Table(tmp_path / "results.csv").rows()}
    assert set(found) == {"with", "without"}
    assert all(0 <= found[way][name] <= 1 for way in found for name in ("WT", "TC", "ET"))
    assert "With the branch the mean Dice changes by" in (tmp_path / "segresnet-vae.md").read_text(encoding="utf-8")
