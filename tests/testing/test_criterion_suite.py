import numpy as np
import pytest

from evoprune.plugins import BUILT_IN, resolve
from evoprune.testing.criterion_suite import CriterionSuite


class Named(CriterionSuite):
    name = ""

    def criterion(self):
        return resolve("criteria", self.name)


def suite_of(name):
    return type(f"Test{name.title().replace('_', '')}", (Named,), {"name": name, "about_units": name != "random"})


globals().update({f"Test{name}": suite_of(name) for name in BUILT_IN["criteria"]})


def by_position(examinee):
    return np.arange(examinee.space.size, dtype=float)


def with_gradients_left_behind(examinee):
    for parameter in examinee.model.parameters():
        parameter.grad = parameter.detach().clone()
    return by_position(examinee)


@pytest.mark.parametrize(
    ("criterion", "test", "message"),
    [
        (by_position, "test_scores_move_with_the_units", "belongs to a position"),
        (with_gradients_left_behind, "test_model_is_left_alone", "gradients were left behind"),
        (lambda examinee: np.ones(3), "test_scores_are_one_finite_number_per_unit", "units"),
    ],
)
def test_suite_fails_a_criterion_that_breaks_the_contract(criterion, test, message):
    class Suite(CriterionSuite):
        def criterion(self):
            return criterion

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), test)()
