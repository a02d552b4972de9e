"""The documentation as a site: everything is in it, and no page of it asks a network for anything."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import evoprune as ep
from evoprune.cli.app import COMMANDS
from tests.channels.zoo.catalogue import MODELS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
OUTSIDE = ("ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/", "examples/")


def pages_of(navigation):
    """All pages that the navigation names."""
    for entry in navigation:
        (target,) = entry.values()
        yield from [target] if isinstance(target, str) else pages_of(target)


def test_navigation_leads_to_every_page():
    named = list(pages_of(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]))
    written = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert {page for page in written if not re.match(r"decisions/\d", page)} <= set(named)
    assert [page for page in named if not ((ROOT if page.startswith(OUTSIDE) else DOCS) / page).is_file()] == []


def test_reference_has_every_public_name():
    text = "".join(page.read_text() for page in (DOCS / "reference").glob("*.md"))
    named = re.findall(r"^::: evoprune\.(\w+)$", text, re.MULTILINE)
    assert set(ep.__all__) - {"__version__"} <= set(named)
    assert len(named) == len(set(named))


def test_page_on_commands_has_each_with_its_line():
    rows = re.findall(r"^\| `(\w+)` \| (.*) \|$", (DOCS / "reference/commands.md").read_text(), re.MULTILINE)
    assert rows == [(name, line) for name, (_, line) in COMMANDS.items()]


def test_page_on_models_names_those_that_are_tested():
    table = (DOCS / "guide/models.md").read_text().partition("## Tested where")[0].partition("| kind |")[2]
    named = re.findall(r"`([\w-]+)`", table)
    assert sorted(named) == sorted(MODELS)


def test_folders_are_never_linked_to():  # a site has no pages of them
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        links = re.findall(r"\]\((?!https?://|#)([^)#]+)", page.read_text())
        assert [link for link in links if (page.parent / link).is_dir()] == [], page


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    pytest.importorskip("mkdocs", reason="the extra docs isn't installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_pages_of_the_site_load_nothing_from_elsewhere(site):
    loads = re.compile(r"<(?:script|img|iframe|source)[^>]+src=\"(?:https?:)?//|<link[^>]+href=\"(?:https?:)?//")
    pages = list(site.rglob("*.html"))
    assert len(pages) > 60
    assert [page.name for page in pages if loads.search(page.read_text())] == []


@pytest.mark.slow
def test_links_of_the_site_lead_to_its_files(site):
    for page in (one for one in site.rglob("*.html") if one.name != "404.html"):
        links = re.findall(r"(?:href|src)=\"(?!https?:|#|mailto:|data:|javascript:)([^\"#]+)", page.read_text())
        assert [link for link in set(links) if not (page.parent / link.partition("?")[0]).exists()] == [], page


@pytest.mark.slow
def test_reference_of_the_site_has_docstrings(site):
    page = (site / "reference/runs.html").read_text()
    assert 'id="evoprune.evolve"' in page or 'id="evoprune.api.evolve"' in page
    assert "with all that was found on the way" in page
    assert "could not" not in page.lower()
