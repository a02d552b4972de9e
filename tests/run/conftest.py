"""A cache of its own for every test, and the settings of the smallest run there is."""

import pytest

from evoprune.run.config import make_config
from evoprune.run.problem import RecipeSource

TINY = "evoprune.testing.tiny:tiny_recipe"
SMALL = {
    "recipe": TINY,
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 1, "retrain_epochs": 1, "batch_size": 64, "finetune_steps": 2},
    "execution": {"workers": 1, "training_threads": 1},
}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("EVOPRUNE_CACHE", str(folder))
    return folder


@pytest.fixture
def small_config():
    def build(*layers):
        return make_config(SMALL, *layers)

    return build


@pytest.fixture
def tiny_source():
    return RecipeSource(TINY, None, None, 0)
