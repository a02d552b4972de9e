"""Whole runs whose worker processes are killed, hang or run out of time in the middle of a candidate."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch

import evoprune as ep
from evoprune.nn_utils.threads import torch_threads
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.testing.tiny import tiny_recipe

RECIPE = f"{__name__}:recipe"
SIGNS = "EVOPRUNE_TEST_SIGNS"
POOL = {"executor": "process-pool", "workers": 2}
LONG_S = 600.0
LIMIT_S = 2.0


def recipe(*, seed=0):
    model, task, example_inputs = tiny_recipe(seed=seed)
    return model, ep.Task(task.train, task.select, task.test, metric=metric), example_inputs


def metric(outputs, targets):
    """Top-1; the first candidate that is scored while a sign is there does what the sign says."""
    for sign in Path(os.environ[SIGNS]).iterdir():
        try:
            sign.unlink()
        except FileNotFoundError:  # another worker was quicker
            continue
        if sign.name == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif sign.name == "hang":
            time.sleep(LONG_S)
    return outputs.argmax(dim=1) == targets


@pytest.fixture
def signs(tmp_path, monkeypatch):
    folder = tmp_path / "signs"
    folder.mkdir()
    monkeypatch.setenv(SIGNS, str(folder))
    return folder


@pytest.fixture
def run(tmp_path, small_config, signs):
    """A run; the sign, if any, is set when its search begins."""

    def start(name, sign=None, *, finetune_steps=2, **execution):
        training = {"finetune_steps": finetune_steps}
        config = small_config({"recipe": RECIPE, "training": training, "execution": execution})

        def watch(event):
            if sign is not None and (type(event).__name__, getattr(event, "stage", "")) == ("StageStarted", "search"):
                (signs / sign).touch()

        execute(config, RecipeSource(RECIPE, None, None, 0), tmp_path / name, (watch,))
        return tmp_path / name

    return start


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


def journal(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def result(directory):
    return [(directory / name).read_bytes() for name in ("evaluations.jsonl", "artifact/model.safetensors")]


@pytest.mark.slow
def test_run_comes_to_the_same_when_a_worker_is_killed_in_the_middle_of_a_candidate(run):
    disturbed = run("disturbed", "kill", **POOL)
    assert [line["retried"] for line in events(disturbed, "WorkerDied")] == [True]
    assert sum(line["cost"]["retries"] for line in events(disturbed, "CandidateEvaluated")) == 1
    assert result(disturbed) == result(run("undisturbed"))


@pytest.mark.slow
@pytest.mark.parametrize("execution", [{}, POOL], ids=["in-process", "process-pool"])
def test_run_goes_on_without_the_candidate_that_hangs(run, execution):
    # Without fine-tuning: the first optimiser of a process imports parts of torch, which can take longer than this limit.
    directory = run("hanging", "hang", finetune_steps=0, candidate_time_limit=LIMIT_S, **execution)
    failed = [line for line in journal(directory) if line["status"] == "failed"]
    assert [line["reason"] for line in failed] == [f"took longer than {LIMIT_S:g} s"]
    told = events(directory, "CandidateTimedOut")
    assert [(line["genome"], line["limit_s"]) for line in told] == [(failed[0]["genome"], LIMIT_S)]
    assert events(directory, "WorkerDied") == []
    assert json.loads((directory / "comparison.json").read_text())["pruned"]["genome"] != failed[0]["genome"]


def test_run_says_how_to_limit_candidates_when_it_is_not_in_the_main_thread(run):
    said = []

    def start():
        try:
            run("aside", candidate_time_limit=LIMIT_S)
        except ep.errors.UsageError as error:
            said.append(error)

    with torch_threads(torch.get_num_threads()):
        thread = threading.Thread(target=start)
        thread.start()
        thread.join()
    assert ["process-pool" in error.hint for error in said] == [True]
