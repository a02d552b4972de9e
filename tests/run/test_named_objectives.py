"""Runs whose objectives are other than accuracy and MACs: from the settings to front, figures and resume."""

import json
import shutil
from functools import partial

import pytest

import evoprune as ep
from evoprune.channels.latency.measure import Effort, measure_latency
from evoprune.errors import UsageError
from evoprune.metrics import PerSample
from evoprune.report.summary import comparison_rows, text_table
from evoprune.run import latency_tables
from evoprune.run.factories.runs import execute
from evoprune.run.problem import LiveSource, Problem, RecipeSource
from evoprune.store.comparison import read_comparison
from evoprune.testing.tiny import tiny_recipe
from tests.run.conftest import TINY
from tests.run.mask_directories import events, journal

OWN = "tests.run.own_objectives"
LOSS_AND_PARAMS = {
    "search": {
        "objectives": ["loss", "params"],
        "algorithm": "nsga2",
        "constraints": ["params<=0.8"],
        "also_measure": [],
        "baselines": "none",
    }
}


@pytest.fixture
def started(tmp_path, small_config):
    """Runs the tiny recipe, or another problem, with some settings; gives the directory."""

    def start(name="run", *, source=None, listeners=(), **sections):
        config = small_config({"recipe": None} if source else {}, sections)
        execute(config, source or RecipeSource(TINY, None, None, config.run.seed), tmp_path / name, listeners)
        return tmp_path / name

    return start


def ok(directory):
    return [line for line in journal(directory) if line["status"] == "ok"]


def test_run_for_loss_and_params_measures_nothing_else_of_its_candidates(started):
    directory = started(**LOSS_AND_PARAMS)
    lines = journal(directory)
    assert {tuple(line["objectives"]) for line in lines} <= {("params",), ("params", "loss")}
    assert {tuple(line["objectives"]) for line in ok(directory)} == {("params", "loss")}
    dense = json.loads((directory / "manifest.json").read_text())["dense"]
    assert set(dense) == {"loss", "params"}
    for line in ok(directory):
        gains = [1 - line["objectives"][name] / dense[name] for name in dense]
        assert line["fitness"] == pytest.approx(sum(gains) / 2)
        assert line["objectives"]["params"] <= 0.8 * dense["params"]


def test_front_and_figures_are_of_what_was_searched_for(started):
    directory = started(**LOSS_AND_PARAMS)
    comparison = read_comparison(directory)
    assert comparison.objectives == ("loss", "params")
    assert [set(point.figures) for point in comparison.front] == [{"loss", "params"}] * len(comparison.front)
    losses = [point.figures["loss"] for point in comparison.front]
    sizes = [point.figures["params"] for point in comparison.front]
    assert losses == sorted(losses)
    assert sizes == sorted(sizes, reverse=True)
    assert {"accuracy", "params", "macs", "loss"} <= set(comparison.pruned.figures)
    assert [row[0] for row in comparison_rows(comparison)][-1] == "loss"
    assert json.loads((directory / "manifest.json").read_text())["test_set_reads"] == 2


def test_resumed_run_for_other_objectives_is_the_run_without_a_break(started, tmp_path):
    whole = started(**LOSS_AND_PARAMS)
    started("cut", **LOSS_AND_PARAMS)
    cut = tmp_path / "cut"
    lines = (whole / "evaluations.jsonl").read_text().splitlines(keepends=True)
    (cut / "evaluations.jsonl").write_text("".join(lines[:5]))
    manifest = json.loads((cut / "manifest.json").read_text())
    (cut / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (cut / "comparison.json").unlink()
    shutil.rmtree(cut / "artifact")
    started("cut", **LOSS_AND_PARAMS)
    assert (cut / "evaluations.jsonl").read_text() == "".join(lines)
    assert read_comparison(cut).front == read_comparison(whole).front


def test_run_stops_at_a_target_that_is_a_loss(started):
    directory = started(
        search={"objectives": ["loss", "params"]}, run={"target": "loss<=+9.5"}, ga={"num_generations": 4}
    )
    assert len({line["generation"] for line in journal(directory)}) == 1
    (told,) = [line["detail"] for line in events(directory, "Decision") if line["what"] == "stop rule"]
    assert "has reached the target" in told


def test_run_for_latency_and_an_objective_of_the_users_own_works_end_to_end(started, monkeypatch):
    little = Effort(rounds=1, layers_s=0.0, networks_s=0.0, fitted=3, held_out=1)
    monkeypatch.setattr(latency_tables, "measure_latency", partial(measure_latency, effort=little))
    directory = started(
        search={
            "objectives": ["latency_ms", f"{OWN}:WidestLayer"],
            "algorithm": "nsga2",
            "constraints": ["widest_layer<=7"],
            "also_measure": [],
        },
        ga={"pop_size": 6},
        training={"finetune_steps": 0},
    )
    comparison = read_comparison(directory)
    assert comparison.objectives == ("latency_ms", "widest_layer")
    assert all(point.figures["widest_layer"] <= 7 for point in comparison.front)
    assert {name for line in journal(directory) for name in line["objectives"]} == {"latency_ms", "widest_layer"}
    assert (directory / "artifact/model.safetensors").is_file()


def test_metric_is_not_called_on_candidates_that_are_bred_by_loss(started):
    calls = []

    def metric(outputs, targets):
        calls.append(len(targets))
        return (outputs.argmax(1) == targets).float()

    model, task, example = tiny_recipe()
    own = ep.Task(task.train, task.val, task.test, metric=PerSample(metric, "counted"))
    source = LiveSource(Problem(model, own, example))
    started(source=source, **LOSS_AND_PARAMS)
    # A first look at a batch of two sets, the dense network after its training, and both finished models on test.
    assert sum(calls) == 2 * 32 + 64 + 2 * 128


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ({"objectives": ["sparsity", "params"]}, "'sparsity' is a measure of weight masks"),
        ({"constraints": ["layer_sparsity>=0.5"]}, "'layer_sparsity' is a measure of weight masks"),
        ({"objectives": [f"{OWN}:Missing"]}, "has no 'Missing'"),
    ],
    ids=str,
)
def test_objective_that_a_run_of_channels_has_not_is_refused_before_there_is_a_directory(
    started, tmp_path, search, said
):
    with pytest.raises(UsageError, match=said):
        started(search=search)
    assert not (tmp_path / "run").exists()


def test_masks_are_searched_for_objectives_of_the_users_own(mask_run):
    objectives = ["loss", f"{OWN}:Confidence", f"{OWN}:DeadFilters"]
    search = {"objectives": objectives, "algorithm": "nsga2", "constraints": ["dead_filters<=7"]}
    directory = mask_run(search=search, masks={"goals": [0.5]})
    values = [line["objectives"] for line in journal(directory)]
    assert all({"confidence", "dead_filters", "loss", "sparsity", "accuracy"} <= set(one) for one in values)
    assert all(0.25 <= one["confidence"] <= 1 and 0 <= one["dead_filters"] <= 7 for one in values)
    finished = read_comparison(directory)
    for model in (finished.baseline, finished.pruned):
        assert {"loss", "confidence", "dead_filters"} <= set(model.figures)
    assert finished.baseline.figures["dead_filters"] == 0
    assert "confidence" in text_table(finished)


@pytest.mark.parametrize(("w_loss", "wanted"), [(0.0, "gain"), (1.0, "loss")])
def test_fitness_is_what_the_weights_say_where_they_are_about_what_is_searched(started, w_loss, wanted):
    directory = started(
        search={"objectives": ["loss"] if w_loss else ["loss", "params"]}, fitness={"w_macs": 0, "w_loss": 1}
    )
    fitness = [line["fitness"] for line in ok(directory)]
    losses = [-line["objectives"]["loss"] for line in ok(directory)]
    assert (fitness == pytest.approx(losses)) == (wanted == "loss")
