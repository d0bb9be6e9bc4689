"""What people find beside the code: pages, the site's menu, forms and workflows say what is so."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = ROOT / "Resources" / "Documentation"
GITHUB = ROOT / ".github"
WRITTEN = sorted([*ROOT.glob("*.md"), *PAGES.glob("*.md"), *(ROOT / "Resources").glob("*/README.md")])
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s#]+)(?:#[^)\s]*)?\)")


def _text(path):
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    prose = re.sub(r"```.*?```", "", _text(page), flags=re.DOTALL)
    targets = [target for target in LINK.findall(prose) if not re.match(r"[a-z]+:", target)]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", sorted(PAGES.glob("*.md")), ids=lambda page: page.name)
def test_a_page_begins_with_what_it_is_for_and_an_example(page):
    beginning = re.split(r"^## ", _text(page), maxsplit=1, flags=re.MULTILINE)[0]
    if page.name == "tier5.md":  # answers a form
        assert "SparseSeg.json" in beginning
        return
    title, _, first = beginning.partition("\n\n")
    assert title.startswith("# ")
    assert re.match(r"[\w`*\[]", first), "a sentence comes first"
    assert re.search(r"^```|^    \S|^!\[", beginning, re.MULTILINE), "an example or a picture"


def test_the_sites_menu_has_every_page():
    listed = re.findall(r": (\S+\.md)$", _text(ROOT / "mkdocs.yml"), re.MULTILINE)
    assert len(listed) == len(set(listed))
    assert all((ROOT / name).is_file() for name in listed)
    pages = {page.relative_to(ROOT).as_posix() for page in WRITTEN}
    assert pages - set(listed) == set()


def _messages():
    """Every text in the sources, as a pattern in which values are anything."""
    texts = set()
    for path in (source for folder in ("SparseSegLib", "SparseSeg") for source in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(_text(path))):
            if isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else "(.+)" for part in node.values]
                texts.add("".join(parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                texts.add(re.escape(node.value))
    return [text for text in texts if len(text) > 20]


def test_the_messages_that_the_readme_explains_are_what_is_said():
    section = _text(ROOT / "README.md").split("## When something is refused")[1].split("\n## ")[0]
    quoted = re.findall(r"^\| \*(.+?)\* \|", section, re.MULTILINE)
    messages = _messages()
    assert len(quoted) >= 6
    assert [one for one in quoted if not any(re.fullmatch(message, one) for message in messages)] == []


SYSTEMS, PYTHONS = {"ubuntu", "macos", "windows"}, {"3.10", "3.11", "3.12", "3.13"}


@pytest.mark.parametrize("path", sorted((GITHUB / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_workflows_are_read_and_hang_together(path):
    yaml = pytest.importorskip("yaml")
    workflow = yaml.safe_load(_text(path))
    extras = set(re.findall(r"^(\w+) = \[", _text(ROOT / "pyproject.toml"), re.MULTILINE))
    assert {"name", "permissions", "jobs"} <= set(workflow)
    for job in workflow["jobs"].values():
        assert job.get("needs", next(iter(workflow["jobs"]))) in workflow["jobs"]
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"[\w-]+/[\w-]+@(v\d+|release/v1)", step.get("uses", "a/b@v1"))
            for names in re.findall(r'--editable "\.\[([\w,]+)\]"', step.get("run", "")):
                assert set(names.split(",")) <= extras
    if path.name == "checks.yml":
        matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]
        assert (set(matrix["system"]), set(matrix["python"])) == (SYSTEMS, PYTHONS)


def test_the_workflow_installs_what_the_panel_would():
    tree = ast.parse(_text(ROOT / "SparseSeg" / "SparseSegModule" / "dependencies.py"))
    values = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id in ("PACKAGES", "TORCH_REQUIREMENT")
    }
    workflow = _text(GITHUB / "workflows" / "checks.yml")
    for requirement in (*values["PACKAGES"], f"torch{values['TORCH_REQUIREMENT']}"):
        assert f'"{requirement}"' in workflow


def test_reports_of_bugs_and_poor_results_ask_for_the_report():
    for name in ("bug.yml", "result.yml"):
        assert "sparseseg info --report" in _text(GITHUB / "ISSUE_TEMPLATE" / name)
    assert "sparseseg info --report" in _text(ROOT / "CONTRIBUTING.md")


def test_what_is_installed_is_typed():
    assert (ROOT / "SparseSegLib" / "py.typed").is_file()
