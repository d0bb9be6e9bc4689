"""What a training learns from: data sets described in JSON, and which cases are left out."""

import errno
import json
from math import nan
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from cohort_helpers import CARD, QUICK, SIZE, SMALL
from phantoms import blob, multi_class

from SparseSegLib.cli import main
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.train_cases import cases_of
from SparseSegLib.cohort import (
    About,
    CaseFiles,
    Cohort,
    Files,
    TrainedModel,
    hold_out,
    make_card,
    make_dataset,
    read_description,
    read_examples,
    split_folds,
)
from SparseSegLib.control import Control
from SparseSegLib.errors import AnnotationError, FileError, ModelError, UsageError, VolumeError
from SparseSegLib.image import Geometry
from SparseSegLib.io import write_image, write_labels
from SparseSegLib.models import load_card, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.protocol import read_job
from SparseSegLib.worker.train_task import train_task

GRID = Geometry.identity(SIZE)


@pytest.fixture
def decathlon(tmp_path):
    """A data set of two cases with three structures, in a folder with umlauts."""
    folder = tmp_path / "Task99_Größe"
    (folder / "imagesTr").mkdir(parents=True)
    (folder / "labelsTr").mkdir()
    for seed in range(2):
        phantom = multi_class(GRID, seed=seed)
        write_image(phantom.volume.array, GRID, folder / "imagesTr" / f"c_{seed}.nii.gz")
        write_labels(phantom.labels, GRID, folder / "labelsTr" / f"c_{seed}.nii.gz")
    _describe(folder)
    return folder / "dataset.json"


def _describe(folder, **other):
    content = {
        "name": "Phantoms",
        "modality": {"0": "MRI"},
        "labels": {"0": "background", "1": "shell", "2": "core", "3": "rod"},
        "training": [{"image": f"./imagesTr/c_{n}.nii.gz", "label": f"./labelsTr/c_{n}.nii.gz"} for n in range(2)],
        "test": [],
    }
    (folder / "dataset.json").write_text(json.dumps({**content, **other}), encoding="utf-8")


def test_a_decathlon_is_read_with_its_names_and_every_voxel_counts(decathlon):
    description = read_description(decathlon)
    assert (description.name, description.channels) == ("Phantoms", ("MRI",))
    examples, spacing = read_examples(description.files(dense=True), None)
    dataset = make_dataset(examples, spacing)
    assert [example.name for example in examples] == ["c_0", "c_1"]
    assert dataset.names == ("shell", "core", "rod")
    np.testing.assert_array_equal(dataset.examples[0].labels, multi_class(GRID).labels)


def test_channels_may_lie_in_one_file_and_labels_may_be_named_first(decathlon):
    folder = decathlon.parent
    channels = [multi_class(GRID, seed=seed).volume.array[0] for seed in range(2)]
    image = sitk.JoinSeries([GRID.to_sitk(channel) for channel in channels])
    for number in range(2):
        sitk.WriteImage(image, str(folder / "imagesTr" / f"c_{number}.nii.gz"))
    _describe(
        folder, channel_names={"0": "T1", "1": "T2"}, modality=None, labels={"background": 0, "b": 2, "a": 1, "rod": 3}
    )
    files = read_description(decathlon).files(dense=True)
    case = files[1].read()
    np.testing.assert_allclose(case.volume.array, np.stack(channels), atol=1e-6)
    assert case.volume.geometry.matches(GRID)
    assert case.names == ("a", "b", "rod")
    _describe(folder, modality={"0": "T1", "1": "T2", "2": "T3"})
    write_image(channels[0], GRID, folder / "imagesTr" / "c_0.nii.gz")
    with pytest.raises(VolumeError, match=r"c_0: .* 3 axes"):
        read_description(decathlon).files(dense=True)[0].read()


def test_what_is_wrong_with_a_description_is_said(decathlon):
    folder = decathlon.parent
    for other, words in (
        ({"training": []}, "no training cases"),
        ({"labels": {"0": "background"}}, "label values"),
        ({"labels": None}, "no description"),
        ({"training": [{"image": "x.nii"}]}, "no description"),
        ({"training": [{"image": "gone.nii.gz", "label": "lost.nii.gz"}]}, "2 files that are not there: .*gone"),
    ):
        _describe(folder, **other)
        with pytest.raises(FileError, match=words) as caught:
            read_description(decathlon)
        assert caught.value.hint
    _describe(folder, labels={"0": "background", "1": "shell"})
    with pytest.raises(AnnotationError, match=r"c_0: .* value 3"):
        read_description(decathlon).files(dense=True)[0].read()


def test_the_command_line_cross_validates_a_described_data_set(decathlon, tmp_path, monkeypatch, capsys):
    """The job runs in this process, which is quicker; that it runs in its own is tested elsewhere."""

    def finish(job, console):
        files, figures = train_task(job.folder, read_job(job.folder), Control())
        return {"files": files, "figures": figures}

    monkeypatch.setattr("SparseSegLib.cli.train.finish_job", finish)
    common = ["--steps", "1", "--patch", "16", "16", "16", "--spacing", "2", "2", "2", "--device", "cpu"]
    command = ["train", "--dense", str(decathlon), "-o", str(tmp_path / "folds"), "--folds", "2", *common]
    assert main([*command, "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert set(figures["dice"]) == {"shell", "core", "rod"}
    card = load_card(tmp_path / "folds" / "fold-2")
    assert (card.preprocessing.channels, card.data) == (("MRI",), "Phantoms, 2 annotated volumes")
    assert len((tmp_path / "folds" / "folds.csv").read_text().splitlines()) == 1 + 2 * 3
    assert main([*command, "--fold", "1", "--overwrite"]) == 0
    assert (tmp_path / "folds" / "folds-1.csv").is_file()
    assert main([*command, "--add"]) == 2
    assert main([*command, "--tensorboard"]) == 2


def test_validation_volumes_keep_the_classes_of_the_training(decathlon):
    files = read_description(decathlon).files(dense=True)
    (example, _), spacing = read_examples(files, (2.0, 2.0, 2.0))
    turned = make_dataset([example], spacing, ("rod", "core", "shell"))
    assert (turned.examples[0].labels[example.labels == 3] == 1).all()
    with pytest.raises(AnnotationError, match="c_0 has the structure rod"):
        make_dataset([example], spacing, ("shell", "core"))


def test_folds_leave_out_each_case_once_however_they_are_listed():
    names = [f"case {number}" for number in range(11)]
    folds = split_folds(names, 4)
    assert sorted(number for fold in folds for number in fold) == list(range(11))
    assert sorted(map(len, folds)) == [2, 3, 3, 3]
    backwards = split_folds(names[::-1], 4)
    assert [{names[n] for n in fold} for fold in folds] == [{names[::-1][n] for n in fold} for fold in backwards]
    assert folds != split_folds(names, 4, seed=1)
    kept, held = hold_out(names, 3)
    assert (len(held), sorted(kept + held)) == (3, list(range(11)))
    for wrong in (lambda: split_folds(names, 1), lambda: split_folds(names, 12), lambda: hold_out(names, 11)):
        with pytest.raises(UsageError):
            wrong()


def test_large_classes_keep_places_enough_for_patches(monkeypatch):
    from SparseSegLib.patches import trainer as patch_trainer

    monkeypatch.setattr(patch_trainer, "MOST_PLACES", 500)
    labels = blob(GRID).labels.copy()
    labels[0, 0, :5] = 2
    kept = patch_trainer._thinned(labels)
    assert (kept[labels == 2] == 2).all()
    assert 300 < (kept == 0).sum() < 700
    assert set(np.unique(kept[kept != labels])) == {255}


def test_what_a_card_cannot_hold_is_refused_before_the_training_and_left_out_after_it(dataset, tmp_path):
    for wrong in ({"summary": "x" * 4001}, {"data": "x" * 4001}, {"name": " "}):
        with pytest.raises(UsageError):
            About(**wrong)
    case = CaseFiles("a", (tmp_path / "a.nrrd",), tmp_path / "a.nrrd")
    cohort = Cohort([case] * 2, dataset, QUICK, About(channels=("T1", "T2")))
    with pytest.raises(UsageError, match="2 names of channels"):
        cohort.train_on([0, 1], tmp_path / "b", Files(tmp_path / "c.pt"), Control())
    assert not list(tmp_path.iterdir())
    weights = create_network("unet3d-small", 1, 2, **SMALL).state_dict()
    model = TrainedModel(weights, SMALL, (16, 16, 16), 2, 1.0, nan, validation=0.5)
    save_bundle(tmp_path / "b", make_card(dataset, QUICK, model, About()), weights)
    figures = load_card(tmp_path / "b").figures
    assert "loss" not in figures
    assert figures["validation_dice"] == 0.5
    next(iter(weights.values()))[0] = nan
    with pytest.raises(ModelError, match="not a number"):
        save_bundle(tmp_path / "b", CARD, weights)


def test_a_case_with_more_images_than_channels_are_named_is_refused(decathlon):
    image = "imagesTr/c_0.nii.gz"
    _describe(decathlon.parent, training=[{"image": [image, image], "label": "labelsTr/c_0.nii.gz"}])
    with pytest.raises(FileError, match=r"names 1 channels \(MRI\), and c_0 has 2 images"):
        read_description(decathlon)


def test_a_folder_of_cases_takes_the_headers_of_images_in_two_files(tmp_path):
    names = ("images/a.mhd", "images/a.raw", "images/notes.txt", "labels/a.nrrd", "images/b/1.dcm", "labels/b.nii.gz")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [Path(case["volumes"][0]).name for case in cases_of(str(tmp_path), Console())]
    assert found == ["a.mhd", "b"]
    (tmp_path / "images" / "a.nrrd").touch()
    with pytest.raises(FileError, match=r"a\.mhd and a\.nrrd .* one name"):
        cases_of(str(tmp_path), Console())


def test_models_that_cannot_be_delivered_are_kept(tmp_path, monkeypatch, capsys):
    """A full disk meets the copy of a model that an hour was spent on."""
    (tmp_path / "work").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "work"))

    def finish(job, console):
        weights = create_network("unet3d-small", 1, 2, **SMALL).state_dict()
        save_bundle(job.folder / "bundle", CARD, weights)
        return {"files": {"bundle": "bundle"}, "figures": {}}

    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", str(target))

    monkeypatch.setattr("SparseSegLib.cli.train.finish_job", finish)
    monkeypatch.setattr("SparseSegLib.cli.train.copy_bundle", full)
    command = ["train", "--dense", "a.nrrd,b.nrrd", "-o", str(tmp_path / "out")]
    assert main(command) == 9
    (folder,) = (tmp_path / "work").iterdir()
    assert f"--job {folder}" in capsys.readouterr().err
    assert load_card(folder / "bundle").name == "Blob"
    monkeypatch.setattr("SparseSegLib.cli.train.finish_job", lambda job, console: full(0, job.folder))
    assert main(command) == 9  # nothing was trained, nothing is kept
    assert list((tmp_path / "work").iterdir()) == [folder]


def test_arguments_that_exclude_each_other(tmp_path):
    command = ["train", "--dense", "a.nrrd,b.nrrd", "-o", str(tmp_path / "out")]
    assert main([*command, "--validate", "0"]) == 2
    assert main([*command, "--steps", "2", "--seconds", "3"]) == 2
