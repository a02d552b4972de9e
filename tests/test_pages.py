"""README, start page and guides run: their Python from top to bottom, and the start page's commands in the order of the page."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from evoprune.cli.app import app
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import tiny_recipe

ROOT = Path(__file__).parents[1]
TINY = "evoprune.testing.tiny:tiny_recipe"
QUICK = ["ga.pop_size=8", "ga.num_generations=2", "training.epochs=1", "training.retrain_epochs=1", "search.round_to=1"]

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(tmp_path)  # as the command line does with its folder
    return tmp_path


def blocks(page, language=r"\w*"):
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


def run_python(page, names):
    with isolated_rng(0):
        for block in blocks(page, "python"):
            exec(compile(block, page, "exec"), names)
    return names


def run_command(line):
    done = CliRunner().invoke(app, shlex.split(line)[1:], catch_exceptions=False)
    assert done.exit_code == 0, done.output


@pytest.mark.parametrize("page", ["README.md", "docs/guide/concepts.md", "docs/guide/budgets.md"])
def test_python_of_a_page_runs_as_printed(page, folder):
    model, task, example_inputs = tiny_recipe()
    sets = {"train_loader": task.train, "val_loader": task.select, "test_loader": task.test}
    names = run_python(page, {"model": model, "task": task, "example_inputs": example_inputs, **sets})
    pruned, baseline = (names["result"].comparison[key] for key in ("pruned", "baseline"))
    assert pruned["macs"] <= 0.5 * baseline["macs"]


def test_start_page_leads_from_a_run_to_its_file_in_onnx_runtime(folder, onnx_installed):
    lines = [line.split("  #")[0].strip() for block in blocks("docs/index.md") for line in block.splitlines()]
    first, *others, init, own = [line for line in lines if line.startswith("evoprune ")]
    sets = " ".join(f"--set {one}" for one in (*QUICK, "execution.training_threads=1"))
    run_command(f"{first.replace('mnist-cnn', TINY)} {sets}")
    assert (folder / "runs/first/report.html").is_file()
    for line in others:
        run_command(line)
    assert len(list((folder / "runs/first/points").iterdir())) == 1
    names = run_python("docs/index.md", {})
    assert names["logits"].shape == (2, 4)
    assert names["small"].conv1.out_channels <= 8
    run_command(init)
    run_command(f"{own} --dry-run")
