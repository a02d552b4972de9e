"""Recipes of one's own: what they are called with, and what is left when they can't be."""

import pytest

from evoprune.errors import ConfigError
from evoprune.run.problem import RecipeSource
from evoprune.testing.tiny import TinyCNN, tiny_recipe


def needs_more(path, *, seed=0):
    return tiny_recipe(seed=seed)


def draws(*, seed=0):
    _, task, example_inputs = tiny_recipe(seed=seed)
    return TinyCNN(), task, example_inputs  # weights from torch's global generator


def load(name, seed=0):
    return RecipeSource(name, None, None, seed).load()


@pytest.mark.parametrize(
    ("name", "argument"), [("os:system", "command"), (f"{__name__}:needs_more", "path")], ids=["built-in", "own"]
)
def test_recipe_that_needs_arguments_is_refused_by_the_name_of_the_first(name, argument):
    with pytest.raises(ConfigError, match=f"recipe '{name}' needs an argument '{argument}'"):
        load(name)


def test_recipe_that_draws_its_weights_gives_the_same_for_the_same_seed():
    one, again, other = (load(f"{__name__}:draws", seed).model.conv1.weight for seed in (0, 0, 1))
    assert one.equal(again)
    assert not one.equal(other)
