"""Models for other programs: what ONNX Runtime and MONAI compute is what SparseSeg does, and both come back."""

import hashlib
import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cohort_helpers import CARD, CPU, QUICK, SMALL, make_case
from phantoms import blob, flipped_geometry, oblique_geometry

from SparseSegLib.cli import main
from SparseSegLib.cohort import make_dataset, make_example, train
from SparseSegLib.errors import DependencyError, ModelError
from SparseSegLib.evaluation import dice
from SparseSegLib.exchange import read_monai, read_onnx, write_monai, write_onnx
from SparseSegLib.io import read_labels, write_image
from SparseSegLib.models import ModelLabel, ModelLibrary, load_network, save_bundle
from SparseSegLib.networks import create_network
from SparseSegLib.prediction.predictor import Predictor

PAGE = Path(__file__).resolve().parents[1] / "Resources" / "Documentation" / "exchange.md"
SPACING = (1.0, 1.0, 1.0)
LABELS = (ModelLabel(7, "blob", (1, 0, 0)),)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """A model that finds the phantom's blob."""
    folder = tmp_path_factory.mktemp("exchange")
    trained = train(make_dataset([make_example(make_case(0), SPACING)], SPACING), QUICK)
    seen = replace(CARD.preprocessing, field_of_view=(20.0, 18.0))
    card = replace(CARD, arguments=SMALL, labels=LABELS, postprocessing=("largest_component",), preprocessing=seen)
    save_bundle(folder / "blob", card, trained.weights)
    return folder / "blob"


@pytest.fixture(scope="module")
def onnx_file(bundle):
    """The model as ONNX."""
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    path = bundle.parent / "blob.onnx"
    assert main(["models", "export", str(bundle), "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def monai_folder(bundle):
    """The model as a MONAI bundle."""
    write_monai(bundle, bundle.parent / "blob-monai")
    return bundle.parent / "blob-monai"


def _run_onnx(path, image):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image.numpy()})[0]


def _probabilities(network, image):
    with torch.inference_mode():
        return network(image).softmax(1).numpy()


@pytest.mark.parametrize("size", [(4, 6, 2), (16, 8, 18)])
def test_onnx_runtime_computes_what_torch_does_on_volumes_of_any_size_on_the_card(bundle, onnx_file, size):
    shape = json.loads(onnx_file.with_suffix(".json").read_text(encoding="utf-8"))["input"]["shape"]
    assert shape == [1, 1, *["a multiple of 2"] * 3]
    image = torch.randn(1, 1, *size)
    np.testing.assert_allclose(
        _run_onnx(onnx_file, image), _probabilities(load_network(bundle)[1], image), rtol=1e-4, atol=1e-5
    )


def test_a_network_of_valid_convolutions_becomes_onnx_of_its_window(tmp_path, onnx_file):
    card = replace(CARD, network="cicek2016", arguments={"base": 2, "levels": 2}, window=(20, 22, 24))
    network = create_network("cicek2016", 1, 2, base=2, levels=2).eval()
    save_bundle(tmp_path / "valid", card, network.state_dict())
    write_onnx(tmp_path / "valid", tmp_path / "valid.onnx")
    described = json.loads((tmp_path / "valid.json").read_text(encoding="utf-8"))
    assert described["input"]["shape"] == [1, 1, 20, 22, 24]
    image = torch.randn(1, 1, 20, 22, 24)
    found = _run_onnx(tmp_path / "valid.onnx", image)
    assert list(found.shape) == described["output"]["shape"]
    np.testing.assert_allclose(found, _probabilities(network, image), rtol=1e-4, atol=1e-5)
    with pytest.raises(ModelError, match="gives back less than it takes"):
        write_monai(tmp_path / "valid", tmp_path / "monai")


def test_the_card_beside_onnx_says_what_is_done_before_and_after(onnx_file):
    described = json.loads(onnx_file.with_suffix(".json").read_text(encoding="utf-8"))
    text = " ".join(described["preprocessing"] + described["prediction"] + described["postprocessing"])
    for part in ("T1", "LPS", "18 x 20 mm", "99th percentile", "16 x 16 x 16", "largest piece", "blob 7"):
        assert part in text
    assert "bias field" not in text


def test_monai_itself_runs_the_bundle_and_finds_the_same(bundle, monai_folder, tmp_path):
    monai = pytest.importorskip("monai.bundle")
    pytest.importorskip("ignite")
    pytest.importorskip("nibabel")
    phantoms = {
        "flipped": blob(flipped_geometry((10, 24, 40)), seed=5),
        "oblique": blob(oblique_geometry((10, 30, 30))),
    }
    (tmp_path / "images").mkdir()
    for name, phantom in phantoms.items():
        write_image(phantom.volume.array[0], phantom.volume.geometry, tmp_path / "images" / f"{name}.nii.gz")
    monai.run(
        config_file=str(monai_folder / "configs/inference.json"),
        meta_file=str(monai_folder / "configs/metadata.json"),
        bundle_root=str(monai_folder),
        dataset_dir=str(tmp_path / "images"),
        output_dir=str(tmp_path / "results"),
    )
    card, network = load_network(bundle)
    for name, phantom in phantoms.items():
        found, geometry, _ = read_labels(tmp_path / "results" / f"{name}_seg.nii.gz")
        ours = Predictor(card, network, CPU).segment(phantom.volume)
        assert geometry.matches(phantom.volume.geometry)
        assert set(np.unique(found)) == {0, 7}
        assert dice(ours == 1, phantom.labels == 1) > 0.85
        assert dice(found == 7, ours == 1) > 0.97


def test_both_come_back_with_the_same_weights(bundle, onnx_file, monai_folder):
    card, network = load_network(bundle)
    for read, path in ((read_onnx, onnx_file), (read_monai, monai_folder)):
        found, weights = read(path)
        assert found == card
        assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())


def test_the_command_line_exports_and_imports(bundle, onnx_file, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))
    model = str(bundle)
    assert main(["models", "export", model, "-o", str(onnx_file)]) == 2
    assert "blob.onnx is there already" in capsys.readouterr().err
    assert main(["models", "export", model, "-o", str(tmp_path / "b"), "--format", "monai"]) == 0
    assert main(["models", "export", model, "-o", str(tmp_path / "c.txt")]) == 2
    assert "Use .zip" in capsys.readouterr().err
    assert main(["models", "import", str(onnx_file)]) == 0
    assert [entry.name for entry in ModelLibrary(shipped=[]).entries()] == ["Blob"]
    assert main(["models", "import", str(tmp_path / "b")]) == 2
    assert main(["models", "import", str(tmp_path / "b"), "--overwrite"]) == 0


def test_what_is_damaged_or_foreign_is_refused(onnx_file, monai_folder, tmp_path):
    for file in (onnx_file, onnx_file.with_suffix(".json")):
        shutil.copy(file, tmp_path)
    copy = tmp_path / onnx_file.name
    copy.write_bytes(copy.read_bytes()[:-1])
    with pytest.raises(ModelError, match="SHA-256 differs"):
        read_onnx(copy)
    copy.with_suffix(".json").unlink()
    with pytest.raises(ModelError, match="has no card"):
        read_onnx(copy)
    shutil.copytree(monai_folder, tmp_path / "monai")
    (tmp_path / "monai/models/model.pt").write_bytes(b"other")
    with pytest.raises(ModelError, match="SHA-256 differs"):
        read_monai(tmp_path / "monai")
    (tmp_path / "monai/configs/metadata.json").write_text('{"name": "Spleen"}')
    with pytest.raises(ModelError, match="not known here"):
        read_monai(tmp_path / "monai")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").touch()
    with pytest.raises(ModelError, match="something else is there"):
        write_monai(tmp_path, tmp_path / "mine")


def test_an_onnx_file_cannot_have_other_files_read(onnx_file, tmp_path):
    onnx = pytest.importorskip("onnx")
    model = onnx.load_model_from_string(onnx_file.read_bytes())
    weight = next(tensor for tensor in model.graph.initializer if tensor.name.startswith("network."))
    weight.ClearField("raw_data")
    weight.data_location = onnx.TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="../other")
    (tmp_path / "other.onnx").write_bytes(model.SerializeToString())
    card = json.loads(onnx_file.with_suffix(".json").read_text(encoding="utf-8"))
    card["sha256"] = hashlib.sha256((tmp_path / "other.onnx").read_bytes()).hexdigest()
    (tmp_path / "other.json").write_text(json.dumps(card))
    with pytest.raises(ModelError, match="weights lie in other files"):
        read_onnx(tmp_path / "other.onnx")


def test_without_the_packages_it_says_what_to_install(bundle, tmp_path, monkeypatch):
    monkeypatch.setattr("SparseSegLib.extras.find_spec", lambda name: None)
    with pytest.raises(DependencyError) as caught:
        write_onnx(bundle, tmp_path / "a.onnx")
    assert str(caught.value) == (
        'onnx and onnxscript are not installed. Install it with: pip install "SparseSegLib[onnx]"'
    )
    assert list(tmp_path.iterdir()) == []


def test_the_page_on_onnx_runs(onnx_file, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxruntime")
    for suffix in (".onnx", ".json"):
        shutil.copy(onnx_file.with_suffix(suffix), tmp_path / f"liver{suffix}")
    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    known: dict = {}
    exec(compile(code, str(PAGE), "exec"), known)
    assert known["probabilities"].shape == (1, 2, 16, 16, 16)
    assert "LPS" in capsys.readouterr().out
