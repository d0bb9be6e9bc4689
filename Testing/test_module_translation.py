"""The panel in another language: every sentence can be translated, those of the worker with their values."""

import ast
import re

import numpy as np
import pytest
from forked import launch_with
from host import Host
from module_helpers import MODULE, add_phantom, middle, paint_plane
from phantoms import blob
from recorded import Recorded
from sentences import sentences, sentences_of

from SparseSegLib.annotation import SparseLabels
from SparseSegLib.errors import JobError, SparseSegError
from SparseSegLib.image import Geometry
from SparseSegLib.io import read_labels, read_volume
from SparseSegLib.models import ModelLibrary
from SparseSegLib.protocol import encode

FOLDER = MODULE.parent
GERMAN = {
    "There is no model {name}.": "Ein Modell {name} gibt es nicht.",
    "Use one of {known}.": "Möglich sind {known}.",
    "The new annotation is not used: {error}": "Die neue Zeichnung wird nicht benutzt: {error}",
    "All labeled voxels are background.": "Alle Voxel sind Hintergrund.",
    "Outline the structure on one of the annotated slices.": "Umfahren Sie die Struktur auf einer der Schichten.",
    "{path} and the volume do not lie in one place at one scale: {geometry}.": "{geometry}: {path} liegt woanders.",
    "spacing {spacing} instead of {spacing2} mm": "Abstand {spacing} statt {spacing2} mm",
    "{name} is in none of the cases, and is left out.": "{name} fehlt in allen Fällen.",
    "GPU memory is short: going on with {patches} patches per step.": "Wenig GPU-Speicher: {patches} je Schritt.",
}


@pytest.fixture
def speak(monkeypatch):
    """Has the panel speak another language, whose sentences a function returns."""
    Host.instance()
    from SparseSegModule import translation

    def forget():
        translation._known.cache_clear()
        translation._best.cache_clear()

    def change(tr):
        monkeypatch.setattr(translation, "tr", tr)
        forget()
        return translation

    yield change
    monkeypatch.undo()
    forget()


@pytest.fixture
def translation(speak):
    """The module's translations, into German as far as ``GERMAN`` has it."""
    return speak(lambda text: GERMAN.get(text, text))


def test_the_catalog_has_every_sentence_of_engine_and_module(speak):
    from SparseSegModule.sentences import sentences as catalog

    assert list(catalog(str)) == sentences(), "Run: python Testing/sentences.py"


def test_texts_in_errors_messages_and_helpers_are_found_with_names_for_their_values():
    source = '''
"""A docstring that nobody translates."""
HINT = "Export it again, as one file."
def f(path, items, many, place):
    logging.info("Nobody reads this.")
    raise FileError(f"{shown(path)} has {len(items)} part{'s' if many else ''} at {place.x:.2f} and {place.x}.", HINT)
def g(events, error):
    events.message(f"Not used: {error.message} {_('This is translated by itself.')}")
    yield f"its header says {place[0]} twice"
'''
    assert sorted(sentences_of(source)) == [
        "Export it again, as one file.",
        "its header says {place} twice",
        "{path} has {items} part at {x} and {x}.",
        "{path} has {items} parts at {x} and {x}.",
    ]


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("There is no model a. b. Use one of fast, best.", "Ein Modell a. b gibt es nicht. Möglich sind fast, best."),
        (
            "The new annotation is not used: All labeled voxels are background. "
            "Outline the structure on one of the annotated slices.",
            "Die neue Zeichnung wird nicht benutzt: Alle Voxel sind Hintergrund. "
            "Umfahren Sie die Struktur auf einer der Schichten.",
        ),
        (
            "/a b/c.nrrd and the volume do not lie in one place at one scale: "
            "spacing 1 x 1 x 2 instead of 1 x 1 x 1 mm, origin 4 mm away.",
            "Abstand 1 x 1 x 2 statt 1 x 1 x 1 mm, origin 4 mm away: /a b/c.nrrd liegt woanders.",
        ),
        ("Canceled {x} is in none of the cases, and is left out.", "Canceled {x} fehlt in allen Fällen."),
        ("No such sentence is known here.", "No such sentence is known here."),
        ("The disk is full. Use one of a.", "The disk is full. Möglich sind a."),
        (f"There is no model {'a, b; ' * 200}.", f"Ein Modell {'a, b; ' * 200} gibt es nicht."),
        ("", ""),
    ],
)
def test_a_sentence_is_translated_with_its_values(translation, english, german):
    assert translation.translated(english) == german


def test_without_a_translation_all_is_english(speak):
    translation = speak(str)
    assert translation.translated("There is no model a.") == "There is no model a."


def test_a_worker_is_heard_in_the_users_language(panel, translation, monkeypatch):
    said = [
        encode("started", protocol=1, version="1"),
        encode("message", text="GPU memory is short: going on with 2 patches per step."),
        encode("failed", code="model", message="There is no model heart ü.", hint="Use one of prostate, spleen."),
    ]
    worker = Recorded("".join(line + "\n" for line in said).encode(), 7)
    launch_with(lambda _folder, _interpreter: worker, monkeypatch)
    phantom, volume_node = add_phantom()
    panel.parameterNode.inputVolume = volume_node
    paint_plane(panel.parameterNode.segmentation, volume_node, phantom.labels, middle(phantom.labels, 0))
    heard, rounds = [], panel.session.rounds
    on_message = rounds.onMessage
    monkeypatch.setattr(rounds, "onMessage", lambda text: (heard.append(text), on_message(text)))
    panel.ui.densifyButton.click()
    host = Host.instance()
    assert host.wait(lambda: host.dialogs, 20)
    assert heard == ["Wenig GPU-Speicher: 2 je Schritt."]
    assert panel.ui.progressLabel.text == "Ein Modell heart ü gibt es nicht. Möglich sind prostate, spleen."
    assert panel.ui.progressLabel.text in str(host.dialogs)


def _made(tmp_path):
    """Errors as the engine raises them."""
    phantom = blob()
    grid = phantom.volume.geometry
    empty = np.full(grid.shape, 255, np.uint8)
    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\ntype: float\nwhat is this\n\n")
    (tmp_path / "text.nii").write_bytes(b"no image")
    yield lambda: SparseLabels(empty, grid, names=("a",)).validate()
    yield lambda: SparseLabels(empty * 0, grid, names=("a",)).validate()
    yield lambda: Geometry((0, 1, 1), (1.0, 1.0, 1.0))
    yield lambda: Geometry((1, 1, 1), (1.0, -1.0, 1.0))
    yield lambda: read_volume(tmp_path / "broken.nrrd")
    yield lambda: read_volume(tmp_path / "text.nii")
    yield lambda: read_volume(tmp_path / "there is none.nrrd")
    yield lambda: read_labels(tmp_path)
    yield lambda: ModelLibrary().find("heart")


def test_errors_as_they_are_raised_are_known_to_the_last_word(speak, tmp_path):
    translation = speak(lambda text: re.sub(r"(?<!\{)\b\w+\b(?!\})", "x", text))
    for make in _made(tmp_path):
        with pytest.raises(SparseSegError) as caught:
            make()
        shown = translation.errorText(caught.value)
        for value in (str(tmp_path), *("there is none", "broken", "text", "heart", "prostate-vnet")):
            shown = shown.replace(value, "")
        assert not re.findall(r"[a-z]{5,}", shown), shown


def test_slicers_script_finds_every_text():
    """The texts are found by patterns like those of Slicer's Utilities/Scripts/update_translations.py."""
    for path in sorted(FOLDER.rglob("*.py")):
        source = path.read_text("utf-8")
        marked = source
        for quote in ('"', "'"):
            marked = re.sub(rf"([^_])_\((\s*?{quote}.+?{quote}\s*?)\)", r"\1found(\2)", marked, flags=re.DOTALL)
        calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
        wanted = [ast.unparse(node.args) for node in calls if ast.unparse(node.func) == "_"]
        calls = [node for node in ast.walk(ast.parse(marked)) if isinstance(node, ast.Call)]
        found = [ast.unparse(node.args) for node in calls if ast.unparse(node.func) == "found"]
        assert found == wanted, path


def test_a_job_error_in_english_stays_an_error_of_the_console(translation):
    error = JobError("There is no model a.", "Use one of b.")
    assert str(error) == "There is no model a. Use one of b."
    assert translation.errorText(error) == "Ein Modell a gibt es nicht. Möglich sind b."
