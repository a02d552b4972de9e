"""Recipes that come trained, those that don't, and weights that a user brings for them."""

from pathlib import Path

import pytest
import torch

from evoprune.config.recipes import recipe_defaults, resolve_recipe_config
from evoprune.datasets.catalogue import CATALOGUE
from evoprune.errors import UsageError
from evoprune.events import ignore
from evoprune.nn_utils.weights import weight_bytes, weights_of
from evoprune.recipes.resnet_cifar10 import ResNet20
from evoprune.rng import isolated_rng
from evoprune.run.baseline import BaselineTraining, prepare_baseline
from evoprune.run.factories.common import training_plan, workplace_of
from evoprune.run.factories.stored import recipe_source
from evoprune.run.fingerprints import digests_of_data
from evoprune.run.guarded import TrainingGuard
from evoprune.run.problem import RecipeSource
from evoprune.seeding import SeedTree
from evoprune.store.run_directory import RunStore
from evoprune.testing.tiny import tiny_recipe

HERE = f"{__name__}:trained_or_not"


def trained_or_not(*, seed=0, pretrained=True):
    """A recipe of a user's that says by its weights whether it was asked for trained ones."""
    model, task, example = tiny_recipe(seed=seed)
    torch.nn.init.constant_(model.conv1.weight, float(pretrained))
    return model, task, example


def test_defaults_of_a_recipe_lie_over_those_of_the_one_it_is_like():
    base, own = recipe_defaults("resnet20-cifar10"), recipe_defaults("resnet18-cifar10")
    assert own["training"]["epochs"] > 0 == base["training"]["epochs"]
    assert own["training"]["optimizer"] == base["training"]["optimizer"] == "sgd"
    assert "like" not in own


def test_recipe_without_settings_of_its_own_has_none():
    assert recipe_defaults("my_package.module:recipe") == {}
    assert recipe_defaults("../run/config") == {}


@pytest.mark.parametrize(
    ("settings", "pretrained"),
    [({}, True), ({"training": {"epochs": 3}}, False), ({"data": {"checkpoint": "mine.pth"}}, False)],
    ids=str,
)
def test_recipe_is_asked_for_trained_weights_unless_the_run_trains_or_brings_its_own(settings, pretrained):
    source = recipe_source(resolve_recipe_config("lenet5-mnist", settings))
    assert source.pretrained is pretrained


@pytest.mark.parametrize("pretrained", [True, False])
def test_recipe_is_told_whether_to_put_in_trained_weights(pretrained):
    source = RecipeSource(HERE, None, None, 0, pretrained)
    assert source.load().model.conv1.weight.unique().tolist() == [float(pretrained)]


@pytest.fixture
def baseline_of_resnet20(tmp_path: Path, monkeypatch):
    """Prepare the baseline of `resnet20-cifar10` on blank images, with a checkpoint."""
    dataset = CATALOGUE["cifar-10"]
    files = tuple(type(file)(file.name, (20, 3073), layout="records") for file in dataset.files)
    monkeypatch.setitem(CATALOGUE, "cifar-10", type(dataset)(**{**vars(dataset), "files": files}))
    for file in files:
        (tmp_path / file.name).write_bytes(bytes(file.size_bytes))

    def prepare(checkpoint: Path):
        data = {"dir": str(tmp_path), "select_size": 30, "checkpoint": str(checkpoint)}
        config = resolve_recipe_config("resnet20-cifar10", {"data": data})
        problem = recipe_source(config).load()
        with RunStore(tmp_path / "run", config.identity(), config.to_yaml()) as store:
            digests = digests_of_data(problem.task)
            training = BaselineTraining(
                problem,
                workplace_of(config).laid_out(channels_last=False),
                training_plan(config).baseline,
                config.training.epochs,
                SeedTree(config.run.seed),
                config.data.checkpoint,
            )
            guard = TrainingGuard(training.workplace, store, store.directory, ignore)
            return prepare_baseline(training, store, guard, digests, ignore)

    return prepare


@pytest.fixture
def network():
    with isolated_rng(5):
        return ResNet20()


@pytest.mark.parametrize("name", ["mine.pth", "mine.safetensors"])
def test_users_checkpoint_of_resnet20_is_used(baseline_of_resnet20, network, tmp_path, name):
    if name.endswith(".pth"):
        state = {f"module.{key}": value for key, value in weights_of(network).items()}
        torch.save({"state_dict": state, "best_prec1": 91.7}, tmp_path / name)
    else:
        (tmp_path / name).write_bytes(weight_bytes(network))
    assert weight_bytes(baseline_of_resnet20(tmp_path / name)) == weight_bytes(network)


def test_users_checkpoint_is_refused_when_it_is_of_another_network(baseline_of_resnet20, network, tmp_path):
    state = weights_of(network)
    state["fc.weight"] = state.pop("linear.weight")
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(
        UsageError, match=r"other\.pth are of another architecture: linear\.weight is missing; fc\.weight is not"
    ):
        baseline_of_resnet20(tmp_path / "other.pth")
