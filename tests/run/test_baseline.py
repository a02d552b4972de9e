import os
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.errors import DataError, StoreCorruptedError, UsageError
from evoprune.events import EpochEnded
from evoprune.nn_utils.weights import weight_bytes
from evoprune.rng import isolated_rng
from evoprune.run.baseline import BaselineTraining, prepare_baseline
from evoprune.run.factories.common import training_plan, workplace_of
from evoprune.run.fingerprints import digests_of_data
from evoprune.run.guarded import TrainingGuard
from evoprune.seeding import SeedTree
from evoprune.store.run_directory import BASELINE, RunStore
from evoprune.testing.tiny import TinyCNN


@pytest.fixture
def prepare(tmp_path, small_config, tiny_source):
    """Prepare the baseline in a run directory; gives its weights and whether it was trained."""

    def run(name="run", *, problem=None, **sections):
        config = small_config(sections)
        problem = problem or tiny_source.load()
        events = []
        with RunStore(tmp_path / name, config.identity(), config.to_yaml()) as store:
            data = digests_of_data(problem.task)
            training = BaselineTraining(
                problem,
                workplace_of(config).laid_out(channels_last=False),
                training_plan(config).baseline,
                config.training.epochs,
                SeedTree(config.run.seed),
                config.data.checkpoint,
            )
            guard = TrainingGuard(training.workplace, store, store.directory, events.append)
            model = prepare_baseline(training, store, guard, data, events.append)
        return weight_bytes(model), any(isinstance(event, EpochEnded) for event in events)

    return run


@pytest.fixture
def trained(tmp_path):
    """A trained network's file as a user may bring it; `save(content)` gives its path."""
    with isolated_rng(1):
        model = TinyCNN()

    def save(name, change=lambda weights: weights):
        torch.save(change(model.state_dict()), tmp_path / name)
        return tmp_path / name

    return model, save


def test_baseline_is_trained_once_when_the_run_goes_on(prepare, tmp_path):
    first, was_trained = prepare()
    again, was_trained_again = prepare()
    assert (was_trained, was_trained_again) == (True, False)
    assert again == first == (tmp_path / "run" / BASELINE).read_bytes()


def test_baseline_is_taken_from_the_cache_when_another_run_trained_it(prepare):
    first, _ = prepare()
    second, was_trained = prepare("other")
    assert not was_trained
    assert second == first


@pytest.mark.parametrize(
    "sections",
    [
        {"training": {"lr": 0.01}},
        {"run": {"seed": 1}},
        {"training": {"optimizer": "sgd"}},
        {"training": {"epochs": 2}},
    ],
    ids=str,
)
def test_baseline_is_trained_anew_when_what_decides_it_differs(prepare, sections):
    prepare()
    assert prepare("other", **sections)[1]


def test_baseline_is_taken_from_the_cache_when_only_the_search_differs(prepare):
    prepare()
    assert not prepare("other", ga={"pop_size": 7}, training={"finetune_steps": 9, "retrain_epochs": 3})[1]


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(path.read_bytes()[:-1] + b"?"), Path.unlink, os.truncate]
)
def test_baseline_is_trained_anew_when_the_cached_file_is_damaged(prepare, cache, damage):
    first, _ = prepare()
    (kept,) = cache.rglob("*.safetensors")
    damage(kept, 10) if damage is os.truncate else damage(kept)
    second, was_trained = prepare("other")
    assert was_trained
    assert second == first


def test_baseline_is_trained_anew_when_the_loss_is_set_up_differently(prepare, tiny_source):
    trained = []
    for smoothing in (0.0, 0.3):
        problem = tiny_source.load()
        problem = replace(problem, task=with_loss(problem.task, nn.CrossEntropyLoss(label_smoothing=smoothing)))
        trained.append(prepare(f"run-{smoothing}", problem=problem)[1])
    assert trained == [True, True]


def test_baseline_is_not_kept_when_the_loss_has_no_name(prepare, tiny_source, cache):
    problem = tiny_source.load()
    nameless = with_loss(problem.task, lambda outputs, targets: 2 * functional.cross_entropy(outputs, targets))
    assert prepare(problem=replace(problem, task=nameless))[1]
    assert list(cache.rglob("*.safetensors")) == []


def with_loss(task, loss):
    return Task(task.train, task.select, task.test, loss=loss)


def test_baseline_is_the_model_itself_when_there_is_nothing_to_train(prepare, tiny_source, cache):
    expected = weight_bytes(tiny_source.load().model)
    assert prepare(training={"epochs": 0}) == (expected, False)
    assert list(cache.rglob("*.safetensors")) == []


def test_baseline_of_the_run_is_refused_when_it_is_damaged(prepare, tmp_path):
    prepare()
    path = tmp_path / "run" / BASELINE
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(StoreCorruptedError, match="is not the file that was written"):
        prepare()


def test_baseline_is_trained_when_the_cache_cannot_be_written(prepare, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", "/proc/nowhere")
    assert prepare()[1]


@pytest.mark.parametrize(
    "change",
    [
        lambda weights: weights,
        lambda weights: {f"module.{name}": value for name, value in weights.items()},
        lambda weights: {"state_dict": weights, "epoch": 7},
        lambda weights: {"model": weights},
        lambda weights: {"net": {f"module.{name}": value for name, value in weights.items()}, "acc": 93.1},
    ],
    ids=["plain", "module.", "state_dict", "model", "net"],
)
def test_checkpoint_is_used_in_every_usual_form(prepare, trained, change):
    model, save = trained
    weights, was_trained = prepare(data={"checkpoint": str(save("trained.pth", change))})
    assert weights == weight_bytes(model)
    assert not was_trained


def test_checkpoint_in_safetensors_is_used(prepare, trained, tmp_path):
    model, _ = trained
    (tmp_path / "trained.safetensors").write_bytes(weight_bytes(model))
    assert prepare(data={"checkpoint": str(tmp_path / "trained.safetensors")})[0] == weight_bytes(model)


def test_checkpoint_is_refused_when_it_is_of_another_architecture(prepare, trained):
    _, save = trained
    wider = save("wider.pth", lambda weights: {**weights, "conv1.weight": torch.zeros(16, 3, 3, 3)})
    with pytest.raises(
        UsageError, match=r"another architecture: conv1\.weight is \[16, 3, 3, 3\], the model has \[8, 3, 3, 3\]"
    ):
        prepare(data={"checkpoint": str(wider)})
    other = save("other.pth", lambda weights: {"layer": torch.zeros(2)})
    with pytest.raises(UsageError, match=r"bn1\.bias is missing; .* more"):
        prepare(data={"checkpoint": str(other)})


class Bomb:
    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.touch, (self.mark,)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("dump", [torch.save, lambda value, path: path.write_bytes(pickle.dumps(value))])
def test_checkpoint_is_refused_and_does_nothing_when_it_is_a_pickle_with_code(prepare, tmp_path, dump):
    mark, bomb = tmp_path / "owned", tmp_path / "bomb.pth"
    dump({"conv1.weight": Bomb(mark)}, bomb)
    with pytest.raises(DataError, match=r"bomb\.pth can't be read") as caught:
        prepare(data={"checkpoint": str(bomb)})
    assert not mark.exists()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04" + b"\x00" * 50, b"\x80\x02"])
@pytest.mark.parametrize("name", ["junk.pth", "junk.safetensors"])
def test_checkpoint_is_refused_when_it_is_junk(prepare, tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"data\.checkpoint"):
        prepare(data={"checkpoint": str(tmp_path / name)})


@pytest.mark.parametrize("change", [lambda weights: TinyCNN(), lambda weights: [1, 2], lambda weights: {}])
def test_checkpoint_is_refused_when_it_holds_no_tensors_by_name(prepare, trained, change):
    _, save = trained
    with isolated_rng(0):
        path = save("odd.pth", change)
    with pytest.raises(DataError, match=r"data\.checkpoint .*odd\.pth"):
        prepare(data={"checkpoint": str(path)})


def test_checkpoint_is_refused_when_it_does_not_exist(prepare, tmp_path):
    with pytest.raises(DataError, match=r"data\.checkpoint .*gone\.pth does not exist"):
        prepare(data={"checkpoint": str(tmp_path / "gone.pth")})
    assert list((tmp_path / "run").iterdir()) == []
