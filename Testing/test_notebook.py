"""In a notebook: images of other libraries as they are, where the anatomy is; pictures and progress bars."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_helpers import CARD, SMALL
from phantoms import GEOMETRIES, blob, oblique_geometry

from SparseSegLib.annotation import Plane, as_sparse_labels, sparsify
from SparseSegLib.control import Control, NullEvents
from SparseSegLib.densify import DensifyResult, DensifySettings, densify
from SparseSegLib.errors import AnnotationError, DependencyError, GeometryError, UsageError, VolumeError
from SparseSegLib.evaluation import evaluate
from SparseSegLib.image import Geometry, Volume, as_given, as_volume
from SparseSegLib.io import write_image
from SparseSegLib.models import ModelLabel, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.notebook import plot, progress_bar
from SparseSegLib.prediction import segment

RESOURCES = Path(__file__).resolve().parents[1] / "Resources"
PAGE, NOTEBOOK = RESOURCES / "Documentation" / "notebook.md", RESOURCES / "Notebooks" / "first-result.py"


def _as_nibabel(array, geometry, tmp_path):
    """An image as nibabel reads it from a file that SimpleITK wrote, so that both must agree on where it lies."""
    nibabel = pytest.importorskip("nibabel")
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.nii.gz"  # nibabel reads voxels when they are needed
    write_image(array, geometry, path)
    return nibabel.load(path)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_images_lie_where_they_lay_and_go_back_as_what_they_were(name, tmp_path):
    geometry = GEOMETRIES[name]
    array = np.random.default_rng(0).integers(0, 1000, geometry.shape).astype(np.int16)
    for image in (geometry.to_sitk(array), _as_nibabel(array, geometry, tmp_path)):
        volume = as_volume(image)
        assert volume.geometry.matches(geometry)
        np.testing.assert_array_equal(volume.array[0], array)
        back = as_given(array, volume.geometry, image)
        assert type(back) is type(image)
        again = as_volume(back)
        assert again.geometry.matches(geometry)
        np.testing.assert_array_equal(again.array[0], array)


def test_a_nibabel_image_keeps_its_affine_to_the_bit(tmp_path):
    geometry = oblique_geometry((4, 5, 6))
    image = _as_nibabel(np.zeros(geometry.shape, np.uint8), geometry, tmp_path)
    back = as_given(np.ones(geometry.shape, np.uint8), geometry, image)
    np.testing.assert_array_equal(back.affine, image.affine)
    assert back.shape == image.shape == (6, 5, 4)


def test_micrometers_are_told_by_the_image():
    nibabel = pytest.importorskip("nibabel")
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.diag([500.0, 500.0, 2000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    assert as_volume(image).geometry.spacing == (2.0, 0.5, 0.5)
    back = as_given(np.zeros((6, 5, 4), np.uint8), as_volume(image).geometry, image)
    assert as_volume(back).geometry == as_volume(image).geometry


def test_several_images_become_channels_on_the_grid_of_the_first():
    first = Geometry.identity((4, 6, 6), (2.0, 1.0, 1.0))
    second = Geometry.identity((8, 6, 6))
    values = np.arange(8 * 36, dtype=np.float32).reshape(8, 6, 6)
    volume = as_volume([first.to_sitk(np.ones(first.shape, np.float32)), second.to_sitk(values)])
    assert volume.array.shape == (2, 4, 6, 6)
    np.testing.assert_array_equal(volume.array[1], values[::2])


def test_arrays_in_foreign_byte_order_are_taken():
    volume = as_volume(np.arange(24, dtype=">i2").reshape(2, 3, 4))
    assert volume.array.dtype == np.float32
    assert volume.array[0, 1, 2, 3] == 23
    assert as_sparse_labels(np.full((2, 3, 4), 255, ">i4"), volume).array.dtype == np.uint8


WRONG = [
    (np.zeros((3, 4)), VolumeError, "no volume"),
    (np.zeros((2, 3, 4), complex), VolumeError, "no gray values"),
    (sitk.Image(4, 4, sitk.sitkUInt8), VolumeError, "dimensions"),
    ("t1.nrrd", UsageError, "is no image"),
    ([], UsageError, "o image"),
]


@pytest.mark.parametrize(("image", "error", "words"), WRONG)
def test_what_is_no_volume_is_refused(image, error, words):
    with pytest.raises(error, match=words):
        as_volume(image)


def test_a_time_series_of_nibabel_is_refused():
    nibabel = pytest.importorskip("nibabel")
    with pytest.raises(VolumeError, match="time series"):
        as_volume(nibabel.Nifti1Image(np.zeros((3, 3, 3, 2), np.uint8), np.eye(4)))


def test_labels_are_taken_with_their_planes_values_and_grid(tmp_path):
    phantom = blob(oblique_geometry((12, 20, 24)))
    geometry = phantom.volume.geometry
    sparse = sparsify(phantom.labels, geometry, (1, 1, 0))
    array = np.where(sparse.array == 1, 7, sparse.array).astype(np.float32)
    for labels, image in (
        (geometry.to_sitk(array), phantom.volume),
        (array, geometry.to_sitk(phantom.volume.array[0])),
        (_as_nibabel(array, geometry, tmp_path), phantom.volume),
        (array.T, _as_nibabel(phantom.volume.array[0], geometry, tmp_path)),
    ):
        found = as_sparse_labels(labels, image)
        np.testing.assert_array_equal(found.array, sparse.array)
        assert found.planes == sparse.planes
        assert found.values == (7,)
    assert as_sparse_labels(sparse, phantom.volume) is sparse


def test_slices_without_unlabeled_voxels_are_found_and_dense_labels_refused():
    phantom = blob(Geometry.identity((16, 24, 24)))
    drawn = np.zeros_like(phantom.labels)
    drawn[8] = phantom.labels[8]
    found = as_sparse_labels(drawn, phantom.volume)
    assert found.planes == (Plane(0, 8),)
    assert found.array[3, 3, 3] == 255
    with pytest.raises(AnnotationError, match="dense"):
        as_sparse_labels(phantom.labels, phantom.volume)
    with pytest.raises(VolumeError, match="whole numbers"):
        as_sparse_labels(drawn * 0.5, phantom.volume)
    elsewhere = Geometry.identity((16, 24, 24), (1.0, 0.9, 1.0)).to_sitk(drawn)
    with pytest.raises(GeometryError):
        as_sparse_labels(elsewhere, phantom.volume)


def test_evaluate_compares_images_and_refuses_other_grids():
    phantom = blob(Geometry.identity((8, 12, 12), (3.0, 1.0, 1.0)))
    image = phantom.volume.geometry.to_sitk(phantom.labels)
    (scores,) = evaluate(phantom.labels, image)
    assert scores.dice == 1
    assert scores.volume == pytest.approx(phantom.labels.sum() * 3 / 1000)
    with pytest.raises(GeometryError, match="different grids"):
        evaluate(Geometry.identity((8, 12, 12)).to_sitk(phantom.labels), image)


@pytest.fixture(scope="module")
def densified():
    """A flipped image of SimpleITK, and what a moment of densification makes of two slices of it."""
    phantom = blob(Geometry((12, 20, 24), (2.0, 1.0, 1.0), (5, 6, 7), (-1, 0, 0, 0, -1, 0, 0, 0, 1)))
    image = phantom.volume.geometry.to_sitk(phantom.volume.array[0])
    drawn = phantom.volume.geometry.to_sitk(sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1)).array)
    pytest.importorskip("tqdm")
    bar = io.StringIO()
    settings = DensifySettings(budget_steps=2, experts=("slice-unet",), estimate=False)
    result = densify(image, drawn, settings, progress_bar(file=bar))
    return phantom, image, result, bar.getvalue()


def test_densify_takes_images_and_gives_such_back(densified):
    phantom, image, result, _ = densified
    assert isinstance(result, DensifyResult)
    labels, uncertainty = result.labels_as(image), result.uncertainty_as(image)
    for found, array in ((labels, result.labels), (uncertainty, result.uncertainty)):
        assert Geometry.from_sitk(found).matches(phantom.volume.geometry)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(found), array)


def test_the_bar_gets_to_its_end(densified):
    assert "100%" in densified[-1]


def test_plot_draws_result_and_uncertainty_upright(densified):
    pytest.importorskip("matplotlib")
    _, image, result, _ = densified
    figure = plot(image, result, slices=3, orientation="coronal")
    assert len(figure.axes) == 6
    assert figure._repr_png_().startswith(b"\x89PNG")
    shown = figure.axes[0].images[0].get_array()
    place = int(figure.axes[0].get_title().split()[-1])
    array = sitk.GetArrayFromImage(image)[:, ::-1, ::-1]  # this image's x and y run to the right and to the front
    np.testing.assert_array_equal(shown, array[::-1, place])
    assert len(plot(image, result.labels_as(image), slices=2).axes) == 2
    assert len(plot(image, np.zeros_like(result.labels), slices=2).axes) == 2


def test_a_picture_that_cannot_be_is_refused(densified):
    _, image, result, _ = densified
    pytest.importorskip("matplotlib")
    with pytest.raises(UsageError, match="orientation"):
        plot(image, result, orientation="frontal")
    with pytest.raises(GeometryError, match="different grids"):
        plot(np.zeros((12, 20, 24)), result)


def test_without_the_packages_it_says_what_to_install(densified, monkeypatch):
    monkeypatch.setattr("SparseSegLib.extras.find_spec", lambda name: None)
    for function in (lambda: plot(*densified[1:3]), progress_bar):
        with pytest.raises(DependencyError, match=re.escape('pip install "SparseSegLib[notebook]"')):
            function()


def _save_model(path):
    """A model that calls everything "liver", with the value 9."""
    network = create_network("unet3d-small", 1, 2, **SMALL)
    network.classify.bias.data = network.classify.bias.data.new_tensor([-50.0, 50.0])
    labels = (ModelLabel(9, "liver", (1, 0, 0)),)
    save_bundle(path, replace(CARD, name="liver", arguments=SMALL, labels=labels), network.state_dict())


def test_segment_gives_labels_as_what_the_image_is(tmp_path):
    _save_model(tmp_path / "all")
    phantom = blob(oblique_geometry((10, 12, 14)))
    fractions = []

    class Heard(NullEvents):
        def progress(self, step, fraction, loss, seconds_left, **figures):
            fractions.append(fraction)

    image = _as_nibabel(phantom.volume.array[0], phantom.volume.geometry, tmp_path)
    found = segment(image, tmp_path / "all", device="cpu", control=Control(events=Heard()))
    assert type(found) is type(image)
    np.testing.assert_array_equal(found.affine, image.affine)
    assert set(np.unique(np.asarray(found.dataobj))) == {9}
    assert fractions[-1] == 1.0
    array = segment(phantom.volume.array[0], tmp_path / "all", device="cpu")
    assert array.shape == phantom.labels.shape
    assert isinstance(segment(phantom.volume, tmp_path / "all", device="cpu"), Volume)


def _needs_all():
    for name in ("nibabel", "tqdm", "matplotlib"):
        pytest.importorskip(name)


def _run(code, path):
    """Run an example in less time; what it defined."""
    known: dict = {}
    code = re.sub(r"budget_seconds=\d+", "budget_steps=2, experts=('slice-unet',)", code)
    exec(compile(code, str(path), "exec"), known)
    return known


def test_the_page_on_notebooks_runs(tmp_path, monkeypatch):
    _needs_all()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))
    (tmp_path / "library").mkdir()
    _save_model(tmp_path / "library" / "liver")
    phantom = blob(oblique_geometry((12, 20, 24)))
    write_image(phantom.volume.array[0], phantom.volume.geometry, "t1.nii.gz")
    sparse = sparsify(phantom.labels, phantom.volume.geometry, (1, 1, 1))
    write_image(sparse.array, sparse.geometry, "drawn.nii.gz")
    known = _run("\n".join(re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)), PAGE)
    for name in ("dense.nii.gz", "uncertainty.nii.gz", "dense.png"):
        assert (tmp_path / name).stat().st_size > 100
    assert known["drawn"].planes == sparse.planes


def test_the_notebook_runs(capsys):
    _needs_all()
    known = _run(NOTEBOOK.read_text(encoding="utf-8"), NOTEBOOK)
    assert "IoU 0." in capsys.readouterr().out
    assert known["result"].labels.shape == (48, 48, 48)
