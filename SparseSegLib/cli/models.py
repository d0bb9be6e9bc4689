"""``sparseseg models``: the library of trained models."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from SparseSegLib.cli.arguments import add_card_texts
from SparseSegLib.cli.console import Console
from SparseSegLib.cli.outputs import check_outputs
from SparseSegLib.errors import UsageError
from SparseSegLib.io import volume_name
from SparseSegLib.models import ModelCard, ModelEntry, ModelLibrary, combine_bundles
from SparseSegLib.models.card import NOTICE, card_to_json
from SparseSegLib.models.describing import DESCRIBED
from SparseSegLib.models.regions import in_words
from SparseSegLib.units import lengths_text

NAME = "models"
SUMMARY = "list, show, describe, import, export, combine or remove trained models"
DESCRIPTION = """\
The models at hand: those that come with SparseSeg, and your own library, a folder of your user account (or the one that
the environment variable SPARSESEG_MODELS names).

  sparseseg models list
  sparseseg models show NAME                       what it segments, what it learned from, its license
  sparseseg models describe NAME --name NEW --summary TEXT    what it is called, and what its card says of it
  sparseseg models import FILE.zip                 put a model, zip or folder, into your library; also .onnx files and
                                                   MONAI bundles that models export wrote
  sparseseg models export NAME -o FILE.zip         one file to hand on
  sparseseg models export NAME -o FILE.onnx        for ONNX Runtime and others; FILE.json says what to do around it
  sparseseg models export NAME -o FOLDER/ --format monai      a bundle that MONAI runs
  sparseseg models combine A B C -o BOTH.zip       one model of several, which averages their predictions
  sparseseg models remove NAME                     from your library; models that came with SparseSeg stay

Models to combine were trained apart with the same settings, such as the folds of a cross-validation (folds/fold-*); the
result is a little better than each of them, and takes as much longer.

A model is a card (text) and weights (numbers). It contains no executable code: a file that does is refused."""

EXPORTS: dict[str, tuple[str, ...]] = {"sparseseg": (".zip",), "onnx": (".onnx", ".json"), "monai": ()}
"""What a model can be exported as, and what the names of its files end in."""
ACTIONS = ("list", "show", "describe", "import", "export", "combine", "remove")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("action", choices=ACTIONS)
    parser.add_argument("model", nargs="*", help="name in the library, or path of a bundle (folder or zip)")
    parser.add_argument("-o", "--output", type=Path, help="what to write (export), folder or zip (combine)")
    parser.add_argument(
        "--format", choices=tuple(EXPORTS), help="what to export; by default by the output's name, .zip or .onnx"
    )
    parser.add_argument("--name", help="name of the model (describe; combine, by default the output's)")
    add_card_texts(parser.add_argument_group("what the card says (describe)"))
    parser.add_argument("--add", action="store_true", help="also put the model into your library (combine)")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a model of the same name (import) or file (combine, export)"
    )


def run(arguments: argparse.Namespace, console: Console) -> None:
    """Do one action."""
    if arguments.action != "list" and not arguments.model:
        raise UsageError(f"models {arguments.action} needs a model.", "Give its name or path; models list shows them.")
    if arguments.action != "combine" and len(arguments.model) > 1:
        raise UsageError(f"models {arguments.action} takes one model.", "Give them one after the other.")
    actions = {
        "list": _list, "show": _show, "describe": _describe, "import": _import, "export": _export,
        "combine": _combine, "remove": _remove,
    }  # fmt: skip
    actions[arguments.action](ModelLibrary(), arguments, console)


def _list(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    entries = library.entries()
    lines = [_line(entry) for entry in entries] or ["no models yet: sparseseg train makes one, models import gets one"]
    console.result(
        {"folder": str(library.folder), "models": [_values(entry) for entry in entries]},
        "\n".join([*lines, f"your library: {library.folder}"]),
    )


def _show(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    entry = library.find(arguments.model[0])
    assert entry.card is not None
    console.result({"path": str(entry.path), **card_to_json(entry.card)}, f"{card_in_words(entry.card)}\n{entry.path}")


def _describe(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    given = {field: getattr(arguments, field) for field in DESCRIBED}
    texts = {field: text for field, text in given.items() if text is not None}
    if not texts:
        raise UsageError("What shall the card say?", "Add --name, --summary, or another text; --help lists them.")
    entry = library.describe(arguments.model[0], **texts)
    assert entry.card is not None
    console.result({"path": str(entry.path), **card_to_json(entry.card)}, f"{card_in_words(entry.card)}\n{entry.path}")


def _import(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    from SparseSegLib.exchange import import_model

    entry = import_model(library, arguments.model[0], overwrite=arguments.overwrite)
    replaced = " (it replaced one of that name)" if entry.replaced else ""
    values = {**_values(entry), "replaced": entry.replaced}
    console.result(values, f"{entry.name} is in your library{replaced}: {entry.path}")


def _export(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    output = arguments.output
    if output is None:
        raise UsageError("Where shall the model be written?", "Add -o FILE.zip, -o FILE.onnx or -o FOLDER.")
    kind = arguments.format or ("onnx" if output.suffix.lower() == ".onnx" else "sparseseg")
    source = library.find(arguments.model[0]).path
    written = [output, output.with_suffix(".json")] if kind == "onnx" else [output]
    check_outputs(written, [source], overwrite=arguments.overwrite, folders=True, endings=EXPORTS[kind])
    if kind == "sparseseg":
        library.export(source, output)
    else:
        _export_to_others(kind, source, output)
    size = sum(file.stat().st_size for path in written for file in (path, *path.rglob("*")) if file.is_file())
    console.result({"output": str(output), "format": kind}, f"{output}: {size / 1e6:.1f} MB")


def _export_to_others(kind: str, source: Path, output: Path) -> None:
    from SparseSegLib.exchange import write_monai, write_onnx

    if kind == "onnx":
        write_onnx(source, output)
    else:
        write_monai(source, output)


def _combine(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    output, name = arguments.output, arguments.name
    if output is None:
        raise UsageError("Where shall the model be written?", "Add -o FOLDER or -o FILE.zip.")
    sources = [library.find(model).path for model in arguments.model]
    check_outputs([output], sources, overwrite=arguments.overwrite, folders=True)
    card = combine_bundles(sources, output, name or volume_name(output))
    if arguments.add:
        library.add(output, overwrite=arguments.overwrite)
    values = {"output": str(output), "name": card.name, "members": card.members}
    console.result(values, f"{output}: {card.members} networks, whose predictions are averaged")


def _remove(library: ModelLibrary, arguments: argparse.Namespace, console: Console) -> None:
    path = library.remove(arguments.model[0])
    console.result({"removed": str(path)}, f"removed {path}")


def _values(entry: ModelEntry) -> dict[str, Any]:
    labels = [label.name for label in entry.card.labels] if entry.card else []
    return {
        "name": entry.name,
        "path": str(entry.path),
        "shipped": entry.shipped,
        "labels": labels,
        "problem": entry.problem,
    }


def _line(entry: ModelEntry) -> str:
    where = "comes with SparseSeg" if entry.shipped else "yours"
    if entry.card is None:
        return f"{entry.name:24} {where}; cannot be used: {entry.problem}"
    return f"{entry.name:24} {where}; {', '.join(label.name for label in entry.card.labels)}"


def card_in_words(card: ModelCard) -> str:
    """A card as lines of text."""
    z, y, x = card.preprocessing.spacing
    number = f"{card.members} networks" if card.members > 1 else "network"
    rows = [
        ("", card.name),
        ("", card.summary),
        ("segments", ", ".join(label.name for label in card.labels)),
        ("regions", _regions(card)),
        ("channels", ", ".join(card.preprocessing.channels)),
        ("scans", card.scans),
        ("works at", f"{lengths_text((x, y, z))}, {number} {card.network}"),
        ("learned from", card.data),
        ("on", card.date),
        ("license", card.license),
        ("meant for", card.intended_use),
        ("refuses", f"what does not look like {card.expectations.image}" if card.expectations else ""),
        ("figures", ", ".join(f"{name} {value}" for name, value in card.figures.items())),
        ("", NOTICE),
    ]
    return "\n".join(f"{name:14}{value}" if name else value for name, value in rows if value)


def _regions(card: ModelCard) -> str:
    """The regions that the network learned, if these are not the structures themselves."""
    given = card.arguments.get("regions", "separate")
    if given == "separate" or not isinstance(given, str | list):
        return ""
    return in_words(given, [label.name for label in card.labels])
