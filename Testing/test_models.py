"""Model bundles and the library: round trips, and everything foreign or damaged refused without running it."""

import hashlib
import io
import json
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from SparseSegLib.cli import main
from SparseSegLib.errors import FileError, ModelError, UsageError
from SparseSegLib.models import (
    ModelCard,
    ModelLabel,
    ModelLibrary,
    Preprocessing,
    copy_bundle,
    load_card,
    load_network,
    save_bundle,
)
from SparseSegLib.models.library import user_folder
from SparseSegLib.models.weights import encode_weights
from SparseSegLib.networks import create_network

WEIGHTS = "weights.safetensors"
CARD = ModelCard(
    name="Größe 日本",
    network="unet3d-small",
    preprocessing=Preprocessing((2.0, 1.0, 1.0), ("T1", "T2"), field_of_view=(90.0, 120.5)),
    window=(16, 16, 16),
    labels=(ModelLabel(1, "liver", (0.5, 0.25, 0.0), "~SCT^10200004^Liver~"), ModelLabel(2, "tumor", (0.0, 1.0, 0.5))),
    arguments={"base": 4, "levels": 2},
    summary="Finds nothing.",
    license="CC0",
    date="2026-01-31",
    figures={"dice": 0.5, "cases": 3},
)


def _network(seed=0):
    torch.manual_seed(seed)
    return create_network(CARD.network, 2, 3, **CARD.arguments).eval()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle in a folder, and one in a zip."""
    folder = tmp_path_factory.mktemp("Modèles 日本")
    save_bundle(folder / "good", CARD, _network().state_dict())
    save_bundle(folder / "good.zip", CARD, _network().state_dict())
    return folder


@pytest.mark.parametrize("name", ["good", "good.zip"])
def test_a_bundle_gives_the_same_output_to_the_bit(made, name):
    card, network = load_network(made / name)
    image = torch.randn(1, 2, 9, 12, 13)
    with torch.no_grad():
        assert torch.equal(network(image), _network()(image))
    assert replace(card, sha256="") == CARD
    assert load_card(made / name) == card
    assert sorted(path.name for path in made.iterdir()) == ["good", "good.zip"]
    assert not network.training
    content = json.loads((made / "good" / "model.json").read_text(encoding="utf-8"))
    assert content["notice"] == "Not for clinical use."
    assert content["weights"]["sha256"] == hashlib.sha256((made / "good" / WEIGHTS).read_bytes()).hexdigest()
    assert (content["format"], content["weights"]["file"]) == (2, WEIGHTS)


def test_loading_leaves_the_random_numbers_alone(made):
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    load_network(made / "good")
    assert torch.equal(torch.rand(1), expected)


def test_cards_and_the_library_need_neither_torch_nor_numpy(made):
    code = (
        "import sys; from SparseSegLib.models import ModelLibrary, load_card; load_card(sys.argv[1]); "
        "ModelLibrary(sys.argv[2]).entries(); "
        "print([m for m in ('torch', 'numpy', 'SimpleITK') if m in sys.modules])"
    )
    command = [sys.executable, "-c", code, str(made / "good"), str(made)]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1])
    assert out.stdout.strip() == "[]"


def _set(content, path, value):
    *parts, last = path.split(".")
    for part in parts:
        content = content[int(part) if part.isdigit() else part]
    if value is None:
        del content[last]
    else:
        content[last] = value


DAMAGE = [
    ("format", 99), ("format", None), ("format", True), ("name", None), ("name", 7), ("name", " "), ("network", None),
    ("network", "unet3d"), ("network.arguments", []), ("network.arguments", {"base": {"a": 1}}),
    ("preprocessing.spacing", [1, 1]), ("preprocessing.spacing", [1, 1, float("nan")]),
    ("preprocessing.spacing", [1, 0, 1]), ("preprocessing.channels", []), ("preprocessing.normalization", "magic"),
    ("preprocessing.orientation", "RAS"), ("preprocessing.normalization", ["magic"]),
    ("preprocessing.channels", ["a"] * 300), ("preprocessing.channels", ["a" * 5000]),
    ("preprocessing.spacing", [1, 1, 10**400]), ("network.arguments", {"base": 10**400}), ("format", [2]),
    ("network.arguments", {"regions": ["1" * 5000]}), ("training.figures", {"dice": float("inf")}),
    ("training.figures", {str(number): 1 for number in range(300)}), ("labels.0.color", [10**400, 0, 0]),
    ("network.arguments", {"base": [[1]]}), ("weights.members", 10**400), ("weights.file", "weights.pt"),
    ("weights.file", "../x"), ("name", "\x1b\x07"), ("window", [8, 8, 10**9]), ("window", None), ("labels", []),
    ("labels", [1]), ("labels.0.value", 2), ("labels.0.color", [2, 0, 0]), ("labels.1.name", "liver"),
    ("training", None), ("weights.sha256", "abc"), ("weights", None),
]  # fmt: skip


@pytest.mark.parametrize(("field", "value"), DAMAGE)
def test_a_damaged_card_is_refused_with_a_hint(made, tmp_path, field, value):
    content = json.loads((made / "good" / "model.json").read_text(encoding="utf-8"))
    _set(content, field, value)
    (tmp_path / "model.json").write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ModelError, match=r"[Mm]odel card") as caught:
        load_card(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'"model"', b'{"a":' * 100_000, b"9" * 5000]
)
def test_a_card_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "model.json").write_bytes(text)
    with pytest.raises(ModelError, match="model card"):
        load_card(tmp_path)


def _with_weights(made, folder, content, **changes):
    """A bundle with other weights whose hash is right, and with other fields of the card."""
    card = json.loads((made / "good" / "model.json").read_text(encoding="utf-8"))
    if content[8:9] != b"{":
        card["format"], card["weights"]["file"] = 1, "weights.pt"
    card["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    for field, value in changes.items():
        _set(card, field.replace("__", "."), value)
    (folder / "model.json").write_text(json.dumps(card), encoding="utf-8")
    (folder / card["weights"]["file"]).write_bytes(content)
    return folder


def _saved(value):
    content = io.BytesIO()
    torch.save(value, content)
    return content.getvalue()


def test_bundles_of_the_first_format_are_read_and_copied_as_they_are(made, tmp_path):
    (tmp_path / "old").mkdir()
    old = _with_weights(made, tmp_path / "old", _saved(_network().state_dict()))
    copy_bundle(old, tmp_path / "copy.zip")
    library = ModelLibrary(tmp_path / "library", ())
    added = library.add(tmp_path / "copy.zip").path
    assert sorted(path.name for path in added.iterdir()) == ["model.json", "weights.pt"]
    image = torch.randn(1, 2, 9, 12, 13)
    with torch.no_grad():
        assert torch.equal(load_network(added)[1](image), _network()(image))
    library.add(made / "good", overwrite=True)
    assert sorted(path.name for path in added.iterdir()) == ["model.json", WEIGHTS]


def test_a_newer_format_is_named(made, tmp_path):
    _with_weights(made, tmp_path, (made / "good" / WEIGHTS).read_bytes(), format=3)
    with pytest.raises(ModelError, match=r"has the format 3, and this version knows 1 and 2\. Update SparseSeg"):
        load_card(tmp_path)


class Evil:
    """Would run code when unpickled carelessly."""

    def __reduce__(self):
        return Path.touch, (Path("pwned"),)


def test_weights_that_hold_code_are_refused_and_nothing_runs(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _with_weights(made, tmp_path, _saved({**_network().state_dict(), "x": Evil()}))
    with pytest.raises(ModelError, match="nothing of it was run"):
        load_network(tmp_path)
    assert not (tmp_path / "pwned").exists()


def test_other_weights_than_the_cards_are_refused(made, tmp_path):
    copy_bundle(made / "good", tmp_path / "b")
    save_bundle(tmp_path / "other", CARD, _network(1).state_dict())
    (tmp_path / "b" / WEIGHTS).write_bytes((tmp_path / "other" / WEIGHTS).read_bytes())
    for load in (load_network, lambda path: copy_bundle(path, tmp_path / "c")):
        with pytest.raises(ModelError, match="SHA-256"):
            load(tmp_path / "b")
    assert not (tmp_path / "c").exists()
    (tmp_path / "b" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"no weights\.safetensors"):
        load_network(tmp_path / "b")


def _bad_weights():
    state = _network().state_dict()
    first = next(iter(state))
    yield "damaged", _saved(state)[:500]
    yield "damaged", b""
    yield "no plain state dict", _saved([1, 2])
    yield "no plain state dict", _saved({"a": {"b": torch.zeros(1)}})
    yield "do not fit", _saved({name: tensor for name, tensor in state.items() if name != first})
    yield "do not fit", _saved({**state, "more": torch.zeros(1)})
    yield "do not fit", _saved({**state, first: torch.zeros(1)})
    yield "do not fit", _saved({**state, first: state[first].double()})
    yield "not a number", _saved({**state, first: state[first] * np.nan})
    yield "larger than their file", _saved({**state, first: torch.zeros(1).expand(10**9)})
    yield "damaged", encode_weights(state)[:500]
    yield "damaged", encode_weights(state) + b" "
    yield "damaged", (2**63).to_bytes(8, "little") + b"{"
    yield "damaged", (100_000).to_bytes(8, "little") + b"{" * 100_000
    yield "do not fit", encode_weights({**state, "more": torch.zeros(1)})
    yield "do not fit", encode_weights({**state, first: state[first].double()})
    yield "not a number", encode_weights({**state, first: state[first] * np.inf})


@pytest.mark.parametrize(("words", "content"), list(_bad_weights()), ids=lambda value: str(value)[:20])
def test_weights_that_are_no_weights_of_this_network_are_refused(made, tmp_path, words, content):
    _with_weights(made, tmp_path, content)
    with pytest.raises(ModelError, match=words) as caught:
        load_network(tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"network__name": "unknown"}, "not known here"),
        ({"network__name": "unet2d"}, "slices, not volumes|do not fit"),
        ({"network__arguments": {"wings": 2}}, "cannot be made"),
        ({"network__arguments": {"base": "many"}}, "cannot be made"),
        ({"network__arguments": {"base": 10**9}}, "too large"),
        ({"network__arguments": {"levels": 900}}, "cannot be made"),
        ({"network__arguments": {"levels": 12, "base": 1000}}, "cannot be made|do not fit"),
        ({"network__name": "segresnet_vae", "network__arguments": {"blocks": [1000] * 1000}}, "too large"),
        ({"network__name": "unet3d-half", "network__arguments": {"widths": [4] * 900}}, "too large"),
        ({"network__arguments": {"base": 4, "levels": 900}}, "cannot be made"),
        ({"network__name": "segresnet_vae", "network__arguments": {"blocks": []}}, "cannot be made"),
        ({"network__name": "segresnet_vae", "network__arguments": {"grid": [1]}}, "cannot be made"),
    ],
)
def test_networks_that_cannot_be_are_refused_before_they_take_memory(made, tmp_path, changes, words):
    _with_weights(made, tmp_path, (made / "good" / WEIGHTS).read_bytes(), **changes)
    with pytest.raises(ModelError, match=words):
        load_network(tmp_path)


def _zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_foreign_zips_are_refused(made, tmp_path):
    card, weights = ((made / "good" / name).read_bytes() for name in ("model.json", WEIGHTS))
    good = {"model.json": card, WEIGHTS: weights}
    library = ModelLibrary(tmp_path / "library", ())
    for name in ("../../evil.txt", "/evil.txt", "..\\evil.txt", "C:/evil.txt", "a/../../evil.txt"):
        with pytest.raises(ModelError, match="outside"):
            library.add(_zip(tmp_path / "evil.zip", {**good, name: b"evil"}))
    for members, words in (({"readme.txt": b""}, r"no model\.json"), ({**good, "a/model.json": card}, "several")):
        with pytest.raises(ModelError, match=words):
            library.add(_zip(tmp_path / "evil.zip", members))
    with pytest.raises(ModelError, match=r"model\.json is too large"):
        library.add(_zip(tmp_path / "evil.zip", {"model.json": b" " * (2 << 20), WEIGHTS: weights}))
    (tmp_path / "evil.zip").write_bytes(b"no zip")
    with pytest.raises(ModelError, match="no zip"):
        library.add(tmp_path / "evil.zip")
    with pytest.raises(ModelError, match="no model"):
        library.add(tmp_path / "missing.zip")
    assert not list(tmp_path.rglob("evil.txt"))
    assert library.entries() == ()


def test_a_zip_with_one_folder_in_it_is_a_bundle_and_nothing_else_is_taken_along(made, tmp_path):
    members = {f"model/{name}": (made / "good" / name).read_bytes() for name in ("model.json", WEIGHTS)}
    path = _zip(tmp_path / "zipped by hand.zip", {**members, "model/run.py": b"print('hello')"})
    entry = ModelLibrary(tmp_path / "library", ()).add(path)
    assert sorted(file.name for file in entry.path.iterdir()) == ["model.json", WEIGHTS]
    load_network(entry.path)


def test_the_library_lists_finds_imports_exports_and_removes(made, tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save_bundle(shipped / "prostate", replace(CARD, name="Prostate"), _network().state_dict())
    library = ModelLibrary(tmp_path / "new" / "library", (shipped,))
    own = library.add(made / "good.zip")
    assert [entry.name for entry in library.entries()] == [CARD.name, "Prostate"]
    assert own.path.parent == library.folder
    assert library.find("GRÖSSE 日本").path == own.path
    assert library.find("prostate").shipped
    assert library.find(made / "good").path == made / "good"
    with pytest.raises(ModelError, match="no model Liver") as caught:
        library.find("Liver")
    assert "Prostate" in caught.value.hint
    with pytest.raises(UsageError, match="already"):
        library.add(made / "good")
    assert library.add(made / "good", overwrite=True).path == own.path
    library.export(CARD.name, tmp_path / "out.zip")
    assert load_card(tmp_path / "out.zip").name == CARD.name
    with pytest.raises(UsageError, match="zip"):
        library.export(CARD.name, tmp_path / "out.pt")
    with pytest.raises(ModelError, match="stays"):
        library.remove("Prostate")
    library.remove(CARD.name)
    assert not own.path.exists()
    assert (shipped / "prostate" / WEIGHTS).exists()
    with pytest.raises(ModelError, match="not in the library"):
        library.remove("../../shipped/prostate")


def test_a_model_is_renamed_and_described_and_its_weights_stay(made, tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save_bundle(shipped / "Prostate", replace(CARD, name="Prostate"), _network().state_dict())
    library = ModelLibrary(tmp_path / "library", (shipped,))
    before = library.add(made / "good").path
    weights = (before / WEIGHTS).read_bytes()
    entry = library.describe(CARD.name, name="Leber ü", summary="Finds livers.", modality="CT")
    assert (entry.name, entry.card.summary, entry.card.scans, entry.card.data) == (
        "Leber ü", "Finds livers.", "CT", CARD.data,
    )  # fmt: skip
    assert [one.path for one in library.entries() if not one.shipped] == [entry.path] != [before]
    assert (entry.path / WEIGHTS).read_bytes() == weights
    load_network(entry.path)
    assert library.describe(entry.path, name="LEBER Ü").path == entry.path
    other = library.add(made / "good")
    for name, texts, error, words in (
        (other.path, {"name": "leber ü"}, UsageError, "already"),
        (other.path, {"name": " "}, UsageError, "empty"),
        (other.path, {"modality": "X-ray"}, UsageError, "no modality"),
        (other.path, {"window": "1"}, UsageError, "no window"),
        (other.path, {"summary": "a" * 5000}, UsageError, "5000 letters"),
        ("Prostate", {"summary": "mine"}, ModelError, "comes with SparseSeg"),
        (shipped / "Prostate", {"name": "mine"}, ModelError, "Prostate comes with"),
        ("Liver", {"name": "mine"}, ModelError, "not in the library"),
    ):
        with pytest.raises(error, match=words):
            library.describe(name, **texts)
    assert len(library.entries()) == 3


def test_an_own_model_of_a_shipped_ones_name_is_the_one_that_is_changed(made, tmp_path):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    save_bundle(shipped / "Prostate", replace(CARD, name="Prostate"), _network().state_dict())
    library = ModelLibrary(tmp_path / "library", (shipped,))
    save_bundle(tmp_path / "own.zip", replace(CARD, name="Prostate"), _network().state_dict())
    own = library.add(tmp_path / "own.zip")
    with pytest.raises(ModelError, match="stays as it is"):
        library.remove(shipped / "Prostate")  # the one that was chosen, not another one of its name
    assert library.remove("prostate") == own.path


def test_names_make_harmless_folders_and_do_not_collide(made, tmp_path):
    library = ModelLibrary(tmp_path / "library", ())
    for name in ("../up", "a/b", "a?b", "...", "CON: <x>"):
        save_bundle(tmp_path / "b.zip", replace(CARD, name=name), _network().state_dict())
        assert library.add(tmp_path / "b.zip").path.parent == library.folder
    assert len(library.entries()) == 5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.zip", "library"]


def test_a_damaged_model_does_not_hide_the_others(made, tmp_path):
    library = ModelLibrary(tmp_path, ())
    library.add(made / "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.json").write_text("{")
    entries = {entry.name: entry for entry in library.entries()}
    assert "damaged" in entries["bad"].problem
    assert entries[CARD.name].card is not None
    with pytest.raises(ModelError, match="damaged"):
        library.find("bad")
    library.remove("bad")
    assert len(library.entries()) == 1


def test_a_folder_of_other_things_is_never_replaced(made, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "thesis.tex").write_text("precious")
    with pytest.raises(ModelError, match="something else"):
        save_bundle(tmp_path / "thesis", CARD, _network().state_dict())
    assert (tmp_path / "thesis" / "thesis.tex").read_text() == "precious"
    with pytest.raises(FileError):
        save_bundle(tmp_path / "nowhere" / "model", CARD, _network().state_dict())


def test_a_bundle_that_could_not_be_read_is_not_written(tmp_path):
    with pytest.raises(ModelError):
        save_bundle(tmp_path / "b", replace(CARD, name=""), _network().state_dict())
    assert not list(tmp_path.iterdir())


def test_the_users_folder_follows_the_platform(tmp_path):
    home = Path.home()
    assert user_folder({"SPARSESEG_MODELS": str(tmp_path)}, "linux") == tmp_path
    assert user_folder({}, "linux") == home / ".local" / "share" / "SparseSeg" / "Models"
    assert user_folder({"XDG_DATA_HOME": "/data"}, "linux") == Path("/data/SparseSeg/Models")
    assert user_folder({}, "darwin") == home / "Library" / "Application Support" / "SparseSeg" / "Models"
    assert user_folder({"LOCALAPPDATA": "/local"}, "win32") == Path("/local/SparseSeg/Models")


def test_the_command_line(made, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPARSESEG_MODELS", str(tmp_path / "library"))

    def run(*arguments):
        status = main(["models", *map(str, arguments)])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    assert run("import", made / "good.zip")[0] == 0
    assert run("import", made / "good.zip")[0] == 2
    assert run("import", made / "good.zip", "--overwrite")[0] == 0
    names = [entry["name"] for entry in json.loads(run("list", "--json")[1])["models"]]
    assert CARD.name in names
    text = run("show", CARD.name)[1]
    assert all(word in text for word in ("liver, tumor", "1 × 1 × 2 mm", "CC0", "Not for clinical use."))
    assert json.loads(run("show", made / "good", "--json")[1])["labels"][0]["name"] == "liver"
    assert run("export", CARD.name)[0] == 2
    assert run("export", CARD.name, "-o", tmp_path / "x.zip")[0] == 0
    assert load_card(tmp_path / "x.zip").classes == 3
    assert run("export", CARD.name, "-o", tmp_path / "x.zip")[0] == 2
    assert run("export", CARD.name, "-o", tmp_path / "x.zip", "--overwrite")[0] == 0
    assert run("describe", CARD.name)[0] == 2
    assert "Finds all" in run("describe", CARD.name, "--name", "Neu", "--summary", "Finds all")[1]
    assert run("describe", "Neu", "--name", CARD.name)[0] == 0
    drawn = ["image.nrrd", "-l", "drawn.nrrd", "-o", str(tmp_path / "dense.nrrd")]
    assert main(["densify", *drawn, "--start", "Nothing"]) == 7
    assert "There is no model Nothing" in capsys.readouterr().err
    assert run("remove", CARD.name)[0] == 0
    status, _, err = run("show", CARD.name)
    assert (status, "There is no model" in err) == (7, True)
    assert run("show")[0] == 2
