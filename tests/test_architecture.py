"""What the code base promises about itself: small files, short functions, a light command line, one version."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

import evoprune

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "evoprune"
SOURCES = sorted(PACKAGE.rglob("*.py"))

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def lines_without_docstring(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    total = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    return total - ((first.end_lineno or 0) - first.lineno + 1 if documented else 0)


def prints(path: Path) -> list[int]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call))
    return [call.lineno for call in calls if isinstance(call.func, ast.Name) and call.func.id == "print"]


def loaded_modules(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after `code`."""
    report = "import sys\nprint('LOADED', *{name.partition('.')[0] for name in sys.modules})"
    command = [sys.executable, "-c", f"{code}\n{report}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=60)
    return set(done.stdout.rpartition("LOADED")[2].split())


def test_files_are_short():
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in SOURCES}
    assert lines, "no source files found"
    assert not {name: count for name, count in lines.items() if count > MAX_FILE_LINES}, "split them: one noun per file"


def test_functions_are_short():
    lines = {f"{name_of(path)}: {f.name}": lines_without_docstring(f) for path in SOURCES for f in functions(path)}
    assert lines, "no functions found"
    assert not {name: count for name, count in lines.items() if count > MAX_FUNCTION_LINES}, "split them"


def test_library_does_not_print():
    library = [path for path in SOURCES if path.relative_to(PACKAGE).parts[0] != "cli"]
    found = [f"{name_of(path)}:{line}" for path in library for line in prints(path)]
    assert not found, "log or send an event; the terminal belongs to evoprune.cli"


def test_ray_is_used_by_its_public_interface():
    sources = "".join(path.read_text(encoding="utf-8") for path in PACKAGE.glob("execution/ray/*.py"))
    assert re.findall(r"\bray(?:\.\w+)*\._\w+", sources) == []


def test_every_folder_is_a_package():
    folders = {path.parent for path in SOURCES}
    assert not {name_of(folder) for folder in folders if not (folder / "__init__.py").exists()}


def test_import_of_the_package_does_not_load_torch():
    assert "torch" not in loaded_modules("import evoprune")


@pytest.mark.skipif(not (PACKAGE / "cli" / "app.py").exists(), reason="there is no command line yet")
def test_help_does_not_load_torch():
    loaded = loaded_modules(
        "import sys\nfrom evoprune.cli.app import main\nsys.argv = ['evoprune', '--help']\n"
        "try:\n    main()\nexcept SystemExit as done:\n    assert not done.code, done.code"
    )
    assert "evoprune" in loaded
    assert not loaded & {"torch", "pymoo", "matplotlib", "scipy", "rich"}


def test_version_is_written_down_once():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" in project["project"]["dynamic"]
    assert project["tool"]["hatch"]["version"]["path"] == "src/evoprune/version.py"
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", evoprune.__version__)


def test_requirements_are_pinned_in_the_constraints():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    pinned = re.findall(r"^([\w.-]+)==", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    missing = {plain(name) for name in wanted} - {plain(name) for name in pinned}
    assert not missing


def plain(requirement: str) -> str:
    name = re.match(r"[\w.-]+", requirement)
    assert name is not None
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def test_no_modules_import_each_other_in_a_circle():
    graph = grimp.build_graph("evoprune", exclude_type_checking_imports=False, cache_dir=None)
    # Offering the parts of a package at its root is no circle.
    modules = graph.modules - {"evoprune"}
    imported = {one: graph.find_modules_directly_imported_by(one) & modules for one in modules}
    while leaves := {one for one, others in imported.items() if not others}:
        imported = {one: others - leaves for one, others in imported.items() if one not in leaves}
    assert sorted(imported) == []
