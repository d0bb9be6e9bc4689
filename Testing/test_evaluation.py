"""Evaluation against closed forms and against SimpleITK."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from phantoms import GEOMETRIES, blob, multi_class

from SparseSegLib.cli import main
from SparseSegLib.errors import AnnotationError, FileError, GeometryError
from SparseSegLib.evaluation import (
    CaseScores,
    Spread,
    dice,
    evaluate,
    iou,
    scores_as_dict,
    scores_as_table,
    surface_dice,
    surface_distances,
)
from SparseSegLib.evaluation.cohort_report import write_scores
from SparseSegLib.evaluation.files import evaluate_files, matching_values, pair_up
from SparseSegLib.image import Geometry
from SparseSegLib.io import SegmentInfo, default_segment, write_image, write_labels


def _cube(start: int, length: int = 10) -> np.ndarray:
    mask = np.zeros((30, 30, 30), bool)
    mask[10:20, 10:20, start : start + length] = True
    return mask


@pytest.mark.parametrize("shift", [0, 1, 5])
def test_shifted_cubes(shift):
    first, second = _cube(8), _cube(8 + shift)
    distances = surface_distances(first, second, (3.0, 2.0, 0.5))
    assert dice(first, second) == pytest.approx((10 - shift) / 10)
    assert iou(first, second) == pytest.approx((10 - shift) / (10 + shift))
    assert distances.hausdorff == pytest.approx(0.5 * shift)
    assert distances.hausdorff95 <= distances.hausdorff
    assert (distances.average == 0) == (shift == 0)


def test_concentric_spheres_are_their_radii_apart():
    z, y, x = np.mgrid[-30:31, -30:31, -30:31]
    radius = np.sqrt(z**2 + y**2 + x**2)
    distances = surface_distances(radius <= 20, radius <= 26, (0.5, 0.5, 0.5))
    assert distances.average == pytest.approx(3, abs=0.25)
    assert distances.hausdorff == pytest.approx(3, abs=0.5)


@pytest.mark.parametrize("geometry", list(GEOMETRIES))
def test_the_hausdorff_distance_is_simpleitks(geometry):
    grid = GEOMETRIES[geometry]
    first, second = blob(grid).labels, np.roll(blob(grid).labels, (1, 3, -2), (0, 1, 2))
    reference = sitk.HausdorffDistanceImageFilter()
    reference.Execute(grid.to_sitk(first), grid.to_sitk(second))
    distances = surface_distances(first > 0, second > 0, grid.spacing)
    # between convex objects the largest distance is met at the surface, so both definitions agree
    assert distances.hausdorff == pytest.approx(reference.GetHausdorffDistance(), rel=0.02)


@pytest.mark.parametrize(("spacing", "far_inside"), [((1.0, 1.0, 1.0), 6 * 6), ((3.0, 0.7, 0.7), 8 * 6)])
def test_surface_dice_of_cubes_one_voxel_and_two_apart(spacing, far_inside):
    one, surface = _cube(5), 10**3 - 8**3
    assert surface_dice(one, one, spacing) == 1
    assert surface_dice(one, _cube(6), spacing) == 1
    # two voxels off are of either cube the end outside of the other one, and of its end inside what is not beside sides
    assert surface_dice(one, _cube(7), spacing) == pytest.approx(1 - (10**2 + far_inside) / surface)


def test_the_tolerance_of_surface_dice_is_in_plane_where_slices_are_thick():
    one, spacing = _cube(5), (3.0, 0.7, 0.5)
    assert surface_dice(one, _cube(5, 11), spacing) == 1, "0.5 mm are within 0.7 mm"
    farther = surface_dice(one, _cube(5, 13), spacing)
    surface, sides = 10**3 - 8**3, 10**2 - 8**2
    longer = 13 * 10**2 - 11 * 8**2
    # too far off are both ends but for their rims, of which two columns more are near the longer one's sides, and these
    # sides beyond one voxel
    assert farther == pytest.approx((surface - 8 * 6 + longer - 8**2 - 2 * sides) / (surface + longer))
    across = np.moveaxis(one, 2, 0), np.moveaxis(_cube(5, 11), 2, 0)
    assert surface_dice(*across, spacing) < 1, "a slice is 3 mm"


def test_surface_dice_counts_what_is_asked_for():
    one, other, spacing = _cube(5), _cube(5, 13), (1.0, 1.0, 1.0)
    near = np.ones(one.shape, bool)
    near[:, :, 13:] = False
    assert surface_dice(one, other, spacing) < 1
    assert surface_dice(one, other, spacing, near) == 1
    assert surface_dice(one, other, spacing, one & False) == 1


def test_surface_dice_with_an_empty_object_is_0_and_of_two_1():
    one, spacing = _cube(5), (1.0, 1.0, 1.0)
    assert surface_dice(one, one & False, spacing) == surface_dice(one & False, one, spacing) == 0
    assert surface_dice(one & False, one & False, spacing) == 1


def test_labels_are_told_apart_and_a_mask_limits_the_overlap():
    phantom = multi_class()
    found = phantom.labels.copy()
    found[:10][found[:10] == 2] = 0
    mask = np.zeros(found.shape, bool)
    mask[10:] = True
    whole = {row.label: row for row in evaluate(found, phantom.labels, phantom.volume.geometry, names={2: "core"})}
    masked = {row.label: row for row in evaluate(found, phantom.labels, phantom.volume.geometry, mask=mask)}
    assert whole[1].iou == 1
    assert whole[2].iou < 0.7
    assert masked[2].iou == 1
    assert whole[2].name == "core"
    assert whole[3].volume == pytest.approx((phantom.labels == 3).sum() / 1000)


def test_a_label_that_is_missing_has_no_distance_and_the_report_says_so():
    truth = _cube(8).astype(np.uint8)
    scores = evaluate(np.zeros_like(truth), truth, Geometry.identity(truth.shape))
    assert scores[0].dice == 0
    assert np.isnan(scores[0].hausdorff)
    row = json.loads(json.dumps(scores_as_dict(scores), allow_nan=False))[0]
    assert row["hausdorff"] is None
    assert "–" in scores_as_table(scores)


def test_labels_that_are_asked_for_come_in_order_even_if_nothing_has_them():
    truth = multi_class().labels
    scores = evaluate(truth, truth, Geometry.identity(truth.shape), labels=[9, 2])
    assert [(row.label, row.dice) for row in scores] == [(9, 1), (2, 1)]
    assert np.isnan(scores[0].hausdorff)
    assert scores[1].hausdorff == 0


def test_other_shapes_are_refused():
    with pytest.raises(GeometryError):
        evaluate(np.zeros((2, 3, 4)), np.zeros((2, 3, 5)), Geometry.identity((2, 3, 4)))


def test_a_mask_of_another_shape_is_refused():
    labels = np.ones((2, 3, 4), np.uint8)
    with pytest.raises(GeometryError, match="mask"):
        evaluate(labels, labels, Geometry.identity(labels.shape), mask=np.ones((1, 3, 4), bool))


def test_the_relative_difference_of_volumes_has_a_sign():
    truth = _cube(8).astype(np.uint8)
    found = truth.copy()
    found[10:15] = 0
    scores = evaluate(found, truth, Geometry.identity(truth.shape))
    assert scores[0].relative_volume_difference == pytest.approx(-50)
    assert np.isnan(evaluate(truth, 0 * truth, Geometry.identity(truth.shape))[0].relative_volume_difference)


def test_a_spread_leaves_out_what_is_no_number():
    spread = Spread.of([1.0, 2.0, 6.0, np.nan])
    assert (spread.count, spread.mean, spread.median, spread.low, spread.high) == (3, 3, 2, 1, 6)
    assert spread.deviation == pytest.approx(np.std([1, 2, 6], ddof=1))
    assert np.isnan(Spread.of([4.0]).deviation)
    assert np.isnan(Spread.of([]).mean)


@pytest.fixture
def cohort(tmp_path):
    """Results that lie 0, 1 and 5 voxels of 2 mm beside the truth, one missing, one without truth."""
    geometry = Geometry.identity((30, 30, 30), (1.0, 1.0, 2.0))
    named = [SegmentInfo(1, "cube", (1.0, 0.0, 0.0))]
    for part in ("results", "truth"):
        (tmp_path / part).mkdir()
    for shift in (0, 1, 5):
        write_image(_cube(8).astype(np.uint8), geometry, tmp_path / "truth" / f"c{shift}.nii.gz")
        write_labels(_cube(8 + shift), geometry, tmp_path / "results" / f"c{shift}.seg.nrrd", named)
    write_image(_cube(8).astype(np.uint8), geometry, tmp_path / "truth" / "lost.nii.gz")
    write_labels(_cube(8), geometry, tmp_path / "results" / "more.seg.nrrd", named)
    return tmp_path


def test_a_cohort_is_compared_file_by_file(cohort, capsys):
    status = main(["evaluate", str(cohort / "results"), str(cohort / "truth"), "-o", str(cohort / "e"), "--json"])
    values = json.loads(capsys.readouterr().out)
    assert status == FileError.exit_code  # a result is missing
    assert values["missing"] == ["lost"]
    label = values["labels"][0]
    assert label["name"] == "cube"
    assert label["measures"]["dice"]["mean"] == pytest.approx((1 + 0.9 + 0.5) / 3)
    assert label["measures"]["hausdorff"]["high"] == pytest.approx(10)
    assert label["measures"]["relative_volume_difference"]["mean"] == 0
    assert [one["case"] for one in label["worst"]] == ["c5", "c1", "c0"]
    rows = list(csv.DictReader((cohort / "e" / "scores.csv").open(encoding="utf-8-sig")))
    assert [(row["case"], float(row["dice"])) for row in rows] == [("c0", 1.0), ("c1", 0.9), ("c5", 0.5)]
    assert "| cube | 3 | 0.800 ± 0.265 |" in (cohort / "e" / "summary.md").read_text(encoding="utf-8")
    pytest.importorskip("matplotlib")
    assert (cohort / "e" / "box-plot.png").stat().st_size > 5000


def test_a_cohort_with_a_bad_case_names_it_and_goes_on(cohort, capsys):
    (cohort / "results" / "c1.seg.nrrd").write_text("no image")
    assert main(["evaluate", str(cohort / "results"), str(cohort / "truth"), "--worst", "1"]) == FileError.exit_code
    captured = capsys.readouterr()
    assert "c1 is left out" in captured.err
    assert "lowest Dice of cube: c5 0.500" in captured.out


def _named(*names):
    """Segments of the values 1, 2, 3 and so on; without a name, as a file without names has them."""
    return [replace(default_segment(value), name=name) if name else default_segment(value)
            for value, name in enumerate(names, start=1)]  # fmt: skip


@pytest.mark.parametrize(
    ("found", "reference", "values"),
    [
        (("Liver ",), ("spleen", "liver"), {1: 2}),
        (("liver", "kidney"), ("spleen", "liver"), {1: 2, 2: 3}),
        (("liver", ""), ("spleen", "liver"), {1: 2, 2: 3}),
        (("", "spleen"), ("spleen", "liver"), {1: 3, 2: 1}),
        (("", "liver", "rest"), ("", "liver"), {1: 1, 2: 2, 3: 3}),
        (("Leber", "Milz"), ("spleen", "liver"), {1: 1, 2: 2}),
        (("liver",), ("", ""), {1: 1}),
        (("liver", "liver"), ("Liver", "liver"), {1: 1, 2: 2}),
        (("liver", "liver", "rest"), ("spleen", "kidney"), {1: 1, 2: 2, 3: 3}),
    ],
)
def test_segments_of_one_name_get_the_value_of_the_reference(found, reference, values):
    assert matching_values(_named(*found), _named(*reference)) == values


def test_names_count_more_than_values(tmp_path, capsys):
    geometry = Geometry.identity((30, 30, 30))
    both = np.zeros((30, 30, 30), np.uint8)
    both[2:6, 2:6, 2:6], both[_cube(8)] = 1, 2
    for case in ("a", "b"):
        for part in ("results", "truth"):
            (tmp_path / part).mkdir(exist_ok=True)
        order = ("spleen", "liver") if case == "a" else ("Liver", "spleen")
        truth = both if case == "a" else np.array([0, 2, 1], np.uint8)[both]
        write_labels(truth, geometry, tmp_path / "truth" / f"{case}.seg.nrrd", _named(*order))
        write_labels(_cube(8), geometry, tmp_path / "results" / f"{case}.seg.nrrd", _named("liver"))
    (tmp_path / "results" / "bad.nrrd").write_text("no image")
    (tmp_path / "truth" / "bad.nrrd").write_text("no image")
    main(["evaluate", str(tmp_path / "results"), str(tmp_path / "truth")])
    text = capsys.readouterr().out
    assert "| liver | 2 | 1.000 ± 0.000 | 0.00 ± 0.00 |" in text
    assert "| spleen | 2 | 0.000 ± 0.000 | – (n=0) |" in text
    assert "1 of 3 cases could not be compared: bad." in text


def test_folders_without_a_common_name_are_refused(cohort):
    (cohort / "results" / "c0.nrrd").write_text("a second c0")
    with pytest.raises(FileError, match="one name"):
        pair_up(cohort / "results", cohort / "truth")
    (cohort / "empty").mkdir()
    with pytest.raises(FileError, match="No file"):
        pair_up(cohort / "empty", cohort / "truth")


def test_two_segments_of_one_name_are_told_apart_by_their_values(tmp_path, capsys):
    geometry = Geometry.identity((30, 30, 30))
    both = np.zeros((30, 30, 30), np.uint8)
    both[2:6, 2:6, 2:6], both[_cube(8)] = 1, 2
    for name in ("a", "b"):
        write_labels(both, geometry, tmp_path / f"{name}.seg.nrrd", _named("lesion", "lesion"))
    assert main(["evaluate", str(tmp_path / "a.seg.nrrd"), str(tmp_path / "b.seg.nrrd"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["labels"]
    assert [(row["name"], row["dice"]) for row in rows] == [("lesion", 1.0), ("lesion", 1.0)]


@pytest.mark.parametrize(
    ("found", "reference"), [(("a", "a"), ("b", "A")), (("a",), ("a", "a")), (("b", "a"), ("a", "a"))]
)
def test_names_that_do_not_tell_segments_apart_are_refused(found, reference):
    with pytest.raises(AnnotationError, match="2 segments of the") as caught:
        matching_values(_named(*found), _named(*reference))
    assert "different names" in caught.value.hint


def test_another_grid_is_refused_or_brought_to_the_references(tmp_path, capsys):
    fine, coarse = GEOMETRIES["identity"].with_spacing((1, 0.5, 0.5)), GEOMETRIES["identity"]
    for name, grid in (("found", fine), ("truth", coarse)):
        write_labels(blob(grid).labels, grid, tmp_path / f"{name}.nrrd")
    command = ["evaluate", str(tmp_path / "found.nrrd"), str(tmp_path / "truth.nrrd")]
    assert main(command) == GeometryError.exit_code
    assert "--resample" in capsys.readouterr().err
    assert main([*command, "--resample", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"][0]["dice"] > 0.95


@pytest.mark.parametrize("resample", [False, True])
def test_what_lies_beyond_a_cropped_reference_counts(tmp_path, resample):
    grid = Geometry.identity((30, 30, 30))
    write_labels(_cube(8), grid, tmp_path / "truth.nrrd")
    box = (slice(8, 22), slice(8, 22), slice(6, 20))
    write_labels(_cube(8)[box], grid.crop(box), tmp_path / "cropped.nrrd")
    found = _cube(8) | _cube(18)
    write_labels(found, grid, tmp_path / "found.nrrd")
    whole, cropped = (
        evaluate_files(tmp_path / "found.nrrd", tmp_path / name, resample=resample)
        for name in ("truth.nrrd", "cropped.nrrd")
    )
    assert whole == cropped
    assert whole[0].dice == pytest.approx(2 / 3)


def test_micrometers_read_as_such_and_figures_are_not_rounded(tmp_path, capsys):
    grid = Geometry.identity((30, 30, 30), (2e-4, 2e-4, 2e-4))
    for name, start in (("found", 9), ("truth", 8)):
        (tmp_path / name).mkdir()
        for case in "ab":
            write_labels(_cube(start), grid, tmp_path / name / f"{case}.nrrd")
    pair = [str(tmp_path / name / "a.nrrd") for name in ("found", "truth")]
    assert main(["evaluate", *pair, "--json"]) == 0
    row = json.loads(capsys.readouterr().out)["labels"][0]
    assert row["hausdorff"] == pytest.approx(2e-4)
    assert row["volume"] == pytest.approx(1000 * 8e-12 / 1000)
    assert main(["evaluate", *pair]) == 0
    text = capsys.readouterr().out
    assert "HD µm" in text
    assert "0.20" in text
    assert "0.00" not in text
    assert main(["evaluate", str(tmp_path / "found"), str(tmp_path / "truth")]) == 0
    assert "HD95 µm" in capsys.readouterr().out


def test_labels_of_any_values_are_compared(tmp_path):
    grid = Geometry.identity((30, 30, 30))
    labels = np.where(_cube(8), 2035, np.where(_cube(19), 17, 0))
    for name in ("a.nrrd", "b.nii.gz"):
        write_labels(labels, grid, tmp_path / name)
    scores = evaluate_files(tmp_path / "a.nrrd", tmp_path / "b.nii.gz")
    assert [(row.label, row.dice) for row in scores] == [(17, 1.0), (2035, 1.0)]


def test_names_in_tables_are_no_formulas(tmp_path):
    scores = evaluate(
        _cube(8).astype(np.uint8), _cube(8).astype(np.uint8), Geometry.identity((30, 30, 30)), names={1: "-x"}
    )
    write_scores([CaseScores("=1+1\u202e\x1b", scores)], tmp_path / "s.csv")
    row = list(csv.reader((tmp_path / "s.csv").open(encoding="utf-8-sig")))[1]
    assert (row[0], row[2]) == ("'=1+1", "'-x")
