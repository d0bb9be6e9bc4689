"""The training on experts' masks, tiny: folds, movements in mm, other scanners, resuming, pausing, figures."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from Benchmarks.shared.volumes import CASE13_SPACING
from Experiments.prostate import prostate_bundle, prostate_corrections, prostate_experts, prostate_scans
from Experiments.prostate.cases import find_cases
from Experiments.prostate.learner import LOSSES, ProstateLearner, Recipe
from Experiments.prostate.middle import middle_box, normalize_by_middle
from Experiments.prostate.movement import Movement, moved_places
from Experiments.prostate.patients import find_patients, prepare_patient, stratified_folds
from Experiments.prostate.scanner import Scanner, bright_spot, rescan
from Experiments.prostate.scores import find, score_patient, segmented, summarize
from phantoms import blob

from SparseSegLib.annotation import UNLABELED
from SparseSegLib.control import CancelSource
from SparseSegLib.errors import UsageError
from SparseSegLib.evaluation import dice
from SparseSegLib.image import Geometry, Volume, resample
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import load_card
from SparseSegLib.training.checkpoint import load_checkpoint

SPACING = (4.0, 2.0, 2.0)
SIZE = (10, 24, 24)
TINY = Recipe(arguments={"widths": (4, 4)}, spacing=SPACING, window=(8, 16, 16), steps=3, batch=1)
STILL = Movement(turned=0, scaled=0, deformed=0, mirrored=False)
PLAIN = Scanner(bias_share=0, coil_share=0, coarse_share=0, noise_share=0, gamma_share=0, rescaled=0)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Seven phantoms of two centers, with masks."""
    folder = tmp_path_factory.mktemp("Experts ü")
    lines = ["case,centre"]
    for seed in range(7):
        phantom = blob(Geometry.identity(SIZE, SPACING), seed=seed)
        geometry = phantom.volume.geometry
        write_image(300 + 200 * phantom.volume.array[0], geometry, folder / f"case{seed:02d}_t2.nii.gz")
        write_labels(phantom.labels, geometry, folder / f"case{seed:02d}_prostate.nii.gz")
        lines.append(f"{seed},{'coil' if seed < 2 else 'plain'}")
    (folder / "cases.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def train(data, tmp_path, monkeypatch):
    """Runs the training into a folder of its own, with a tiny recipe."""
    monkeypatch.setattr(prostate_experts, "_recipe", lambda given: replace(TINY, steps=given.steps, loss=given.loss))

    def run(folder, *more, token=None):
        given = ["--data", str(data), "-o", str(tmp_path / folder), "--device", "cpu", *more]
        return prostate_experts.main(given, token)

    return run


def test_folds_leave_out_every_patient_once_and_every_center_alike(data):
    patients = find_patients(data)
    assert Counter(patient.center for patient in patients) == {"coil": 2, "plain": 5}
    many = [replace(patient, center=f"c{number % 3}") for number, patient in enumerate(5 * patients)]
    folds = stratified_folds(many, 5, 0)
    assert sorted(len(fold) for fold in folds) == [7] * 5
    for center in ("c0", "c1", "c2"):
        counts = [sum(patient.center == center for patient in fold) for fold in folds]
        assert max(counts) - min(counts) <= 1
    again = stratified_folds(many[::-1], 5, 0)
    assert [[each.name for each in fold] for fold in again] == [[each.name for each in fold] for fold in folds]
    assert stratified_folds(many, 5, 1) != folds


def test_the_first_case_whose_file_has_a_wrong_spacing_is_read_with_the_true_one(tmp_path):
    geometry = Geometry.identity((4, 5, 6), (2.2, 1.5, 1.5))
    mask = np.zeros(geometry.shape, np.uint8)
    mask[1:3, 1:4, 1:4] = 1
    for name in ("promise12_demo0", "other"):
        write_image(np.random.default_rng(0).random(geometry.shape, np.float32), geometry, tmp_path / f"{name}_t2.nrrd")
        write_labels(mask, geometry, tmp_path / f"{name}_prostate.nrrd")
    other, mended = find_cases(tmp_path)
    assert other.volume().geometry.spacing == (2.2, 1.5, 1.5)
    assert mended.volume().geometry.spacing == mended.truth()[1].spacing == CASE13_SPACING
    assert mended.truth()[0].sum() == mask.sum()


def test_patches_turn_in_millimeters_and_mirror_left_and_right():
    generator = torch.Generator().manual_seed(0)
    centers, size, spacing = torch.tensor([[9.5, 20.0, 30.0]] * 3), (6, 7, 8), (3.0, 1.25, 1.25)
    still = moved_places(centers, size, spacing, STILL, generator)
    assert still.shape == (3, 6, 7, 8, 3)
    torch.testing.assert_close(still[0, 0, 0, 0], torch.tensor([7.0, 17.0, 26.5]))
    torch.testing.assert_close(still[0, -1, -1, -1], torch.tensor([12.0, 23.0, 33.5]))
    turned = moved_places(centers, size, spacing, replace(STILL, turned=1.0, rotation=(0.5, 0.5, 0.5)), generator)
    step = torch.tensor(spacing)

    def length(places):
        return ((places[0, -1, -1, -1] - places[0, 0, 0, 0]) * step).norm()

    assert not torch.allclose(turned[0], still[0], atol=0.1)
    torch.testing.assert_close(length(turned), length(still))
    mirrored = moved_places(centers.repeat(8, 1), size, spacing, replace(STILL, mirrored=True), generator)
    kept, flipped = (
        sum(torch.allclose(one, expected, atol=1e-4) for one in mirrored) for expected in (still[0], still[0].flip(2))
    )
    assert min(kept, flipped) > 0 and kept + flipped == 24
    bent = moved_places(centers, size, spacing, replace(STILL, deformed=1.0), generator) - still
    assert 0.1 < float((bent * step).std()) < 8


def test_another_scanner_shows_the_same_image_in_other_gray_values():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(8, 24, 24, generator=generator).clamp(-2, 2)
    plain = rescan(image, (3.0, 1.25, 1.25), PLAIN, generator)
    low, high = torch.quantile(plain.flatten(), torch.tensor([0.01, 0.99])).tolist()
    assert (low, high) == pytest.approx((-1, 1), abs=1e-4)
    assert float(torch.corrcoef(torch.stack([plain.flatten(), image.flatten()]))[0, 1]) > 0.99
    for name in ("bias", "coil", "coarse", "noise", "gamma"):
        other = rescan(image, (3.0, 1.25, 1.25), replace(PLAIN, **{f"{name}_share": 1.0}), generator)
        assert not torch.allclose(other, plain, atol=1e-3), name
        assert float(other.abs().max()) <= 2


def test_the_coil_is_behind_the_prostate():
    generator = torch.Generator().manual_seed(0)
    for _ in range(10):
        spot = bright_spot((24, 96, 96), (3.0, 1.25, 1.25), Scanner(), generator)
        _, y, x = np.unravel_index(int(spot.argmax()), spot.shape)
        assert y > 55 and 35 < x < 60
        assert float(spot.min()) >= 1


def test_gray_values_are_those_of_the_middle():
    image = torch.rand(1, 4, 20, 30, generator=torch.Generator().manual_seed(0))
    around = image.clone()
    around[:, :, :3] = 500.0
    assert middle_box((4, 20, 30), (8, 40)) == (slice(0, 4), slice(6, 14), slice(0, 30))
    first, second = (normalize_by_middle(one, (10, 12)) for one in (image, around))
    torch.testing.assert_close(first[:, :, 3:], second[:, :, 3:])
    assert float(second.max()) == 2
    middle = first[(slice(None), *middle_box((4, 20, 30), (10, 12)))]
    assert torch.quantile(middle.flatten(), torch.tensor([0.01, 0.99])).tolist() == pytest.approx([-1, 1], abs=1e-4)


def test_a_sample_that_is_not_moved_has_the_volumes_own_voxels_and_no_labels_beyond_it(data):
    prepared = prepare_patient(find_patients(data)[0], TINY.spacing, TINY.window[1:])
    thin = replace(prepared, image=prepared.image[:5], inside=prepared.inside[:5])
    recipe = replace(TINY, movement=STILL, shift=(0.0, 0.0, 0.0))
    learner = ProstateLearner([thin], recipe, 0, torch.device("cpu"))
    _, target = learner.samples()
    assert sorted((target[0] != UNLABELED).flatten(1).all(1).tolist()) == [False] * 3 + [True] * 5
    inside = (thin.inside >= 0.5).sum()
    box = (slice(None), slice(4, 20), slice(4, 20))
    assert int((target == 1).sum()) == int((thin.inside[box] >= 0.5).sum()) <= int(inside)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_learns(loss, data):
    prepared = prepare_patient(find_patients(data)[0], TINY.spacing, TINY.window[1:])
    recipe = replace(TINY, loss=loss, steps=20, warmup=1, movement=STILL, scanner=PLAIN, shift=(0.0, 0.0, 0.0))
    learner = ProstateLearner([prepared], recipe, 0, torch.device("cpu"))
    losses = [learner.step() for _ in range(20)]
    assert np.mean(losses[-5:]) < 0.9 * np.mean(losses[:5])


def test_an_ended_training_goes_on_to_the_same_weights_as_in_one_go(train, tmp_path, capsys):
    assert train("whole", "--runs", "1", "--steps", "3") == 0
    source = CancelSource()
    source.stop()
    assert train("parts", "--runs", "1", "--steps", "3", token=source.token) == 0
    assert "the same command goes on" in capsys.readouterr().out
    assert not (tmp_path / "parts" / "fold-1" / "weights.pt").exists()
    two = _StoppedAfter(2)
    assert train("parts", "--runs", "1", "--steps", "3", token=two.token) == 0
    assert train("parts", "--runs", "1", "--steps", "3") == 0
    assert "goes on after 2 steps" in capsys.readouterr().out
    first, second = (load_checkpoint(tmp_path / name / "fold-1" / "weights.pt") for name in ("whole", "parts"))
    assert first["made_by"] == second["made_by"]
    for name, tensor in first["weights"].items():
        assert torch.equal(tensor, second["weights"][name]), name
    (tmp_path / "parts" / "fold-1" / "weights.pt").unlink()
    assert train("parts", "--runs", "1", "--steps", "4") == UsageError.exit_code
    assert "other settings" in capsys.readouterr().err


class _StoppedAfter:
    """A token that is stopped when it was asked so many times."""

    def __init__(self, times):
        self.source, self.times = CancelSource(), times
        self.token = self

    @property
    def stopped(self):
        self.times -= 1
        return self.times < 0


def test_all_runs_write_weights_and_figures_and_a_second_time_nothing_is_done(train, tmp_path, capsys):
    runs = ("--runs", "1", "3", "all", "--steps", "1")
    assert train("runs", *runs) == 0
    scores = json.loads((tmp_path / "runs" / "fold-3" / "scores.json").read_text(encoding="utf-8"))
    assert scores["summary"]["patients"] == len(scores["patients"])
    row = scores["patients"][0]
    assert {"name", "center", "dice", "hausdorff95", "ml", "reference_ml", "found"} <= set(row)
    found = np.load(tmp_path / "runs" / "fold-3" / "found" / f"{row['name']}.npz")
    assert found["probability"].shape == (10, 16, 16)
    assert not (tmp_path / "runs" / "all" / "scores.json").exists()
    capsys.readouterr()
    assert train("runs", *runs) == 0
    assert "step" not in capsys.readouterr().out
    assert train("runs", "--report") == 0
    said = capsys.readouterr().out
    assert "folds 1 and 2: " in said and "the others: " in said
    assert train("runs", "--runs", "6") == UsageError.exit_code


def test_a_run_becomes_a_bundle_that_finds_the_same_in_the_patients_it_left_out(train, data, tmp_path, capsys):
    assert train("bundle", "--runs", "2", "--steps", "2") == 0
    run = tmp_path / "bundle" / "fold-2"
    expected = json.loads((run / "scores.json").read_text(encoding="utf-8"))
    given = ["--run", str(run), "-o", str(tmp_path / "made"), "--data", str(data), "--device", "cpu"]
    scores = tmp_path / "scores.json"
    assert prostate_bundle.main([*given, "--flips", "--scores", str(scores)]) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["patients"] == expected["summary"]["patients"]
    assert figures["dice"] == pytest.approx(expected["summary"]["dice"], abs=0.01)  # of half precision
    card = load_card(tmp_path / "made")
    assert card.preprocessing.field_of_view == (32.0, 32.0)
    assert all(patient["name"] not in card.data for patient in expected["patients"])
    assert card.expectations.layer == "left.1"
    assert len(card.expectations.mean) == 4
    rows = json.loads(scores.read_text(encoding="utf-8"))
    assert all(0 < row["expected_dice"] < 1 and row["warnings"] for row in rows), "an image of 48 mm is refused"
    assert prostate_bundle.main([*given, "--figures", str(scores)]) == 0
    assert load_card(tmp_path / "made").figures["cross-validated Dice"] == figures["dice"]


def test_a_training_waits_while_the_pause_file_is_there(train, tmp_path, monkeypatch, capsys):
    pause = tmp_path / "paused" / "PAUSE"
    pause.parent.mkdir()
    pause.touch()
    slept = []
    monkeypatch.setattr("Experiments.resumable.log.time.sleep", lambda seconds: slept.append(seconds) or pause.unlink())
    assert train("paused", "--runs", "2", "--steps", "1") == 0
    assert len(slept) == 1
    said = capsys.readouterr().out
    assert said.index("paused at step 0") < said.index("goes on") < said.index("done")
    assert "paused" in (tmp_path / "paused" / "log.txt").read_text(encoding="utf-8")


def test_a_perfect_network_has_a_dice_of_one_on_the_patients_own_slices(data):
    patient = find_patients(data)[0]
    prepared = prepare_patient(patient, SPACING, SIZE[1:])
    truth, _ = patient.case.truth()

    class Perfect(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = torch.nn.Parameter(torch.tensor(20.0))

        def forward(self, x):
            one = self.scale * (2 * prepared.inside[None, None] - 1)
            return torch.cat([-one, one], 1)

    recipe = replace(TINY, spacing=SPACING, window=SIZE)
    found = find(Perfect(), prepared, recipe, mirror="")
    assert np.array_equal(segmented(found, prepared.grid), truth)
    row = score_patient(patient, found)
    assert row["dice"] == 1 and row["hausdorff"] == 0 and row["ml"] == row["reference_ml"]
    summary = summarize([row, {**row, "dice": 0.5, "center": "other", "hausdorff95": None}])
    assert (summary["dice"], summary["centers"]) == (0.75, {"coil": 1.0, "other": 0.5})


OTHER_SCANS = {
    **{name: change for name, change in prostate_scans.CHANGES.items() if "off the middle" not in name},
    "2 mm off the middle": prostate_scans.off_the_middle(2.0, 2.0),  # of a phantom of 48 mm
}


@pytest.mark.parametrize("name", sorted(set(OTHER_SCANS) - {"with a bias field"}))
def test_a_scan_of_another_kind_shows_the_same_in_the_same_place(name, data):
    patient = find_patients(data)[0]
    mask, geometry = patient.case.truth()
    seen = OTHER_SCANS[name](Volume(mask[None].astype(np.float32), geometry))
    truth = resample(mask.astype(np.float32), geometry, seen.geometry) >= 0.5
    volume = mask.sum() * np.prod(geometry.spacing)
    assert truth.sum() * np.prod(seen.geometry.spacing) == pytest.approx(volume, rel=0.25)
    assert dice(seen.array[0] >= 0.5 * seen.array.max(), truth) > 0.8


def _bundle(runs, data):
    """The path of a bundle of fold 2."""
    bundle = str(runs.with_name("bundle"))
    assert prostate_bundle.main(["--run", str(runs / "fold-2"), "-o", bundle, "--data", str(data)]) == 0
    return bundle


def test_scans_of_other_kinds_are_segmented_and_scored(train, data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(prostate_scans, "CHANGES", OTHER_SCANS)
    assert train("scans", "--runs", "2", "--steps", "1") == 0
    bundle = _bundle(tmp_path / "scans", data)
    given = ["--bundle", bundle, "--data", str(data), "--device", "cpu", "--names"]
    assert prostate_scans.main([*given, "case00"]) == 0
    said = capsys.readouterr().out
    assert all(f"| {name} | 1 | " in said for name in OTHER_SCANS)
    assert prostate_scans.main([*given, "nobody"]) == UsageError.exit_code


def test_corrected_slices_of_a_bundles_result_are_learned_from(train, data, tmp_path, capsys, monkeypatch):
    assert train("corrected", "--runs", "2", "--steps", "1") == 0
    bundle = str(tmp_path / "corrected-bundle")
    assert (
        prostate_bundle.main(["--run", str(tmp_path / "corrected" / "fold-2"), "-o", bundle, "--data", str(data)]) == 0
    )
    starts, densify = [], prostate_corrections.densify
    monkeypatch.setattr(
        prostate_corrections,
        "densify",
        lambda volume, labels, settings, **more: (
            starts.append(settings.start) or densify(volume, labels, replace(settings, budget_steps=4), **more)
        ),
    )
    given = ["--bundle", bundle, "--data", str(data), "--names", "case00", "--device", "cpu"]
    assert prostate_corrections.main(given) == 0
    assert starts == [bundle] * 3 + [""] * 3
    lines = capsys.readouterr().out.splitlines()
    means = [[float(cell) for cell in line.strip("| ").split(" | ")[2:]] for line in lines if line.startswith("| mean")]
    assert [values[0] > 0 for values in means] == [True, False]
    assert all(values[-1] > 0.5 for values in means)
