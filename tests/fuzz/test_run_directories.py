"""A run directory in which one file was changed: going on with it gives a result or an error that says what is wrong."""

import json
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evoprune.api import execute_run, finetune
from evoprune.cli.console import Console
from evoprune.config.schema import make_config
from evoprune.errors import EvopruneError, StoreCorruptedError
from evoprune.run.problem import RecipeSource
from evoprune.store.comparison import read_comparison
from tests.fuzz.damage import damaged_bytes, damaged_documents
from tests.run.conftest import MASKS, SMALL, TINY

FEW = 12
MANY = pytest.param(150, marks=pytest.mark.slow)
CONFIGS = {"channels": SMALL, "masks": MASKS}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path_factory.mktemp("cache")))


def go_on(kind, directory):
    config = make_config(CONFIGS[kind])
    result = execute_run(config, RecipeSource(TINY, None, None, 0), directory, [Console()])
    return result.table()


@st.composite
def changed_files(draw, directory):
    """`(file, bytes)`: what to put in its place."""
    names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if is_read_back(path))
    name = draw(st.sampled_from(names))
    content = (directory / name).read_bytes()
    if name.endswith(".json") and draw(st.booleans()):
        return name, json.dumps(draw(damaged_documents(json.loads(content)))).encode()
    if name.endswith(".jsonl") and draw(st.booleans()):
        lines = draw(damaged_documents([json.loads(line) for line in content.splitlines()]))
        lines = lines if isinstance(lines, list) else [lines]
        return name, "".join(f"{json.dumps(line)}\n" for line in lines).encode()
    return name, draw(damaged_bytes(content))


def is_read_back(path):
    return (
        path.is_file()
        and path.suffix not in (".png", ".html", ".log", ".lock", ".yaml")
        and path.name != "events.jsonl"
    )


@pytest.mark.slow
@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("status", ["done", "running"])
@pytest.mark.parametrize("kind", CONFIGS)
def test_run_goes_on_or_says_what_is_damaged_whatever_a_file_holds(tmp_path, capsys, kind, status, count):
    whole = tmp_path / "whole"
    go_on(kind, whole)
    manifest = json.loads((whole / "manifest.json").read_text())
    (whole / "manifest.json").write_text(json.dumps({**manifest, "status": status}))
    if status == "running":
        (whole / "comparison.json").unlink()

    @settings(max_examples=count)
    @given(changed_files(whole))
    def never_anything_else(change):
        name, content = change
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(shutil.copytree(whole, Path(folder) / "run"))
            (directory / name).write_bytes(content)
            try:
                go_on(kind, directory)
            except EvopruneError as error:
                assert error.message  # noqa: PT017 - whether there is an error is the question

    never_anything_else()


@pytest.mark.slow
@pytest.mark.parametrize("count", [FEW, MANY])
@pytest.mark.parametrize("kind", CONFIGS)
def test_finetune_says_what_is_damaged_whatever_a_file_holds(tmp_path, capsys, kind, count):
    whole = tmp_path / "whole"
    go_on(kind, whole)

    @settings(max_examples=count)
    @given(changed_files(whole))
    def never_anything_else(change):
        name, content = change
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(shutil.copytree(whole, Path(folder) / "run"))
            (directory / name).write_bytes(content)
            try:
                done = finetune(directory, epochs=0)
            except EvopruneError as error:
                assert not (directory / "finetuned" / "manifest.json").exists(), error  # noqa: PT017 - as above
            else:
                Console().show_finetuned(read_comparison(done.directory), directory)

    never_anything_else()


@pytest.mark.slow
@pytest.mark.parametrize("kind", CONFIGS)
@pytest.mark.parametrize("lacking", ["accuracy", "macs", "loss", "sparsity", "bits"])
def test_resume_refuses_journal_lines_that_lack_what_is_needed(tmp_path, capsys, kind, lacking):
    directory = tmp_path / "run"
    go_on(kind, directory)
    lines = [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]
    for line in lines:
        line.pop(lacking, None)
        line["objectives"].pop(lacking, None)
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (directory / "steps.json").unlink(missing_ok=True)
    (directory / "evaluations.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    # Bred by their loss here, the accuracy is for people alone.
    needed = {"channels": ("loss", "macs", "bits"), "masks": ("loss", "sparsity")}
    if lacking in needed[kind]:
        with pytest.raises(StoreCorruptedError, match=f"evaluation . of the journal has no {lacking}"):
            go_on(kind, directory)
    else:
        go_on(kind, directory)
