"""Whole runs on the search ladder: budgets kept, weights inherited, resumed to the byte."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.errors import ConfigError, StoreCorruptedError, UsageError
from evoprune.report.summary import text_table
from evoprune.run.factories.common import training_plan
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.run.rungs import LadderShape
from evoprune.store.comparison import read_comparison
from evoprune.testing.executor_jobs import TINY
from evoprune.testing.tiny import tiny_recipe
from tests.run.conftest import SMALL

CPU = torch.device("cpu")
JOURNAL = "evaluations.jsonl"
SETTINGS = {
    "search": {
        "constraints": ["macs<=0.4"],
        "round_to": 1,
        "criteria": ["l1", "taylor"],
        "criteria_samples": 64,
        "baselines": "best",
    },
    "ga": {"pop_size": 8, "num_generations": 3},
    "training": {"finetune_steps": 2, "retrain_epochs": 1},
}


@pytest.fixture
def run(tmp_path, small_config):
    def start(name="run", **sections):
        config = small_config(SETTINGS, sections)
        execute(config, RecipeSource(TINY, None, None, config.run.seed), tmp_path / name)
        return tmp_path / name

    return start


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The directory of one finished run, for tests that only read it."""
    folder = tmp_path_factory.mktemp("whole")
    config = make_config(SMALL, SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOPRUNE_CACHE", str(folder / "cache"))
        execute(config, RecipeSource(TINY, None, None, config.run.seed), folder / "run")
    return folder / "run"


def lines(directory):
    return [json.loads(line) for line in (directory / JOURNAL).read_text().splitlines()]


def events(directory, kind):
    found = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return [one for one in found if one["event"] == kind]


def test_every_candidate_keeps_the_budget_and_later_ones_go_on_from_trained_weights(whole):
    journal = lines(whole)
    dense = json.loads((whole / "comparison.json").read_text())["baseline"]["macs"]
    assert all(line["status"] == "ok" and line["objectives"]["macs"] <= 0.4 * dense for line in journal)
    states = {line["state"] for line in journal}
    assert all(line["start"] in states for line in journal if line["generation"] > 0)
    assert not any("start" in line for line in journal if line["generation"] == 0)


def test_only_weights_that_somebody_may_go_on_from_are_kept(whole):
    last = {line["state"] for line in lines(whole) if line["generation"] == 2}
    assert {path.stem for path in (whole / "states").glob("*.safetensors")} == last


def test_scores_of_one_rung_are_of_the_same_samples_and_the_finished_network_of_the_last_rung(whole):
    chosen = json.loads((whole / "comparison.json").read_text())["pruned"]["genome"]
    last = [line for line in lines(whole) if line["generation"] == 2]
    assert chosen == max(last, key=lambda line: line["fitness"])["genome"]
    assert all(line["rung"] == line["generation"] for line in lines(whole))


def test_best_criterion_is_finished_alike_and_compared(run, whole):
    found = json.loads((whole / "comparison.json").read_text())
    assert found["criterion"]["gain"] == pytest.approx(found["pruned"]["accuracy"] - found["criterion"]["accuracy"])
    assert found["criterion"]["criterion"].split()[1] in ("global", "uniform")
    assert "criterion" not in json.loads((run("alone", search={"baselines": "none"}) / "comparison.json").read_text())


def test_network_that_is_the_best_criterions_own_cut_is_trained_once(run):
    directory = run(search={"criteria": ["l1"]}, ga={"pop_size": 2, "num_generations": 1, "elitism": 0})
    found = json.loads((directory / "comparison.json").read_text())
    assert found["criterion"]["genome"] == found["pruned"]["genome"]
    assert found["criterion"]["gain"] == 0
    assert len([one for one in events(directory, "StageEnded") if one["stage"] == "retrain"]) == 1
    assert "evolution found no better one" in text_table(read_comparison(directory))


def test_run_without_a_budget_gives_a_front_from_slight_cuts_to_deep_ones(run):
    directory = run(search={"constraints": []})
    front = json.loads((directory / "comparison.json").read_text())["front"]
    macs = [point["macs"] for point in front]
    assert len(front) >= 4
    assert max(macs) > 2 * min(macs)
    assert all(one["hypervolume"] is not None for one in events(directory, "GenerationEnded"))


@pytest.mark.slow
def test_journal_is_the_same_with_one_worker_here_and_two_in_processes(run, whole):
    two = run("two", execution={"workers": 2, "executor": "process-pool"})
    assert (whole / JOURNAL).read_bytes() == (two / JOURNAL).read_bytes()


@pytest.mark.parametrize("kept", [3, 10, pytest.param(15, marks=pytest.mark.slow)])
def test_run_cut_short_anywhere_is_resumed_to_the_byte(run, whole, tmp_path, kept):
    """What a kill leaves: a part of the journal, with the states that were there when it was written."""
    begun = tmp_path / "begun"
    shutil.copytree(whole, begun)
    known = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    (begun / JOURNAL).write_bytes(b"".join(known[:kept]))
    _as_unfinished(begun)
    (begun / "states").mkdir(exist_ok=True)
    _with_states_of(begun, run, tmp_path, kept)
    again = run("begun")
    for name in (JOURNAL, "artifact/model.safetensors", "artifact/plan.json"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


def _as_unfinished(directory):
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["status"] = "running"
    (directory / "manifest.json").write_text(json.dumps(manifest))
    (directory / "comparison.json").unlink()
    shutil.rmtree(directory / "artifact")
    (directory / "artifact").mkdir()


def _with_states_of(begun, run, tmp_path, kept):
    """The states that a run had on disk after `kept` lines: those of a run that was stopped there by the number of candidates."""
    shutil.rmtree(begun / "states")
    stopped = run(f"stopped-{kept}", run={"max_candidates": kept})
    shutil.copytree(stopped / "states", begun / "states")


def test_missing_weights_are_told_with_the_name_of_the_file(run, whole, tmp_path):
    begun = Path(shutil.copytree(whole, tmp_path / "begun"))
    known = (whole / JOURNAL).read_bytes().splitlines(keepends=True)
    (begun / JOURNAL).write_bytes(b"".join(known[:8]))
    _as_unfinished(begun)
    with pytest.raises(StoreCorruptedError, match="can't read the state"):
        run("begun")


def test_unreachable_budget_is_refused_before_any_training(run, tmp_path):
    with pytest.raises(UsageError, match=r"no choice of widths keeps macs<=.* at least"):
        run("never", search={"constraints": ["macs<=0.001"]})
    assert not any((tmp_path / "never").iterdir())


def test_bounds_that_contradict_each_other_are_refused(run):
    with pytest.raises(ConfigError, match="contradict each other"):
        run(search={"constraints": ["macs<=0.3", "macs>=0.5"]})


def test_search_takes_its_share_of_the_compute():
    for share, retraining in ((0.25, 300_000), (0.1, 2_000_000), (0.5, 60_000)):
        rungs = LadderShape(24, 6, True, share).rungs(retraining=retraining, batch_size=64, select=6000)
        spent = sum(rung.passes(64) for rung in rungs)
        assert 0.8 * share < spent / (spent + 3 * retraining) <= share + 1e-9
        assert [rung.candidates for rung in rungs] == sorted((rung.candidates for rung in rungs), reverse=True)
        assert np.all(np.diff([rung.steps for rung in rungs]) >= 0)


def test_a_front_keeps_enough_candidates_to_choose_from_however_little_compute_there_is():
    for retraining in (20_000, 60_000, 500_000):
        rungs = LadderShape(32, 6, False, 0.25).rungs(retraining=retraining, batch_size=64, select=6000)
        assert len(rungs) >= 3
        assert all(24 <= rung.candidates <= 32 for rung in rungs)
    few = LadderShape(10, 6, False, 0.25).rungs(retraining=20_000, batch_size=64, select=6000)
    assert {rung.candidates for rung in few} == {10}


@pytest.mark.parametrize("shrinks", [False, True])
@pytest.mark.parametrize("steps", [None, 4])
def test_learning_rate_falls_over_the_rungs(small_config, shrinks, steps):
    learning = {"finetune_lr": 0.01, "finetune_batch_size": 16, "retrain_lr": 0.1, "retrain_optimizer": "sgd"}
    training = training_plan(small_config({"training": learning}))
    rungs = LadderShape(24, 6, shrinks, 0.25, steps).rungs(retraining=500_000, batch_size=64, select=6000)
    schedules = [training.fidelity_of(rung).schedule for rung in rungs]
    rates = [0.1, 0.081, 0.062, 0.043, 0.024, 0.005] if shrinks else [0.01, 0.0084, 0.0068, 0.0052, 0.0036, 0.002]
    assert [one.lr for one in schedules] == pytest.approx(rates)
    assert {(one.optimizer, one.batch_size) for one in schedules} == {("sgd" if shrinks else "adamw", 16)}


def test_cuts_of_criteria_are_named_in_the_journal_and_nothing_else_is(run):
    directory = run(search={"constraints": []})
    lines = [json.loads(one) for one in (directory / JOURNAL).read_text().splitlines()]
    named = [one.get("criterion") for one in lines if one["generation"] == 0]
    assert named[0] == "l1 global 70 %"
    assert 0 < sum(one is not None for one in named) <= 6  # three quarters of eight, equal ones once
    assert all("criterion" not in one for one in lines if one["generation"] > 0)


def test_points_of_the_front_have_the_weights_that_the_search_trained(tmp_path):
    model, task, example_inputs = tiny_recipe()
    small = {"criteria": ["l1"], "baselines": "none"}
    config = {"ga": {"pop_size": 4, "num_generations": 2}, "training": SETTINGS["training"], "search": small}
    config["execution"] = {"isolation": "none", "executor": "in-process"}
    result = ep.evolve(model, task, example_inputs, config=config, out=tmp_path / "run")
    for point in result.front[:2]:
        with torch.inference_mode():
            losses = [task.loss(point.model(images), labels) for images, labels in task.val.batches(256, device=CPU)]
        assert float(sum(losses) / len(losses)) == pytest.approx(point.objectives["loss"], rel=1e-5)
