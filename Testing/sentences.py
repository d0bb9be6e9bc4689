"""The catalog of sentences for translators: what engine and module say in errors and messages, as patterns.

python Testing/sentences.py    writes SparseSeg/SparseSegModule/sentences.py anew
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "SparseSeg"))

from SparseSegModule.panelWords import inPanelWords

CATALOG = ROOT / "SparseSeg" / "SparseSegModule" / "sentences.py"
NOT_IN_PANEL = (
    "annotation/given.py",
    "batch/cluster.py",
    "batch/remote.py",
    "cli/",
    "cohort/decathlon.py",
    "cohort/described_labels.py",
    "comparison/",
    "demo/",
    "densify/on_cluster.py",
    "evaluation/cohort",
    "evaluation/files.py",
    "exchange/",
    "image/given.py",
    "models/zipped.py",
    "notebook/",
    "training/distributed.py",
    "worker/selftest_task.py",
)
"""The beginnings of the paths of what no job of the panel runs."""

FEWEST_WORDS = 3
"""The fewest words of a part of a sentence: with fewer, a user's file or segment might be called so."""

_NO_TEXTS = r"(_|logging\.\w+|re\.\w+)$"
_NO_WORDS = re.compile(r"[_|^~]|::|\bint\b")
WIDTH = 120
_HEAD = '''"""What engine and module say in errors and messages, for translators. Testing/sentences.py writes it."""

from __future__ import annotations

from collections.abc import Callable


def sentences(_: Callable[[str], str]) -> tuple[str, ...]:
    """All sentences and parts of sentences, each as ``_`` returns it: names in braces stand for what is put in."""
    return (
'''


def sentences() -> list[str]:
    """All sentences, and parts of sentences, that can reach the panel, sorted."""
    engine = [path for path in (ROOT / "SparseSegLib").rglob("*.py") if not _is_left_out(path)]
    module = [path for path in (ROOT / "SparseSeg").rglob("*.py") if path.name not in (CATALOG.name, "panelWords.py")]
    found = {inPanelWords(text) for path in (*engine, *module) for text in sentences_of(path.read_text("utf-8"))}
    return sorted(
        {_nameless(text): text for text in sorted(found, key=lambda one: (len(one), one), reverse=True)}.values()
    )


def sentences_of(source: str) -> Iterator[str]:
    """The sentences in the source text of one file."""
    tree = ast.parse(source)
    passed_over = {id(node) for part in _no_texts(tree) for node in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in passed_over or not isinstance(node, ast.Constant | ast.JoinedStr):
            continue
        if isinstance(node, ast.JoinedStr):
            passed_over |= {id(part) for part in ast.walk(node)}
        for text in _variants(node):
            if _is_sentence(text):
                yield text


def _nameless(text: str) -> str:
    """The same for sentences that differ only in the names of what is put in, which readers cannot tell apart."""
    names = list(dict.fromkeys(re.findall(r"\{(\w+)\}", text)))
    return re.sub(r"\{(\w+)\}", lambda name: f"{{{names.index(name[1])}}}", text)


def _is_left_out(path: Path) -> bool:
    return path.relative_to(ROOT / "SparseSegLib").as_posix().startswith(NOT_IN_PANEL)


def _no_texts(tree: ast.AST) -> Iterator[ast.AST]:
    """Parts of a file that nobody is shown: docstrings, the log, regular expressions, and what _() translates."""
    for node in ast.walk(tree):
        docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if docstring or (isinstance(node, ast.Call) and re.match(_NO_TEXTS, ast.unparse(node.func))):
            yield node


def _is_sentence(text: str) -> bool:
    words = [word for word in text.split() if re.fullmatch(r"[\"'(]?[^\W\d_]+[\"')]?[,;:.?!]?", word)]
    if re.match(r"[A-Z{]", text) and text.endswith((".", "?", "!")):
        return len(words) > 1 or (bool(words) and "{" not in text)
    return len(words) >= FEWEST_WORDS and not _NO_WORDS.search(re.sub(r"\{\w+\}", "", text))


def _variants(node: ast.expr) -> list[str]:
    """The patterns of a literal, one for each choice of the conditional expressions in it."""
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    assert isinstance(node, ast.JoinedStr)
    names: dict[str, str] = {}
    return ["".join(parts) for parts in product(*(_choices(part, names) for part in node.values))]


def _choices(node: ast.expr, names: dict[str, str]) -> list[str]:
    if isinstance(node, ast.FormattedValue):
        return _choices(node.value, names)
    if isinstance(node, ast.JoinedStr):
        return ["".join(parts) for parts in product(*(_choices(part, names) for part in node.values))]
    if isinstance(node, ast.Constant):
        return [str(node.value)]
    if isinstance(node, ast.IfExp):
        return [*_choices(node.body, names), *_choices(node.orelse, names)]
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.Or):
        return [text for part in node.values for text in _choices(part, names)]
    return [f"{{{_placeholder(node, names)}}}"]


def _placeholder(node: ast.expr, names: dict[str, str]) -> str:
    """A name for what an expression puts in; ``names`` has those of the other expressions of the sentence."""
    code, name = ast.unparse(node), _name(node)
    if code not in names:
        same = sum(re.fullmatch(rf"{name}\d*", other) is not None for other in names.values())
        names[code] = f"{name}{same + 1}" if same else name
    return names[code]


def _name(node: ast.AST) -> str:
    """The name of what an expression is about, for example ``path`` for ``shown(self.path)``."""
    inner: ast.AST | None = None
    name = "value"
    if isinstance(node, ast.Name):
        name = node.id
    elif isinstance(node, ast.Attribute):
        name = node.attr
    elif isinstance(node, ast.Constant):
        name = str(node.value)
    elif isinstance(node, ast.Call) and (node.args or isinstance(node.func, ast.Attribute)):
        inner = node.args[0] if node.args else node.func.value
    elif isinstance(node, ast.Call):
        inner = node.func
    elif isinstance(node, ast.Subscript):
        inner = node.slice if isinstance(node.value, ast.Constant) or _is_text(node.slice) else node.value
    elif isinstance(node, ast.BinOp):
        inner = node.left
    elif isinstance(node, ast.GeneratorExp | ast.ListComp | ast.SetComp):
        inner = node.generators[0].iter
    if inner is not None:
        name = _name(inner)
    name = name.strip("_")
    return (name.lower() if name.isupper() else name) if name.isidentifier() else "value"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def written(texts: list[str]) -> str:
    """The catalog's source text."""
    return _HEAD + "".join(_entry(text) for text in texts) + "    )\n"


def _entry(text: str) -> str:
    line = f"        _({_literal(text)}),\n"
    if len(line) <= WIDTH:
        return line
    lines = []
    rest = text
    while rest:
        cut = len(rest)
        while len(_literal(rest[:cut])) > WIDTH - 12:
            cut = rest.rindex(" ", 0, cut - 1) + 1
        lines.append(f"            {_literal(rest[:cut])}\n")
        rest = rest[cut:]
    return f"        _(\n{''.join(lines)}        ),\n"


def _literal(text: str) -> str:
    if '"' in text and "'" not in text:
        return "'" + text.replace("\\", "\\\\") + "'"
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


if __name__ == "__main__":
    CATALOG.write_text(written(sentences()), encoding="utf-8")
