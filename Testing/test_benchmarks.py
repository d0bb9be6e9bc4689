"""The benchmarks: what their reports compute, what they choose, and that the quick ones run from end to end."""

import re
import sys
import time
from dataclasses import replace
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from Benchmarks import peers
from Benchmarks.accuracy import ablation, changes, margins, next_slice, report
from Benchmarks.accuracy import densify as densify_benchmark
from Benchmarks.shared import rows
from Benchmarks.shared.scoring import annotate, unseen_iou
from Benchmarks.shared.volumes import Case
from Benchmarks.speed import first_preview, gpu, throughput
from phantoms import blob

from SparseSegLib.annotation import Plane, keep_planes, sparsify
from SparseSegLib.densify import DensifySettings
from SparseSegLib.errors import DependencyError
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels


def _row(method, iou, seconds=0.0, seed=0, volume="a", budget="3,3,2", **more):
    base = {"volume": volume, "budget": budget, "labeled": 0.05, "method": method, "budget_seconds": seconds}
    return {**base, "seed": seed, "seconds": 1.0, "iou": iou, **more}


MADE_UP = [
    _row("Random walker", 0.70),
    _row("Random forest", 0.60),
    _row("nnU-Net", 0.70, 60.0),
    _row("nnU-Net", 0.80, 60.0, seed=1),
    _row("nnU-Net", 0.99, 600.0),
    _row("SparseSeg", 0.80, 60.0, estimate=0.7),
    _row("SparseSeg", 0.90, 60.0, seed=1, estimate=0.8),
    _row("Random walker", 0.50, volume="b", budget="1,1,1"),
    _row("SparseSeg", 0.40, 60.0, volume="b", budget="1,1,1", estimate=None),
    _row("SparseSeg", 0.42, 60.0, seed=1, volume="b", budget="1,1,1"),
    _row("fast ('distance',)", 1.0, 60.0),
]


def test_margins_against_the_classical_methods():
    found = margins.compare(MADE_UP, 60.0, programs=False)
    assert found.seeds == (2, 2)
    assert found.places["a", "3,3,2"].value == pytest.approx(0.15)
    assert found.places["a", "3,3,2"].spread == pytest.approx(np.std([0.8, 0.9], ddof=1))
    assert found.mean.value == pytest.approx((0.15 - 0.09) / 2)
    assert found.mean.spread == pytest.approx(np.std([0.0, 0.06], ddof=1))  # both seeds, mean over both volumes
    assert found.worst()[0] == ("b", "1,1,1")
    assert found.worst(few_slices=False)[0] == ("a", "3,3,2")


def test_margins_against_networks_count_only_where_one_was_measured_for_the_same_seconds():
    found = margins.compare(MADE_UP, 60.0, programs=True)
    assert set(found.places) == {("a", "3,3,2")}
    assert found.mean.value == pytest.approx(0.85 - 0.75)  # the network's mean over its seeds, not its best one
    assert margins.compare(MADE_UP, 20.0, programs=False) is None
    assert "| 60 s | all, other programs included | 2 | 1 | +0.100 ± 0.071 |" in report.margins(MADE_UP)
    assert report.margins([row for row in MADE_UP if row["method"] == "SparseSeg"]) == ""


def test_a_program_without_a_budget_counts_among_the_other_programs_alone():
    rows = [row for row in MADE_UP if row["method"] != "nnU-Net"]
    assert margins.compare(rows, 60.0, programs=True) is None
    rows.append(_row("Biomedisa", 0.84))
    assert margins.compare(rows, 60.0, programs=True).places["a", "3,3,2"].value == pytest.approx(0.85 - 0.84)
    assert margins.compare(rows, 60.0, programs=False) == margins.compare(MADE_UP, 60.0, programs=False)


def test_a_single_seed_has_no_spread():
    one = [row for row in MADE_UP if row["seed"] == 0]
    found = margins.compare(one, 60.0, programs=False)
    assert found.seeds == (1, 1)
    assert found.mean.spread is None
    assert str(found.places["a", "3,3,2"]) == "+0.100"


def test_the_table_has_means_and_the_number_of_seeds():
    lines = report.table(MADE_UP).splitlines()
    head = [cell.strip() for cell in lines[0].split("|")]
    cells = {
        name: [cell.strip() for cell in line.split("|")] for line in lines for name in [line.split("|")[1].strip()]
    }
    assert head.index("Random walker") < head.index("SparseSeg 60 s")
    assert cells["a"][head.index("SparseSeg 60 s")] == "0.850"
    assert cells["b"][head.index("nnU-Net 60 s")] == ""
    assert cells["seeds"][head.index("SparseSeg 60 s")] == "2"
    assert cells["seeds"][head.index("Random walker")] == "1"


def test_the_report_of_old_results_is_written(tmp_path, capsys):
    old = [{name: value for name, value in row.items() if name != "estimate"} for row in MADE_UP]
    report.write_report(old, tmp_path)
    assert (tmp_path / "table.md").read_text().strip() == capsys.readouterr().out.strip()
    assert (tmp_path / "plot.png").stat().st_size > 1000


def test_margins_of_each_annotation():
    lines = report.margins_by_annotation([row for row in MADE_UP if row["method"] != "nnU-Net"]).splitlines()
    assert lines[2:] == [
        "| 60 s | 3,3,2 | 1 | +0.150 | +0.150 | a |",
        "| 60 s | 1,1,1 | 1 | -0.090 | -0.090 | b |",
    ]
    assert report.margins_by_annotation([]) == ""


def test_first_previews_are_compared_with_grow_from_seeds():
    grown = [_row("Grow from seeds", 0.6), _row("Grow from seeds", 0.5, volume="b")]
    early = {"first_preview": 2.0, "first_iou": 0.7}, {"first_preview": 4.0, "first_iou": 0.4}
    own = [_row("SparseSeg", 0.9, 20.0, **early[0]), _row("SparseSeg", 0.9, 20.0, volume="b", **early[1])]
    text = report.previews([*grown, *own])
    assert text.startswith("First previews: after 3.0 s in the mean, at most 4.0 s; IoU +0.000 against Grow")
    assert text.endswith("at worst -0.100 (b, 3,3,2).")
    assert report.previews(MADE_UP) == ""


def test_rows_of_several_versions_are_noticed():
    own = [_row("SparseSeg", 0.9, 20.0, engine=version) for version in ("b1", "a0", "a0")]
    assert report.engines(own) == "Rows of several versions: a0, b1."
    assert report.engines(own[:1]) == ""


def test_cases_of_several_classes_and_at_the_border(tmp_path):
    image, dense = np.zeros((8, 9, 10), np.float32), np.zeros((8, 9, 10), np.uint8)
    dense[2:6, 2:4, 2:8], dense[2:6, 5:7, 2:5], dense[2:6, 5:7, 6:8] = 4, 7, 9
    geometry = Geometry.identity(dense.shape)
    write_image(image, geometry, tmp_path / "image.nrrd")
    write_labels(dense, geometry, tmp_path / "labels.nrrd")
    case = Case.parse(f"three={tmp_path / 'image.nrrd'},{tmp_path / 'labels.nrrd'},7+9/4")
    volume, truth = case.load()
    assert (truth[3, 5, 2], truth[3, 5, 6], truth[3, 2, 2]) == (1, 1, 2)
    labels = annotate(truth, volume, "1,0,1")
    assert labels.names == ("object 1", "object 2")
    half = np.where(truth == 1, 1, 0).astype(np.uint8)
    assert unseen_iou(half, truth, labels) == 0.5
    volume, truth = replace(case, cut=True).load()
    assert volume.geometry.shape == truth.shape == (3, 9, 10)
    assert truth[-1].any()


def test_estimates_are_compared_with_the_truth():
    more = [_row("SparseSeg", 0.5, 60.0, volume="c", estimate=0.4), _row("SparseSeg", 0.5, 20.0, estimate=0.5)]
    first, text = report.estimates([*MADE_UP, *more]).split("\n\n")
    assert first.startswith("20 s: 1 estimates")
    assert text.startswith("60 s: 3 estimates")
    assert "off by 0.100 in the mean, bias -0.100" in text
    assert "r = 1.00" in text
    assert "r =" not in report.estimates(MADE_UP)
    assert report.estimates(MADE_UP[:5]) == ""


def test_a_method_without_its_packages_is_left_out_and_said_once(tmp_path, capsys):
    def missing():
        raise DependencyError("It is not installed.")

    phantom, labels = _case((12, 14, 16), (1, 1, 1))
    results = rows.Table(tmp_path / "results.csv", densify_benchmark.KEY)
    recorder = densify_benchmark.Recorder(results)
    for seed in (0, 1):
        recorder.record(_row("nnU-Net", 0, 60.0, seed), phantom.labels, labels, missing)
    assert capsys.readouterr().err.count("left out") == 1
    recorder.record(_row("perfect", 0, 60.0), phantom.labels, labels, lambda: (phantom.labels, {"steps": 3}))
    (row,) = results.rows()
    assert (row["method"], row["iou"], row["steps"]) == ("perfect", 1.0, 3)
    again = densify_benchmark.Recorder(results)
    again.record(_row("perfect", 0, 60.0), phantom.labels, labels, missing)
    assert len(results.rows()) == 1


def test_the_first_preview_is_timed_from_the_button_on(monkeypatch):
    phantom, labels = _case((16, 18, 20), (1, 1, 1))
    late = []

    def delayed(function, seconds):
        """The function, after which the benchmark's clock is so much further on."""
        return lambda *arguments: (function(*arguments), late.append(seconds))[0]

    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(late), sleep=time.sleep)
    monkeypatch.setattr(first_preview, "time", clock)
    monkeypatch.setattr(first_preview, "LONGEST", 1e6)
    monkeypatch.setattr(first_preview, "write_image", delayed(first_preview.write_image, 1000.0))
    monkeypatch.setattr(first_preview.Job, "start", delayed(first_preview.Job.start, 20000.0))
    seconds, found = first_preview.first_preview(phantom.volume, labels, "fast")
    assert seconds > 21000, "writing the files and starting the process count"
    assert found.shape == phantom.labels.shape
    assert set(np.unique(found)) == {0, 1}


def _case(shape, slices):
    phantom = blob(Geometry.identity(shape), noise=0.1)
    return phantom, sparsify(phantom.labels, phantom.volume.geometry, slices, names=("blob",))


def test_a_peer_sees_the_region_alone_and_the_annotation_wins(monkeypatch):
    phantom, labels = _case((40, 36, 32), (1, 1, 1))
    seen = {}

    def peer(volume, sparse, seconds, seed):
        seen.update(shape=volume.geometry.shape, given=(seconds, seed))
        assert sparse.array.shape == volume.geometry.shape
        return np.ones(volume.geometry.shape, np.uint8), {"steps": 1}

    monkeypatch.setitem(peers.PEERS, "all object", peer)
    found, figures = peers.segment_with_peer("all object", phantom.volume, labels, 5.0, 7)
    assert figures == {"steps": 1}
    assert seen["given"] == (5.0, 7)
    assert np.prod(seen["shape"]) < found.size
    assert (found[labels.labeled] == labels.array[labels.labeled]).all()
    assert found[~labels.labeled].sum() == np.prod(seen["shape"]) - labels.crop(_region(labels)).labeled.sum()


def _region(labels):
    from SparseSegLib.densify.region import region_of_interest

    return region_of_interest(labels, 0.1)


@pytest.mark.parametrize("name", peers.PEERS)
def test_peers_say_what_to_install(name, monkeypatch):
    for package in ("monai", "nnunetv2", "biomedisa"):
        monkeypatch.setitem(sys.modules, package, None)
        monkeypatch.setitem(sys.modules, f"{package}.data", None)
    phantom, labels = _case((12, 14, 16), (1, 1, 1))
    with pytest.raises(DependencyError, match=re.escape("requirements.txt")):
        peers.segment_with_peer(name, phantom.volume, labels, 1.0, 0)


def test_biomedisa_gets_all_classes_on_slices_that_do_not_touch():
    phantom, _ = _case((12, 14, 16), (1, 1, 1))
    planes = [Plane(0, 4), Plane(0, 5), Plane(0, 6), Plane(2, 7)]
    labels = keep_planes(phantom.labels, phantom.volume.geometry, planes)
    kept = peers.biomedisa.spaced(labels.planes)
    assert kept == (Plane(0, 4), Plane(0, 6), Plane(2, 7))
    given = peers.biomedisa.drawn(labels, kept)
    seen = np.zeros(given.shape, bool)
    for plane in kept:
        seen[plane.voxels] = True
    np.testing.assert_array_equal(given, np.where(seen, phantom.labels + 1, 0))
    assert set(np.unique(given)) == {0, 1, 2}


@pytest.mark.slow
def test_biomedisa_interpolates_a_phantom():
    pytest.importorskip("biomedisa")
    pytest.importorskip("pyopencl")
    phantom, labels = _case((32, 32, 32), (3, 3, 2))
    found, figures = peers.segment_with_peer("Biomedisa", phantom.volume, labels, 0.0, 0)
    assert unseen_iou(found, phantom.labels, labels) > 0.6
    assert figures == {"slices_left_out": 0}


@pytest.mark.slow
@pytest.mark.parametrize(("name", "package"), [("MONAI U-Net", "monai"), ("nnU-Net", "nnunetv2")])
def test_peers_learn_a_phantom(name, package):
    pytest.importorskip(package)
    phantom, labels = _case((32, 32, 32), (3, 3, 2))
    found, figures = peers.segment_with_peer(name, phantom.volume, labels, 30.0, 0)
    unseen = ~labels.labeled
    overlap = (found > 0) & (phantom.labels > 0) & unseen
    assert overlap.sum() / (((found > 0) | (phantom.labels > 0)) & unseen).sum() > 0.6
    assert figures["steps"] > 3
    assert 15 < figures["training_seconds"] < 60


def test_even_slices_halve_the_widest_gaps():
    phantom, labels = _case((41, 41, 41), (1, 1, 1))
    extent = tuple(range(41) for _ in range(3))
    labels = keep_planes(phantom.labels, phantom.volume.geometry, [Plane(axis, 20) for axis in range(3)])
    chosen = []
    for _ in range(5):
        chosen.append(next_slice.widest_gap(labels, extent))
        labels = labels.merge(keep_planes(phantom.labels, phantom.volume.geometry, [chosen[-1]]))
    assert [(plane.axis, plane.index) for plane in chosen] == [(2, 10), (2, 30), (1, 10), (1, 30), (0, 10)]
    everything = [Plane(0, index) for index in range(41)]
    full = keep_planes(phantom.labels, phantom.volume.geometry, everything)
    assert next_slice.widest_gap(full, (range(41), range(20, 21), range(20, 21))) is None


def test_random_slices_go_through_the_object_and_come_again_with_the_seed():
    phantom, labels = _case((20, 24, 28), (1, 1, 1))
    extent = next_slice.objects_extent(phantom.labels)
    choices = [next_slice.choice_of("random", extent, seed) for seed in (3, 3, 4)]
    drawn = [[choice(labels, None) for _ in range(30)] for choice in choices]
    assert drawn[0] == drawn[1] != drawn[2]
    assert not set(drawn[0]) & set(labels.planes)
    assert {plane.axis for plane in drawn[0]} == {0, 1, 2}
    assert all(plane.index in extent[plane.axis] for plane in drawn[0])
    assert all(phantom.labels[plane.voxels].any() for plane in drawn[0])


def test_the_table_of_next_slices_carries_ended_curves_on():
    one = {"volume": "a", "way": "suggested", "seed": 0, "iou": [0.5, 0.6, 0.7], "iou_unseen": [0.4, 0.5, 0.6]}
    two = {**one, "seed": 1, "iou": [0.5, 0.8], "iou_unseen": [0.4, 0.7]}
    lines = next_slice.table([one, two], "iou").splitlines()
    assert lines[0] == "| volume | way | seeds | at first | +1 | +2 |"
    assert lines[2] == "| a | suggested | 2 | 0.500 | 0.700 | 0.750 |"
    assert "gain +0.250 ± 0.071" in lines[3]


def test_every_change_changes_something():
    made = changes.all_changes()
    usual = made[0].make(5.0, 0)
    assert usual.recipes == DensifySettings("fast", 5.0).recipes
    assert len({change.name for change in made}) == len(made) > 10
    for change in made[1:]:
        settings = change.make(5.0, 0)
        assert (settings.recipes, settings.estimate) != (usual.recipes, usual.estimate)
    narrow = changes.Change("x", options={"slice-unet": {"widths": (4, 8)}}).make(5.0, 2)
    assert narrow.recipes[0].widths == (4, 8)
    assert (narrow.budget_seconds, narrow.seed) == (5.0, 2)


def test_changes_are_chosen_by_their_names():
    chosen = ablation.chosen_changes(["no prior", "extra-trees alone"])
    assert [change.name for change in chosen] == ["fast", "extra-trees alone", "no prior"]
    with pytest.raises(SystemExit, match="No such change: z"):
        ablation.chosen_changes(["z"])


def test_the_ablation_compares_run_by_run():
    def row(change, iou, seed, volume="a"):
        base = {"volume": volume, "budget": "3,3,2", "budget_seconds": 60.0, "steps": 10}
        return {**base, "change": change, "seed": seed, "iou": iou}

    found = [row("fast", 0.8, 0), row("fast", 0.9, 1), row("fast", 0.5, 0, "b")]
    found += [row("x", 0.7, 0), row("x", 0.9, 1), row("better", 0.9, 0), row("x", 0.1, 2)]
    lines = ablation.table(found, 60.0).splitlines()
    assert lines[0] == "After 60 s, seeds: 2"
    assert lines[2] == "| change | runs | steps | IoU | difference | a (3,3,2) | b (3,3,2) |"
    assert lines[4] == "| better | 1 | 10 | 0.900 | +0.100 | +0.100 |  |"
    assert lines[5] == "| fast | 3 | 10 | 0.733 |  |  |  |"
    assert lines[6] == "| x | 2 | 10 | 0.800 | -0.050 ± 0.050 | -0.050 |  |"


def _files(folder):
    """A tiny phantom on disk, as the benchmarks' ``--volume`` wants it."""
    phantom = blob(Geometry.identity((20, 24, 28)), noise=0.1)
    write_image(phantom.volume.array[0], phantom.volume.geometry, folder / "image.nrrd")
    write_image(phantom.labels, phantom.volume.geometry, folder / "labels.nrrd")
    return f"phantom={folder / 'image.nrrd'},{folder / 'labels.nrrd'}"


def _run(program, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", [program.__name__, *map(str, arguments)])
    program.main()


def test_the_ablation_from_end_to_end(tmp_path, monkeypatch):
    arguments = ["--volume", _files(tmp_path), "--seconds", 1, "--only", "half as wide", "-o", tmp_path / "out"]
    _run(ablation, monkeypatch, *arguments)
    found = rows.Table(tmp_path / "out/results.csv").rows()
    assert [row["change"] for row in found] == ["fast", "half as wide"]
    assert all(0 <= row["iou"] <= 1 and row["steps"] > 0 for row in found)
    _run(ablation, monkeypatch, *arguments)
    assert rows.Table(tmp_path / "out/results.csv").rows() == found
    assert "| half as wide | 1 |" in (tmp_path / "out/ablation.md").read_text()


def test_next_slice_from_end_to_end(tmp_path, monkeypatch):
    arguments = ["--volume", _files(tmp_path), "--seconds", 1, "--slices", 1, "-o", tmp_path / "out"]
    _run(next_slice, monkeypatch, *arguments)
    found = {row["way"]: row for row in rows.Table(tmp_path / "out/results.csv").rows()}
    assert set(found) == {"suggested", "random", "even"}
    assert len({row["iou"][0] for row in found.values()}) == 1  # all from the same first result
    assert all(len(row["iou"]) == 2 and len(row["planes"]) == 1 for row in found.values())
    assert all(row["iou"][-1] >= row["iou_unseen"][-1] for row in found.values())
    _run(next_slice, monkeypatch, *arguments)
    assert len(rows.Table(tmp_path / "out/results.csv").rows()) == 3
    assert (tmp_path / "out/plot.png").stat().st_size > 1000


def test_elapsed_time_counts_all_calls(monkeypatch):
    clock = count(5.0, 0.25)  # goes on when it is asked, by the benchmark and by each call
    monkeypatch.setattr(throughput, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    assert throughput.elapsed(lambda: next(clock), torch.device("cpu"), 2) == 0.75


@pytest.mark.parametrize("name", ["unet3d", "cicek2016"])
@pytest.mark.parametrize("bf16", [False, True])
def test_steps_a_second(name, bf16):
    (contender,) = [other for other in throughput.contenders(quick=True) if other.name == name]
    row = throughput.measure(contender, torch.device("cpu"), 0.05, bf16=bf16, channels_last=True)
    assert row["steps_per_second"] > 0
    assert row["parameters"] == sum(values.numel() for values in contender.make().parameters())


def test_the_tables_of_the_gpu_have_its_name_and_what_ran_out_of_memory():
    found = {"device": "Card X, 8 GiB", "torch": "2", "cuda": "12", "cudnn": 9, "quick": False}
    found["iou"] = [
        {"preset": "fast", "seconds": 3.21, "steps": 9},
        {"preset": "balanced", "seconds": None, "steps": 7},
    ]
    found["augmentation"] = [{"preset": "fast", "draw_ms": 1.0, "step_ms": 20.0, "share": 0.05}]
    found["networks"] = [{"network": "n", "precision": "bf16", "format": "channels last", "steps_per_second": None}]
    text = gpu.tables(found)
    assert text.startswith("Card X, 8 GiB; torch 2")
    assert "| fast | 3.2 | 9 |" in text
    assert "| balanced | not reached | 7 |" in text
    assert "| fast | 1.0 | 20.0 | 5.0% |" in text
    assert "| n | bf16 | channels last | out of memory |" in text
