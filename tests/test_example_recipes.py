"""The examples run: each on its own data, with a smaller search and shorter trainings; skipped where a package is missing."""

import contextlib
import importlib
import math
import os
import sys
from pathlib import Path

import pytest

from evoprune.channels.analyze import analyze
from evoprune.config.yaml_files import merge
from evoprune.rng import isolated_rng

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALL = {
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 0.5, "retrain_epochs": 0.5, "finetune_steps": 2},
    "execution": {"training_threads": 1, "isolation": "none"},
}
OWN = {
    "own_model": "accuracy",
    "regression": "R²",
    "multilabel": "multilabel accuracy",
    "segmentation": "mean IoU",
    "text_lstm": "accuracy",
    "custom_objective": "accuracy",
    "custom_criterion": "accuracy",
}
"""Examples that need nothing but evoprune, and what each is judged by."""
NEEDS = {
    "hf_text_classification": "transformers",
    "hf_image_classification": "transformers",
    "timm_model": "timm",
    "lightning_module": "lightning",
    "ultralytics_yolo": "ultralytics",
}
"""Examples that need a package."""


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Import an example by its name, in a directory of its own."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    before, environment = set(sys.modules), dict(os.environ)

    def load(name):
        if name in NEEDS:
            with contextlib.suppress(ImportError):
                importlib.import_module("torchvision_without_ops")  # for those who have torch for CPUs alone
            try:
                importlib.import_module(NEEDS[name])
            except (ImportError, RuntimeError, AttributeError) as error:
                pytest.skip(f"needs {NEEDS[name]}: {error}")
        return importlib.import_module(name)

    yield load
    for name in os.environ.keys() - environment.keys():  # what packages set for themselves when they are imported
        del os.environ[name]
    for name in {*OWN, *NEEDS} & (set(sys.modules) - before):
        del sys.modules[name]


def test_every_example_is_tested():
    known = {*OWN, *NEEDS, "run_pruning"}
    assert {path.stem for path in EXAMPLES.glob("*.py")} == known


@pytest.mark.parametrize("name", OWN)
def test_example_says_how_it_is_run_and_is_a_recipe(example, name):
    module = example(name)
    assert f"python examples/{name}.py\n" in module.__doc__
    with isolated_rng(0):
        model, task, example_inputs = module.recipe(seed=0)
    assert task.card.name == OWN[name]
    assert analyze(model, example_inputs, self_check=False).groups


@pytest.mark.slow
@pytest.mark.parametrize("name", [*OWN, *NEEDS])
def test_example_runs(example, name, tmp_path, capsys):
    module = example(name)
    more = {"workers": 1} if name == "own_model" else {}
    with isolated_rng(0):
        result = module.main(out=tmp_path / "run", config=merge(module.SETTINGS, SMALL), **more)
    before, after = result.comparison["baseline"], result.comparison["pruned"]
    assert after["params"] < before["params"]
    assert math.isfinite(after["accuracy"])
    assert capsys.readouterr().out.strip()
    assert f"`{name}.py`" in (EXAMPLES / "README.md").read_text()


@pytest.mark.slow
def test_criterion_and_objective_of_the_examples_are_used(example, tmp_path):
    criterion, objective = example("custom_criterion"), example("custom_objective")
    criterion.main(out=tmp_path / "criterion", config=merge(criterion.SETTINGS, SMALL))
    assert "custom_criterion:flow" in (tmp_path / "criterion" / "evaluations.jsonl").read_text()
    found = objective.main(out=tmp_path / "objective", config=merge(objective.SETTINGS, SMALL))
    assert all(0 <= point.objectives["overconfidence"] <= 1 for point in found.front)
