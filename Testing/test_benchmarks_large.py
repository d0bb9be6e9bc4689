"""The benchmark of large volumes: what it generates, and its figures from end to end on a tiny one."""

import numpy as np
import pytest
from Benchmarks.accuracy import large
from Benchmarks.shared import generated
from Benchmarks.shared.generated import KINDS, Field, generate

SIDE = 40


@pytest.mark.parametrize("kind", KINDS)
def test_a_seed_gives_one_volume_however_it_is_made(kind, tmp_path, monkeypatch):
    volume, truth = generate(kind, SIDE, 1, tmp_path / "one")
    assert volume.array.shape == (1, *truth.shape) == (1, SIDE, SIDE, SIDE)
    assert volume.array.dtype == truth.dtype == np.uint8
    assert 0.001 < truth.mean() < 0.5
    image = np.asarray(volume.array[0], float)
    assert abs(image[truth == 1].mean() - image[truth == 0].mean()) > 10
    monkeypatch.setattr(generated, "SLAB", 7)
    np.testing.assert_array_equal(generate(kind, SIDE, 1, tmp_path / "other")[1], truth)
    assert (generate(kind, SIDE, 2, tmp_path / "one")[1] != truth).any()


def test_what_was_generated_is_taken_again(tmp_path, monkeypatch):
    _, truth = generate("organ", SIDE, 1, tmp_path)
    monkeypatch.setitem(KINDS, "organ", None)
    np.testing.assert_array_equal(generate("organ", SIDE, 1, tmp_path)[1], truth)


@pytest.mark.parametrize("wave", [8, 40])
def test_a_field_is_smooth_and_goes_on_where_it_repeats(wave, monkeypatch):
    monkeypatch.setattr(generated, "LONGEST_PERIOD", 16)
    values = Field.of(60, wave, 0.3, np.random.default_rng(0)).slices(0, 60)
    assert values.shape == (60, 60, 60)
    assert 0.5 < values.std() < 1.5
    assert np.abs(np.diff(values, axis=0)).max() < 15 / wave * values.std()


def test_a_tiny_volume_from_end_to_end(tmp_path, monkeypatch):
    volume, truth = generate("trabecular", 24, 1, tmp_path)
    base = {"volume": "trabecular", "side": 24, "seed": 1, "budget": "1,1,1", "budget_seconds": 0.1}
    rows = [
        {**base, "method": method, **large.measured({**base, "method": method}, volume, truth)}
        for method in (large.OWN, large.PEER)
    ]
    own, peer = rows
    assert 0.5 < own["iou"] <= 1
    assert own["learning_seconds"] + own["result_seconds"] == pytest.approx(own["seconds"], abs=0.1)
    assert own["peak_gb"] > 0
    assert peer["learning_seconds"] is None
    large.write_report(rows, tmp_path)
    table = (tmp_path / "table.md").read_text()
    assert "| trabecular | 0.0 | SparseSeg |" in table
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_scores_are_those_off_the_slices_and_near_the_surface():
    truth = np.zeros((20, 20, 20), np.uint8)
    truth[5:15, 5:15, 5:15] = 1
    found = truth.copy()
    found[9:11, 9:11, 9:11] = 0  # a hole deep inside
    assert large.boundary_iou(truth, truth) == 1
    deep = large.boundary_iou(found, truth)
    found[5] = 0
    assert large.boundary_iou(found, truth) < deep
