import numpy as np
import pytest
import torch

import evoprune as ep
from evoprune.errors import StoreCorruptedError
from evoprune.objectives.accuracy import score
from evoprune.run.factories.stored import stored_config, target_of
from evoprune.run.problem import RecipeSource
from evoprune.run.results import points_of
from evoprune.store.comparison import read_comparison
from evoprune.store.states import StateFolder
from tests.masks.zeros import sparsity_of
from tests.run.conftest import TINY
from tests.run.mask_directories import masks, steps

CPU = torch.device("cpu")


def found_in(directory):
    source = RecipeSource(TINY, None, None, 0)
    return points_of(directory, target_of(stored_config(directory)), source, read_comparison(directory))


def same_weights(one, other):
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[name]) for name, value in one.state_dict().items())


def test_best_of_masks_is_the_loaded_artifact(mask_run, seeded_torch):
    directory = mask_run()
    best = found_in(directory).best()
    assert same_weights(best.model, ep.load(directory / "artifact"))
    assert best.objectives["sparsity"] == best.plan.sparsity == sparsity_of(best.model)
    assert all(np.array_equal(best.plan.masks[name].bools, mask) for name, mask in masks(directory).items())


def test_front_of_masks_is_the_network_after_each_step(mask_run):
    directory = mask_run()
    front = found_in(directory).front()
    task = RecipeSource(TINY, None, None, 0).load().task
    assert [point.objectives["sparsity"] for point in front] == [step["sparsity"] for step in steps(directory)]
    for point, step in zip(front, steps(directory), strict=True):
        assert sparsity_of(point.model) == step["sparsity"] == point.plan.sparsity
        assert score(point.model, task.select, task.metric, device=CPU, batch_size=64) == step["select_accuracy"]
        assert not point.model.training


def test_plan_of_a_point_masks_the_dense_network(mask_run):
    directory = mask_run()
    point = found_in(directory).front()[0]
    dense = RecipeSource(TINY, None, None, 0).load().model
    assert sparsity_of(ep.mask(dense, point.plan)) == point.objectives["sparsity"]


def test_front_leaves_out_a_step_that_was_not_taken(mask_run):
    directory = mask_run(
        masks={"goals": [0.1, 0.97], "max_accuracy_drop": 0.2, "retrain_epochs": 0}, training={"epochs": 3}
    )
    assert [step["taken"] for step in steps(directory)] == [True, False]
    assert [point.objectives["sparsity"] for point in found_in(directory).front()] == pytest.approx([0.1])


def test_point_says_which_file_is_gone(mask_run):
    directory = mask_run()
    gone = StateFolder(directory).path(steps(directory)[1]["state"])
    gone.unlink()
    with pytest.raises(StoreCorruptedError, match=gone.stem):
        found_in(directory).front()


@pytest.mark.slow
def test_points_of_channels_have_the_plans_of_their_genomes(tmp_path, small_config, tiny_source, seeded_torch):
    from evoprune.run.factories.runs import execute

    config = small_config()
    execute(config, tiny_source, tmp_path / "run")
    points = points_of(tmp_path / "run", target_of(config), tiny_source, read_comparison(tmp_path / "run"))
    best = points.best()
    assert same_weights(best.model, ep.load(tmp_path / "run" / "artifact"))
    example = tiny_source.load().example_inputs
    for point in points.front():
        assert ep.count(point.model, example).macs == point.objectives["macs"]
