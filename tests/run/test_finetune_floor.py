import pytest

from evoprune.config.schema import make_config
from evoprune.run.factories.common import training_plan
from tests.evaluation.doubles import points


@pytest.mark.parametrize(
    ("training", "steps"),
    [
        ({}, 20),  # a tenth of 8 batches
        ({"finetune_epochs": 10}, 80),
        ({"finetune_epochs": 0}, 0),
        ({"finetune_steps": 3}, 3),
        ({"finetune_steps": 0}, 0),
        ({"finetune_min_steps": 5}, 5),
        ({"finetune_min_steps": 0, "finetune_epochs": 0.5}, 4),
    ],
    ids=str,
)
def test_candidates_are_finetuned_for_a_number_of_steps_at_least(training, steps):
    config = make_config({"training": {"batch_size": 128, **training}})
    assert training_plan(config).fidelity(points(1000)).schedule.steps == steps


def test_mask_candidates_are_not_finetuned_unless_asked_for():
    config = make_config({"search": {"encoding": "weight-bits"}})
    assert training_plan(config).fidelity(points(1000)).schedule.steps == 0
