"""The how-to pages run: every Python block of a page, from top to bottom, on a model and task of one's own."""

import re
from pathlib import Path

import pytest

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

HOW_TO = Path(__file__).parents[1] / "docs/how-to"


@pytest.mark.slow
def test_code_of_the_page_on_masks_runs_as_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    names = {"model": model.eval(), "task": task, "example_inputs": example_inputs}
    text = (HOW_TO / "weight-masks.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "docs/how-to/weight-masks.md", "exec"), names)
    assert len(blocks) == 4
    assert "sparsity of weights" in capsys.readouterr().out
    assert (tmp_path / "runs/mine/finetuned/model.json").is_file()


@pytest.mark.slow
def test_code_of_the_page_on_reading_a_run_finishes_a_point_of_a_run_that_was_started_from_python(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    settings = {
        "ga": {"pop_size": 8, "num_generations": 2},
        "training": {"epochs": 1, "retrain_epochs": 1, "finetune_steps": 2},
        "search": {"round_to": 1},
        "execution": {"training_threads": 1},
    }
    ep.evolve(model, task, example_inputs, config=settings, out="runs/mine")
    names = {"model": model, "task": task, "example_inputs": example_inputs}
    (block,) = re.findall(r"^```python\n(.*?)^```", (HOW_TO / "read-a-run.md").read_text(), re.DOTALL | re.MULTILINE)
    exec(compile(block, "docs/how-to/read-a-run.md", "exec"), names)
    assert (names["small"].directory / "model.json").is_file()


@pytest.mark.slow
def test_code_of_the_page_on_going_on_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    names = {"ep": ep, "model": model.eval(), "task": task, "example_inputs": example_inputs}
    text = (HOW_TO / "retarget.md").read_text()
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    for block in blocks:
        exec(compile(block, "docs/how-to/retarget.md", "exec"), names)
    assert len(blocks) == 1
    assert (tmp_path / "runs/quarter/start.json").is_file()


@pytest.mark.slow
def test_code_of_the_page_on_watching_a_run_hears_of_its_generations(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    names = {"model": model.eval(), "task": task, "example_inputs": example_inputs}
    pytest.importorskip("tensorboard", reason="the page shows TensorBoard")
    text = (HOW_TO / "watch-a-run.md").read_text()
    for block in re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
        exec(compile(block, "docs/how-to/watch-a-run.md", "exec"), names)
    assert len(names["best"]) > 1


@pytest.mark.slow
def test_code_of_the_page_on_own_trainings_runs_as_printed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, task, example_inputs = tiny_recipe()
    names = {"model": model.eval(), "task": task, "example_inputs": example_inputs}
    (block,) = re.findall(
        r"^```python\n(.*?)^```", (HOW_TO / "train-as-you-do.md").read_text(), re.DOTALL | re.MULTILINE
    )
    exec(compile(block, "docs/how-to/train-as-you-do.md", "exec"), names)
    assert names["result"].comparison["pruned"]["macs"] <= 0.5 * names["result"].comparison["baseline"]["macs"]
