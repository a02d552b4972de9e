import json
import os

import numpy as np
import pytest
import torch

import evoprune as ep
from evoprune.errors import RunError
from evoprune.evaluation import masks as evaluate_masks
from evoprune.objectives.accuracy import score
from evoprune.run import mask_training
from evoprune.run.mask_figures import Figures
from evoprune.store.mask_files import read_masks
from evoprune.store.solutions import read_solutions
from evoprune.store.states import StateFolder
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.masks.zeros import sparsity_of
from tests.run.mask_directories import comparison, contents, events, journal, live, masks, steps

CPU = torch.device("cpu")
WEIGHTS = 216 + 576 + 128
"""Of the tiny network: conv1, conv2, fc."""


def zeros_of(directory, step):
    """`{weight name: bool array}`, True where the network after a step is zero."""
    weights = StateFolder(directory).get(step["state"]).weights
    return {name: weights[name].numpy() == 0 for name in ("conv1.weight", "conv2.weight", "fc.weight")}


@pytest.mark.slow
def test_mask_run_meets_every_goal_exactly_and_only_ever_prunes(mask_run):
    directory = mask_run(masks={"goals": [0.3, 0.5, 0.61]})
    first, second, third = (zeros_of(directory, step) for step in steps(directory))
    assert [step["sparsity"] for step in steps(directory)] == [
        pytest.approx((WEIGHTS - round((1 - goal) * WEIGHTS)) / WEIGHTS, abs=1e-12) for goal in (0.3, 0.5, 0.61)
    ]
    assert all((first[name] <= second[name]).all() and (second[name] <= third[name]).all() for name in first)
    for step, zeros in zip(steps(directory), (first, second, third), strict=True):
        assert sum(one.sum() for one in zeros.values()) == round(step["sparsity"] * WEIGHTS)


def test_mask_run_leaves_zeros_exactly_zero_in_the_artifact(mask_run):
    directory = mask_run()
    model = ep.load(directory / "artifact")
    parameters = dict(model.named_parameters())
    for name, kept in masks(directory).items():
        assert (parameters[name].detach().numpy()[~kept] == 0).all()
    assert sparsity_of(model) == comparison(directory)["pruned"]["sparsity"] == steps(directory)[-1]["sparsity"]


@pytest.mark.slow
def test_solutions_are_the_masks_of_the_artifact(mask_run):
    directory = mask_run(masks={"mode": "layers"})
    solved = read_solutions(directory / "solutions")
    assert sorted(path.stem for path in (directory / "solutions").iterdir()) == ["conv1", "conv2", "fc"]
    assert {name: mask.bools.tobytes() for name, mask in solved.masks.items()} == {
        name: mask.tobytes() for name, mask in masks(directory).items()
    }


def test_comparison_tells_what_the_loaded_artifact_shows(mask_run):
    directory = mask_run()
    document, (_, task, example_inputs) = comparison(directory), tiny_recipe()
    model = ep.load(directory / "artifact")
    pruned = document["pruned"]
    assert score(model, task.test, task.metric, device=CPU, batch_size=17) == pruned["accuracy"]
    assert pruned["nonzero_params"] == sum(int(value.count_nonzero()) for value in model.parameters())
    assert pruned["params"] == document["baseline"]["params"] == ep.count(model, example_inputs).params
    assert pruned["size_bytes"] == (directory / "artifact" / "model.safetensors").stat().st_size
    assert [row["kept"] for row in document["layers"]] == [
        int(masks(directory)[row["name"]].sum()) for row in document["layers"]
    ]
    assert sum(row["kept"] for row in document["layers"]) == WEIGHTS - round(0.6 * WEIGHTS)


def test_comparison_judges_each_step_on_test_when_the_search_is_over(mask_run, seeded_torch):
    directory = mask_run()
    (_, task, _), document = tiny_recipe(), comparison(directory)
    network = TinyCNN().eval()
    for step in document["steps"]:
        network.load_state_dict(StateFolder(directory).get(step["state"]).weights)
        assert score(network, task.test, task.metric, device=CPU, batch_size=64) == step["accuracy"]
        assert score(network, task.select, task.metric, device=CPU, batch_size=64) == step["select_accuracy"]
    assert json.loads((directory / "manifest.json").read_text())["test_set_reads"] == 4


def test_journal_says_of_each_line_where_it_belongs(mask_run):
    directory = mask_run()
    lines = journal(directory)
    assert [(line["step"], line["generation"]) for line in lines] == [
        (step, generation) for step in (0, 1) for generation in (0, 1) for _ in range(4)
    ]
    assert {line["encoding"] for line in lines} == {"weight-bits"}
    assert {name for line in lines for name in line["objectives"]} == {
        "accuracy", "loss", "sparsity", "layer_sparsity", "worst_class_accuracy",
    }  # fmt: skip
    assert {line["objectives"]["sparsity"] for line in lines[:4]} == {0.3}


def test_mask_run_gives_the_same_when_the_seed_is_the_same(mask_run):
    first = mask_run("first")
    assert contents(mask_run("second")) == contents(first)
    assert comparison(first.parent / "second") == comparison(first)
    other = contents(mask_run("other", run={"seed": 1}))
    assert other["evaluations.jsonl"] != contents(first)["evaluations.jsonl"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"masks": {"mode": "layers"}},
        {"masks": {"mode": "independent", "polish_generations": 1}, "search": {"encoding": "keep-ratios"}},
        {"training": {"finetune_steps": 2}},
    ],
    ids=str,
)
def test_mask_run_gives_the_same_with_one_worker_here_and_two_in_processes(mask_run, sections):
    alone = mask_run("alone", **sections)
    pool = mask_run("pool", execution={"workers": 2, "executor": "process-pool"}, **sections)
    assert contents(pool) == contents(alone)
    assert comparison(pool) == comparison(alone)
    assert os.getpid() not in {line["cost"]["worker"] for line in events(pool, "CandidateEvaluated")}


@pytest.mark.parametrize(
    ("encoding", "mode"),
    [
        ("weight-bits", "whole"),
        ("keep-ratios", "whole"),
        ("keep-ratios", "layers"),
        ("threshold-exceptions", "whole"),
    ],
)
def test_step_goes_on_with_the_very_network_that_was_scored_best(mask_run, encoding, mode):
    directory = mask_run(
        search={"encoding": encoding},
        fidelity={"select_samples": None},
        masks={"mode": mode, "criteria": ["magnitude", "fisher", "lamp", "root-fisher"]},
    )
    for step in steps(directory):
        lines = [line for line in journal(directory) if line["step"] == step["step"]]
        best = max(lines, key=lambda line: line["fitness"])
        assert step["select_accuracy_before"] == best["objectives"]["accuracy"]
        assert step["sparsity"] == best["objectives"]["sparsity"]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["nsga2", "random"])
def test_other_searches_find_masks_as_well(mask_run, algorithm):
    directory = mask_run(search={"algorithm": algorithm}, masks={"goals": None})
    lines = journal(directory)
    best = max(lines, key=lambda line: line["fitness"])
    assert comparison(directory)["pruned"]["sparsity"] == best["objectives"]["sparsity"] > 0


def test_mask_run_leaves_a_finished_directory_as_it_is(mask_run):
    directory = mask_run()
    kept = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    mask_run()
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == kept


def test_mask_run_keeps_no_state_that_nothing_leads_to(mask_run):
    directory = mask_run()
    assert {path.stem for path in (directory / "states").iterdir()} == {step["state"] for step in steps(directory)}


@pytest.mark.slow
def test_search_without_seeding_computes_no_importance(mask_run, monkeypatch):
    def refuse(*_):
        raise AssertionError("an importance order was computed")

    monkeypatch.setattr(mask_training, "weight_scores", refuse)
    directory = mask_run(search={"seeding": "none"}, masks={"mode": "layers"})
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.6)


@pytest.mark.slow
def test_candidates_that_learn_keep_what_earlier_steps_pruned(mask_run, monkeypatch):
    seen, real = [], evaluate_masks.recover

    def watch(model, *arguments, **keywords):
        real(model, *arguments, **keywords)
        seen.append(sparsity_of(model))

    monkeypatch.setattr(evaluate_masks, "recover", watch)
    directory = mask_run(
        training={"finetune_steps": 2},
        masks={"mode": "layers", "goals": [0.5]},
        execution={"isolation": "none"},  # here, where they are seen
    )
    assert seen == [line["objectives"]["sparsity"] for line in journal(directory)]


@pytest.mark.slow
@pytest.mark.parametrize("live_outputs", ["all", "last", "none"])
def test_outputs_live_where_the_setting_says(mask_run, live_outputs):
    directory = mask_run(masks={"live_outputs": live_outputs, "goals": [0.978]}, search={"seeding": "none"})
    dead = {name: int((~mask.reshape(len(mask), -1).any(axis=1)).sum()) for name, mask in masks(directory).items()}
    assert (dead["conv1.weight"] + dead["conv2.weight"] == 0) == (live_outputs == "all")
    assert dead["fc.weight"] == 0 or live_outputs == "none"


def collapsing_after(step):
    """Figures of networks that lose a class in a step, for `Figures.of_select`."""
    real, calls = Figures.of_select, []

    def of_select(self, model):
        calls.append(model)
        # The dense network first, then each step masked and retrained.
        return {**real(self, model), "worst_class_accuracy": 0.1 if len(calls) > 1 + 2 * step else 0.9}

    return of_select


def test_step_after_which_a_class_collapses_is_not_taken(mask_run, monkeypatch):
    monkeypatch.setattr(Figures, "of_select", collapsing_after(1))
    directory = mask_run(masks={"goals": [0.3, 0.5, 0.6], "min_class_accuracy": 0.5})
    assert [step["taken"] for step in steps(directory)] == [True, False]
    assert comparison(directory)["pruned"]["sparsity"] == 0.3 == sparsity_of(ep.load(directory / "artifact"))
    (decision,) = [line for line in events(directory, "Decision") if line["what"] == "masks"]
    assert "step 1 is not taken and the search ends: a class has fallen to 10.0 % on select" in decision["detail"]


def test_run_stops_with_a_hint_when_the_first_step_costs_too_much(mask_run, monkeypatch):
    monkeypatch.setattr(Figures, "of_select", collapsing_after(0))
    with pytest.raises(RunError, match=r"the first step already costs too much: a class has fallen") as caught:
        mask_run(masks={"min_class_accuracy": 0.5})
    assert "a lower first goal" in caught.value.hint


def test_step_that_costs_too_much_accuracy_is_not_taken(mask_run):
    directory = mask_run(
        masks={"goals": [0.1, 0.97], "max_accuracy_drop": 0.2, "retrain_epochs": 0}, training={"epochs": 3}
    )
    assert [step["taken"] for step in steps(directory)] == [True, False]
    assert comparison(directory)["pruned"]["sparsity"] == pytest.approx(0.1)


def test_class_that_the_dense_network_is_bad_at_stops_nothing_by_itself(mask_run):
    directory = mask_run(
        training={"epochs": 0, "retrain_epochs": 0}, masks={"min_class_accuracy": 1.0, "goals": [0.01]}
    )
    assert steps(directory)[0]["taken"]


def test_nearest_candidate_goes_on_when_none_keeps_the_constraints(mask_run):
    directory = mask_run(search={"constraints": ["loss<=0.001"]}, masks={"goals": [0.9]})
    assert {line["status"] for line in journal(directory)} == {"infeasible"}
    (decision,) = [line for line in events(directory, "Decision") if line["what"] == "masks"]
    assert "no candidate of step 0 keeps the constraints" in decision["detail"]
    nearest = min(line["violation"] for line in journal(directory))
    assert nearest > 0


def test_bound_on_sparsity_is_absolute(mask_run):
    directory = mask_run(search={"constraints": ["sparsity>=0.5"]}, masks={"goals": None}, ga={"pop_size": 8})
    for line in journal(directory):
        assert (line["status"] == "infeasible") == (line["objectives"]["sparsity"] < 0.5)


def test_time_budget_ends_the_search_and_the_run_still_finishes(mask_run):
    directory = mask_run(run={"time_budget": 0.001}, ga={"num_generations": 50})
    manifest = json.loads((directory / "manifest.json").read_text())
    assert (manifest["status"], manifest["stopped_before_generation"]) == ("done", 1)
    assert len(journal(directory)) == 4
    assert [step["sparsity"] for step in steps(directory)] == [0.3]
    assert (directory / "artifact" / "masks.safetensors").exists()


def test_time_budget_ends_independent_layers_after_a_pass(mask_run):
    directory = mask_run(run={"time_budget": 0.001}, masks={"mode": "independent"})
    assert [step["goal"] for step in steps(directory)] == [0.3]
    assert json.loads((directory / "manifest.json").read_text())["status"] == "done"


def test_target_sparsity_ends_the_run_early(mask_run):
    directory = mask_run(masks={"goals": [0.2, 0.4, 0.6], "target_sparsity": 0.4})
    assert [step["goal"] for step in steps(directory)] == [0.2, 0.4]


def test_import_of_the_artifact_gives_its_masks_again(mask_run, seeded_torch):
    directory = mask_run()
    plan = read_masks(directory / "artifact" / "masks.safetensors", TinyCNN())
    assert all(np.array_equal(plan.masks[name].bools, mask) for name, mask in masks(directory).items())


@pytest.mark.slow
def test_evolve_masks_a_live_network_and_leaves_it_as_it_was(tmp_path):
    source = live()
    model = source.problem.model
    before = {name: value.clone() for name, value in model.state_dict().items()}
    result = ep.evolve(
        model,
        source.problem.task,
        source.problem.example_inputs,
        encoding="weight-bits",
        out=tmp_path / "run",
        config={
            "training": {"retrain_epochs": 1, "batch_size": 64},
            "masks": {"goals": [0.5], "min_class_accuracy": 0, "fisher_samples": 64},
            "ga": {"pop_size": 4, "num_generations": 1},
        },
    )
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert sparsity_of(result.best.model) == pytest.approx(0.5)
    assert "sparsity" in result.table().lower()


@pytest.mark.slow
@pytest.mark.parametrize("margin", [0, 1e6])
def test_margin_keeps_the_first_candidate_where_none_is_clearly_better(mask_run, margin):
    directory = mask_run(
        search={"encoding": "keep-ratios"}, masks={"margin": margin, "goals": [0.8]}, ga={"num_generations": 3}
    )
    lines = journal(directory)
    fittest = max(lines, key=lambda line: line["fitness"])
    assert fittest["fitness"] > lines[0]["fitness"], "a search that finds nothing better shows nothing"
    wanted = lines[0] if margin else fittest
    assert steps(directory)[0]["select_accuracy_before"] == wanted["objectives"]["accuracy"]
