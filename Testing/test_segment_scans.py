"""From a folder of CT slices to a result: scans that are no whole CT are told, and no result replaces another."""

import dataclasses
import json

import numpy as np
import pytest
from phantoms import oblique_geometry
from test_io_dicom import ARRAY, UID, right_handed, write_series

from SparseSegLib.cohort import About
from SparseSegLib.control import Control
from SparseSegLib.errors import ModelError, UsageError
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.models import load_card, load_network, save_bundle
from SparseSegLib.models.card import card_from_json, card_to_json
from SparseSegLib.worker.segment_task import segment_task

GEOMETRY = right_handed(oblique_geometry())


@pytest.fixture(scope="module")
def for_ct(bundle, tmp_path_factory):
    """A model whose card says CT."""
    path = tmp_path_factory.mktemp("models") / "ct"
    card, network = load_network(bundle)
    save_bundle(path, dataclasses.replace(card, modality="CT", name="CT blob"), network.state_dict())
    return path


@pytest.fixture
def scans(tmp_path):
    """A whole CT, and folders that are none."""
    write_series(tmp_path / "ct", GEOMETRY)
    write_series(tmp_path / "mr", GEOMETRY, modality="MR")
    write_series(tmp_path / "holes", GEOMETRY)[2].unlink()
    write_series(tmp_path / "mixed", GEOMETRY)
    write_series(tmp_path / "mixed", GEOMETRY, uid=f"{UID}.5", first=100)
    write_series(tmp_path / "scout", GEOMETRY, more={"0008|0008": "ORIGINAL\\PRIMARY\\LOCALIZER"})
    return tmp_path


def _job(model, scans, names, **settings):
    cases = [{"volumes": [str(scans / name)]} for name in names]
    chosen = {"model": str(model), "device": "cpu", **settings}
    return {"task": "segment", "inputs": {"cases": cases}, "settings": chosen}


def test_only_whole_ct_scans_are_segmented_and_the_others_say_why(for_ct, scans):
    names = ("mr", "ct", "holes", "mixed", "scout")
    files, figures = segment_task(scans, _job(for_ct, scans, names), Control())
    assert files == {"ct": "ct.seg.nrrd"}
    labels, geometry, _ = read_labels(scans / "ct.seg.nrrd")
    assert labels.shape == ARRAY.shape and geometry.matches(GEOMETRY, 1e-4)
    errors = {case["name"]: case for case in figures["cases"] if "error" in case}
    for name, words in (
        ("mr", "is MR, not CT"), ("holes", "misses 1 slice"), ("mixed", "2 DICOM series"), ("scout", "localizer"),
    ):  # fmt: skip
        assert words in errors[name]["error"] and errors[name]["hint"]


def test_a_model_for_anything_takes_any_scan_and_other_files_need_no_dicom(bundle, for_ct, scans):
    files, _ = segment_task(scans, _job(bundle, scans, ["mr", "scout"], output="any"), Control())
    assert set(files) == {"mr", "scout"}
    image = scans / "volume.nrrd"
    write_image(ARRAY.astype(np.float32), GEOMETRY, image)
    files, _ = segment_task(scans, _job(for_ct, scans, ["volume.nrrd"], output="files"), Control())
    assert set(files) == {"volume"}


def test_a_result_is_never_replaced_by_that_of_another_scan_or_model(for_ct, bundle, scans):
    results = scans / "results"
    (scans / "other").mkdir()
    write_series(scans / "other" / "ct", GEOMETRY, ARRAY[::-1].copy())
    job = _job(for_ct, scans, ["ct"], output="results", keep=True)
    segment_task(scans, job, Control())
    before = (results / "ct.seg.nrrd").read_bytes()
    for other in (_job(for_ct, scans / "other", ["ct"]), _job(bundle, scans, ["ct"])):
        other["settings"] |= {"output": str(results), "keep": True}
        with pytest.raises(UsageError, match="is there already"):
            segment_task(scans, other, Control())
    assert (results / "ct.seg.nrrd").read_bytes() == before
    assert segment_task(scans, job, Control())[0] == {"ct": "results/ct.seg.nrrd"}  # done already


def test_the_card_says_of_which_modality_scans_must_be(for_ct, bundle):
    card = load_card(for_ct)
    assert (card.scans, load_card(bundle).scans) == ("CT", "")
    named = dataclasses.replace(load_card(bundle).preprocessing, channels=("ct",))
    assert dataclasses.replace(card, modality="", preprocessing=named).scans == "CT"
    content = json.loads(json.dumps(card_to_json(card)))
    assert card_from_json(content, "test") == card
    with pytest.raises(ModelError, match="modality"):
        card_from_json({**content, "modality": "X-ray vision"}, "test")
    with pytest.raises(UsageError, match="modality"):
        About(modality="ct")
