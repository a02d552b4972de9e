"""Whole runs that train by the user's function: it does all of the training, its name is part of the run, masks refuse it."""

import pytest

import evoprune as ep
from evoprune.errors import ReplayMismatchError, UsageError
from evoprune.testing.tiny import tiny_recipe
from tests.evaluation.test_user_training import own_loop

SMALL = {
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 1, "retrain_epochs": 1, "finetune_steps": 2, "batch_size": 64},
    "execution": {"training_threads": 1, "isolation": "none"},
}
MASKS = {**SMALL, "search": {"encoding": "keep-ratios"}, "masks": {"goals": [0.4]}}
CALLS = []


def noted(model, budget):
    CALLS.append((budget.stage, budget.steps, len(budget.source)))
    own_loop(model, budget)


def problem(train_fn):
    model, task, example_inputs = tiny_recipe()
    return model, ep.Task(task.train, task.val, task.test, train_fn=train_fn), example_inputs


def test_all_of_a_run_is_trained_by_the_function_and_a_point_afterwards_as_well(tmp_path):
    CALLS.clear()
    given = problem(noted)
    result = ep.evolve(*given, config=SMALL, constraints="macs<=0.5", out=tmp_path / "run", progress=False)
    stages = {stage for stage, _, _ in CALLS}
    assert stages == {"check", "baseline", "finetune", "retrain"}
    assert ("baseline", 8, 512) in CALLS
    assert ("retrain", 9, 512 + 64) in CALLS
    assert result.comparison["pruned"]["macs"] <= 0.5 * result.comparison["baseline"]["macs"]
    CALLS.clear()
    number = result.comparison["front"][0]["index"]
    names = dict(zip(("model", "task", "example_inputs"), given, strict=True))
    ep.finish(tmp_path / "run", point=number, progress=False, **names)
    assert ("retrain", 9, 512 + 64) in CALLS


def test_run_is_another_one_with_another_function(tmp_path):
    config = {**SMALL, "training": {**SMALL["training"], "epochs": 0}}
    ep.evolve(*problem(noted), config=config, out=tmp_path / "run", progress=False)
    with pytest.raises(ReplayMismatchError, match="another train_fn: noted then, own_loop now"):
        ep.evolve(*problem(own_loop), config=config, out=tmp_path / "run", progress=False)


def test_runs_of_masks_refuse_it_before_there_is_any_work(tmp_path):
    with pytest.raises(UsageError, match="can't hold weights at zero"):
        ep.evolve(*problem(noted), config=MASKS, out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "baseline").exists()
