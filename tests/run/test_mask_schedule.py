from itertools import pairwise

import pytest

from evoprune.config.schema import make_config
from evoprune.masks.maskable import maskable_weights
from evoprune.rng import isolated_rng
from evoprune.run.factories.masks import mask_schedule
from evoprune.run.mask_schedule import layer_groups
from evoprune.testing.tiny import TinyCNN

NAMES = ("conv1.weight", "conv2.weight", "fc.weight")


def weights_of():
    with isolated_rng(0):
        return maskable_weights(TinyCNN())


def steps_of(**masks):
    return mask_schedule(make_config({"search": {"encoding": "weight-bits"}, "masks": masks})).steps(weights_of())


@pytest.mark.parametrize("mode", ["whole", "independent"])
def test_schedule_has_a_step_for_each_goal_with_all_weights(mode):
    steps = steps_of(mode=mode, goals=[0.5, 0.8])
    assert [(step.index, step.number, step.goal, step.names, step.ahead) for step in steps] == [
        (0, 0, 0.5, NAMES, NAMES),
        (1, 1, 0.8, NAMES, NAMES),
    ]


def test_schedule_goes_through_the_layers_in_each_pass():
    steps = steps_of(mode="layers", goals=[0.5, 0.8], order="backward")
    assert [step.names for step in steps] == [("fc.weight",), ("conv2.weight",), ("conv1.weight",)] * 2
    assert [step.ahead for step in steps[3:]] == [NAMES[::-1], NAMES[1::-1], NAMES[:1]]
    assert [step.number for step in steps] == [0, 0, 0, 1, 1, 1]


def test_schedule_has_as_many_passes_as_asked_without_goals():
    assert [step.goal for step in steps_of(goals=None, passes=3)] == [None] * 3


def test_steps_between_two_goals_keep_the_same_share_each():
    steps = steps_of(goals=[0.5, 0.9], between=3)
    kept = [1 - step.goal for step in steps]
    assert [after / before for before, after in pairwise(kept)] == pytest.approx([0.2**0.25] * 4)
    assert [step.between for step in steps] == [False, True, True, True, False]


def test_groups_join_the_weights_of_a_layer():
    assert layer_groups(weights_of(), NAMES[1:]) == [("conv2", ("conv2.weight",)), ("fc", ("fc.weight",))]
