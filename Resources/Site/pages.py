"""Hooks of the documentation site: pages and pictures keep their paths in the repository, so that links hold there too.

A link to a file that is no page goes to the repository's; in the gallery the example's code follows its name.
"""

from __future__ import annotations

import posixpath
import re
import subprocess
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[2]
PAGES = "Resources/Documentation/"
SHOWN = (".md", ".png", ".jpg", ".gif")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
EXAMPLE = re.compile(r"^\[`\w+\.py`\]\(\.\./Examples/(?P<name>\w+\.py)\)$", re.MULTILINE)
ALSO = ("README.md", "CHANGELOG.md", "SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md")
FOLDERS = (PAGES, "Resources/Examples/", "Resources/Models/", "Resources/Pretrained/", "Resources/SampleData/")
FOLDERS += ("Resources/Screenshots/", "Testing/Benchmarks/measured/", "SparseSeg/Resources/Icons/")


def on_files(files, config):
    """The site's files: pages, and what they show."""
    found = [file for file in files if file.src_dir != config.docs_dir]  # the theme's
    for name in _tracked():
        if name.endswith(SHOWN) and (name in ALSO or name.startswith(FOLDERS)):
            where = f"{name[len(PAGES) : -3]}/index.html" if name.startswith(PAGES) else None
            found.append(File(name, str(ROOT), config.site_dir, config.use_directory_urls, dest_uri=where))
    return Files(found)


def on_page_markdown(markdown, page, config, files):
    """Show the examples' code, and send links to files that are no pages to the repository."""
    folder = posixpath.dirname(page.file.src_uri)

    def linked(match):
        path = posixpath.normpath(posixpath.join(folder, match["target"]))
        if files.get_file_from_path(path) is not None or not (ROOT / path).exists():
            return match[0]
        return f"[{match['text']}]({config.repo_url}/blob/main/{path}{match['anchor'] or ''})"

    def with_code(match):
        code = (ROOT / "Resources" / "Examples" / match["name"]).read_text(encoding="utf-8")
        return f"{match[0]}\n\n```python\n{code}```"

    if page.file.src_uri == f"{PAGES}examples.md":
        markdown = EXAMPLE.sub(with_code, markdown)
    return LINK.sub(linked, markdown)


def _tracked():
    """The repository's files, those that git ignores left out."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted({name for name in done.stdout.splitlines() if (ROOT / name).is_file()})
