"""The site holds pages from outside `docs/` as well, and whatever files any page links to; MkDocs calls these functions."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
DOCS = "docs/"
FRONT_PAGE = {"README.md": "index.md"}
PAGES = ["ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "benchmarks/*/README.md"]
LINK = re.compile(r"(?<=\]\()(?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?(?=\))")
FENCE = re.compile(r"^(```.*?^```)", re.DOTALL | re.MULTILINE)


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of `PAGES`, and the files that pages link to."""
    for path in sorted(page for pattern in PAGES for page in ROOT.glob(pattern)):
        files.append(File.generated(config, _inside(path), abs_src_path=str(path)))
    for page in [file for file in files if file.is_documentation_page()]:
        for target in _targets(page):
            if target.is_file() and files.get_file_from_path(_inside(target)) is None:
                files.append(File.generated(config, _inside(target), abs_src_path=str(target)))
    return files


def on_page_markdown(markdown: str, *, page: Any, files: Files, **_: Any) -> str:
    """Turn links between files of the repository into links between files of the site."""
    source, here = Path(page.file.abs_src_path).parent, Path(page.file.src_uri).parent

    def link(match: re.Match[str]) -> str:
        inside = _inside((source / match[1]).resolve())
        if files.get_file_from_path(inside) is None:  # a folder: its page, if it has one
            inside += "/README.md"
        return os.path.relpath(inside, here) + (match[2] or "")

    return "".join(part if part.startswith("```") else LINK.sub(link, part) for part in FENCE.split(markdown))


def _inside(path: Path) -> str:
    """Where a file of the repository lies in the site."""
    name = path.relative_to(ROOT).as_posix()
    return FRONT_PAGE.get(name, name.removeprefix(DOCS))


def _targets(page: File) -> list[Path]:
    text = "".join(part for part in FENCE.split(page.content_string) if not part.startswith("```"))
    return [(Path(page.abs_src_path).parent / match[1]).resolve() for match in LINK.finditer(text)]
