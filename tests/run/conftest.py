"""A cache of its own for every test, and the settings of the smallest run there is."""

import pytest

from evoprune.config.schema import make_config
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource

TINY = "evoprune.testing.tiny:tiny_recipe"
SMALL = {
    "recipe": TINY,
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 1, "retrain_epochs": 1, "batch_size": 64, "finetune_steps": 2},
    "search": {"criteria": ["l1", "taylor"], "criteria_samples": 32, "baselines": "none"},
    "execution": {"workers": 1, "training_threads": 1, "isolation": "none"},
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


MASKS = {
    "recipe": TINY,
    "search": {"encoding": "weight-bits"},
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 1, "retrain_epochs": 1, "batch_size": 64},
    "masks": {"goals": [0.3, 0.6], "fisher_samples": 64, "min_class_accuracy": 0},
    "execution": {"workers": 1, "training_threads": 1, "isolation": "none"},
}


@pytest.fixture
def mask_config():
    def build(*layers):
        return make_config(MASKS, *layers)

    return build


@pytest.fixture
def mask_run(tmp_path, mask_config):
    """Mask a source, the tiny recipe if none is given, into a directory under `tmp_path`; gives the directory."""

    def start(name="run", *, source=None, listeners=(), **sections):
        config = mask_config({"recipe": None} if source else {}, sections)
        execute(config, source or RecipeSource(TINY, None, None, config.run.seed), tmp_path / name, listeners)
        return tmp_path / name

    return start
