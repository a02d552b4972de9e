"""Stall, target, candidates and time: when a search ends before its last generation, and that a resumed one ends there, too."""

import json
import math
import time

import pytest

from evoprune.config.schema import make_config
from evoprune.errors import ConfigError
from evoprune.results import Evaluation, Status
from evoprune.run.factories.common import ends_of
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.run.stop_rules import Progress
from evoprune.run.time_budget import RESERVE, TimeBudget
from evoprune.store.journal import JournalEntry
from evoprune.store.run_directory import RunStore
from tests.run.conftest import TINY
from tests.run.mask_directories import contents as mask_contents
from tests.run.mask_directories import events, journal, steps


def entry(index, generation, fitness, *, status=Status.OK, violation=0.0, **values):
    evaluation = Evaluation(f"{index:032x}", 0, status, {"accuracy": fitness, **values}, violation)
    return JournalEntry(index, generation, None, evaluation, None if status is Status.FAILED else fitness)


def progress(entries, **run):
    one = Progress(ends_of(make_config({"run": run})), {"accuracy": 1.0, "macs": 1000.0})
    one.take(entries)
    return one.verdict()


@pytest.mark.parametrize(
    ("fitness", "patience", "stalled"),
    [
        ([0.1, 0.2, 0.3], 1, False),
        ([0.1, 0.2, 0.2], 1, True),
        ([0.1, 0.3, 0.2, 0.2], 3, False),
        ([0.1, 0.3, 0.2, 0.2, 0.3], 3, True),
        ([0.3, 0.2, 0.4, 0.3], 2, False),
        ([], 1, False),
    ],
)
def test_search_has_stalled_after_so_many_generations_without_a_better_candidate(fitness, patience, stalled):
    entries = [entry(index, index, value) for index, value in enumerate(fitness)]
    assert bool(progress(entries, stall_generations=patience)) == stalled


def test_coming_nearer_to_the_constraints_is_no_stall():
    broken = {"status": Status.INFEASIBLE}
    entries = [entry(0, 0, 0.9, violation=0.5, **broken), entry(1, 1, 0.5, violation=0.3, **broken), entry(2, 2, 0.1)]
    assert progress(entries, stall_generations=1) == ""
    assert progress([*entries, entry(3, 3, 0.9, violation=0.1, **broken)], stall_generations=1) != ""


@pytest.mark.parametrize(
    ("target", "values", "reached"),
    [
        (["accuracy>=0.9"], {"macs": 900.0}, True),
        (["accuracy>=0.95"], {"macs": 900.0}, False),
        (["accuracy>=0.9", "macs<=0.5"], {"macs": 501.0}, False),
        (["accuracy>=0.9", "macs<=0.5"], {"macs": 500.0}, True),
        (["accuracy>=0.9", "macs<=0.5"], {}, False),
    ],
)
def test_target_is_reached_when_one_candidate_keeps_every_bound(target, values, reached):
    assert bool(progress([entry(0, 0, 0.92, **values)], target=target)) == reached
    assert progress([entry(0, 0, 0.92, status=Status.INFEASIBLE, **values)], target=target) == ""


LONG = {"ga": {"pop_size": 4, "num_generations": 12}}


@pytest.fixture
def run(tmp_path, small_config):
    def start(name="run", *, listeners=(), **sections):
        config = small_config(LONG, sections)
        execute(config, RecipeSource(TINY, None, None, 0), tmp_path / name, listeners)
        return tmp_path / name

    return start


@pytest.mark.slow
def test_run_ends_after_so_many_candidates_and_says_so(run):
    directory = run(run={"max_candidates": 10})
    assert [line["generation"] for line in journal(directory)] == [0] * 4 + [1] * 4 + [2] * 2
    (decision,) = [one for one in events(directory, "Decision") if one["what"] == "stop rule"]
    assert decision["detail"] == "the search stops before generation 3: 10 candidates, run.max_candidates is 10"


@pytest.mark.slow
def test_run_ends_when_its_search_stalls_and_the_front_is_what_was_found(run):
    lines = journal(run(run={"stall_generations": 1}, search={"algorithm": "genetic"}))
    best, generations = -math.inf, []
    for generation in range(lines[-1]["generation"] + 1):
        fitness = max(line["fitness"] for line in lines if line["generation"] == generation)
        generations.append(fitness > best)
        best = max(best, fitness)
    assert generations == [True] * (len(generations) - 1) + [False]
    assert len(generations) < 12


@pytest.mark.slow
def test_run_ends_with_the_generation_that_reaches_the_target(run):
    lines = journal(run("whole", ga={"num_generations": 3}))
    best = max(line["objectives"]["accuracy"] for line in lines)
    dense = json.loads((run("whole", ga={"num_generations": 3}) / "manifest.json").read_text())["dense"]["accuracy"]
    first = next(line["generation"] for line in lines if line["objectives"]["accuracy"] == best)
    target = [f"accuracy>={100 * best / dense - 0.001:.6f}%"]
    assert journal(run("stopped", run={"target": target}))[-1]["generation"] == first


class Stopped(BaseException):
    """Ends a run as a signal would."""


def stop_at(candidate):
    def listen(event):
        if getattr(event, "index", None) == candidate and not event.replayed:
            raise Stopped

    return listen


RULES = [{"max_candidates": 10}, {"stall_generations": 1}, {"target": ["accuracy>=0.01"]}, {"time_budget": 0.001}]


@pytest.mark.slow
@pytest.mark.parametrize("rule", RULES, ids=str)
@pytest.mark.parametrize("candidate", [1, 3])
def test_resumed_run_ends_where_it_would_have_ended(run, rule, candidate):
    whole = run("whole", run=rule)
    with pytest.raises(Stopped):
        run("stopped", listeners=(stop_at(candidate),), run=rule)
    stopped = run("stopped", run=rule)
    for name in ("evaluations.jsonl", "artifact/model.safetensors", "artifact/plan.json"):
        assert (stopped / name).read_bytes() == (whole / name).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "independent"])
@pytest.mark.parametrize(
    "rule", [{"max_candidates": 5}, {"stall_generations": 1}, {"target": ["accuracy>=0.01"]}], ids=str
)
def test_mask_run_keeps_the_rules_and_a_resumed_one_as_well(mask_run, tmp_path, rule, mode):
    sections = {"run": rule, "ga": {"num_generations": 6}, "masks": {"mode": mode}}
    whole = mask_run("whole", **sections)
    with pytest.raises(Stopped):
        mask_run("stopped", listeners=(stop_at(3),), **sections)
    assert mask_contents(mask_run("stopped", **sections)) == mask_contents(whole)
    lines, records = journal(whole), steps(whole)
    if "max_candidates" in rule:
        # A generation and a quarter, or two passes over three layers.
        assert (len(lines), len(records)) == ((5, 1) if mode == "whole" else (6, 2))
    else:
        assert len(records) == 2
    if "target" in rule:
        assert {row["generation"] for line in lines for row in line.get("history", [line])} == {0}


def test_time_budget_counts_the_time_of_earlier_processes(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        first = TimeBudget(100.0, time.perf_counter() - 60, store, lambda event: None)
        first._kept -= 60
        first.watch(None)
        assert first(1)
    with RunStore(tmp_path, {}, "") as store:
        assert 60 <= store.manifest.spent_s < 75
        second = TimeBudget(100.0, time.perf_counter() - 100 * (1 - RESERVE) + 60, store, lambda event: None)
        assert [second(0), second(1, begun=True), second(2)] == [True, True, False]


def test_generation_does_not_begin_when_one_like_the_last_would_take_too_long(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(100.0, time.perf_counter() - 20, store, lambda event: None)
        assert budget(0)
        budget._started -= 25
        assert budget(1)  # 45 s, and 25 for another one
        budget._started -= 25
        assert not budget(2)  # 70 s, and 25


def test_replayed_generations_say_nothing_of_how_long_the_next_one_takes(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(100.0, time.perf_counter(), store, lambda event: None)
        assert budget(0)
        budget._started -= 30
        assert budget(1)
    with RunStore(tmp_path, {}, "") as store:
        resumed = TimeBudget(100.0, time.perf_counter() - 50, store, lambda event: None)
        assert [resumed(0, begun=True), resumed(1, begun=True), resumed(2)] == [True, True, False]  # 50 s, and 30


@pytest.mark.parametrize(
    ("spent_s", "wanted", "share", "epochs"),
    [
        (50, 4, 0.9, 4.0),
        (50, 8, 0.9, 4.5),
        (50, 8, 0.5, 2.5),
        (90, 8, 0.9, 1.0),
        (500, 8, 0.9, 1.0),
        (500, 0.5, 0.9, 0.5),
        (500, 0, 0.9, 0),
    ],
)
def test_training_is_cut_to_what_is_left_of_the_time_and_to_one_epoch_at_most(tmp_path, spent_s, wanted, share, epochs):
    told = []
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(100.0, time.perf_counter() - spent_s, store, told.append)
        assert budget.epochs("training", wanted, lambda: 10.0, share=share) == pytest.approx(epochs, abs=0.02)
    assert [event.what for event in told] == (["time budget"] if epochs < wanted else [])


def test_training_that_was_cut_is_as_short_at_a_resume_and_that_of_another_name_is_not(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(100.0, time.perf_counter() - 50, store, lambda event: None)
        cut = budget.epochs("the last", 8, lambda: 10.0)
        assert budget.epochs("another", 3, lambda: 10.0) == 3
    with RunStore(tmp_path, {}, "") as store:
        resumed = TimeBudget(100.0, time.perf_counter(), store, lambda event: None)
        assert resumed.epochs("the last", 8, lambda: pytest.fail("measured again")) == cut
        assert resumed.epochs("another", 3, lambda: pytest.fail("measured again")) == 3


def test_without_a_budget_nothing_is_measured(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(None, time.perf_counter(), store, lambda event: None)
        assert budget.epochs("training", 8, lambda: pytest.fail("measured")) == 8
        assert store.manifest.epochs_in_time == {}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_run_with_hardly_any_time_ends_with_a_model_that_was_trained_an_epoch(run, mask_run, tmp_path, kind):
    sections = {"run": {"time_budget": 0.001}, "training": {"retrain_epochs": 500}}
    directory = run(**sections) if kind == "channels" else mask_run(**sections, masks={"retrain_epochs": 400})
    ended = [line for line in events(directory, "EpochEnded") if line["stage"] == "retrain"]
    assert len(ended) == (1 if kind == "channels" else 2)
    cuts = [line["detail"] for line in events(directory, "Decision") if "cut to" in line["detail"]]
    assert cuts[-1] == "the last retraining is cut to 1 of 500 epochs"
    assert {line["generation"] for line in journal(directory)} == {0}


def test_time_is_not_kept_when_there_is_no_budget(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        budget = TimeBudget(None, time.perf_counter() - 60, store, lambda event: None)
        budget._kept -= 60
        budget.watch(None)
        assert store.manifest.spent_s is None


def test_target_must_be_about_what_is_measured(run, mask_run, tmp_path):
    with pytest.raises(
        ConfigError, match=r"run\.target: 'params' is not measured; of each candidate there are macs, loss, accuracy"
    ):
        run(run={"target": ["params<=0.5"]})
    with pytest.raises(ConfigError, match=r"run\.target: 'macs' is not measured"):
        mask_run(run={"target": ["macs<=0.5"]})
    with pytest.raises(ConfigError, match=r"run\.target: constraint 'accuracy' is not of the form"):
        run(run={"target": ["accuracy"]})
    assert list(tmp_path.iterdir()) == []
