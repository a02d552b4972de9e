"""Whole runs judged by something else than accuracy: a search for less, a metric of the whole set, heads for training alone."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import evoprune as ep
from evoprune.errors import ConfigError, DataError
from evoprune.events import CandidateEvaluated, EpochEnded, TaskOpened
from evoprune.rng import isolated_rng
from evoprune.store.event_log import describe

TRAINING = {"epochs": 12, "retrain_epochs": 3, "batch_size": 32, "finetune_steps": 3}
CHANNELS = {
    "ga": {"pop_size": 6, "num_generations": 2},
    "training": TRAINING,
    "execution": {"training_threads": 1, "isolation": "none"},
}
MASKS = {
    **CHANNELS,
    "training": {**TRAINING, "finetune_steps": 0},
    "search": {"encoding": "keep-ratios", "objectives": ["accuracy", "sparsity"]},
    "masks": {"goals": [0.4], "fisher_samples": 64},
    "fitness": {"w_acc": 1.0, "w_loss": 0.0},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))


def network(outputs=1):
    with isolated_rng(0):
        return nn.Sequential(nn.Linear(4, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, outputs))


def numbers(count, seed):
    inputs = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return inputs, inputs[:, :1] * 2 + inputs[:, 1:2].abs()


def classes(count, seed):
    inputs, values = numbers(count, seed)
    return inputs, (values.flatten() > 0).long()


def task(data, **given):
    sets = [DataLoader(TensorDataset(*data(count, seed)), batch_size=16) for seed, count in enumerate((128, 48, 40))]
    return ep.Task(*sets, **given)


def evolve(out, config, given, *, model=None, listeners=(), **arguments):
    return ep.evolve(
        model or network(), given, torch.zeros(1, 4), out=out, config=config, listeners=listeners, **arguments
    )


def journal(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("config", [CHANNELS, MASKS], ids=["channels", "masks"])
def test_run_searches_for_less_where_less_is_better_and_shows_it_as_it_is(tmp_path, config):
    given = task(numbers, loss=functional.mse_loss, metric="mean_squared_error")
    events = []
    result = evolve(tmp_path / "run", config, given, listeners=[events.append])
    inputs, targets = given.test.loaders[0].dataset.tensors
    with torch.no_grad():
        error = float((result.best.model(inputs) - targets).square().mean())
    assert result.comparison["metric"] == {"name": "mean squared error", "unit": "", "maximize": False}
    assert result.comparison["pruned"]["accuracy"] == pytest.approx(error, rel=1e-4)
    assert f"test mean squared error {result.comparison['baseline']['accuracy']:.4g} " in " ".join(
        result.table().split()
    )
    scored = [event.evaluation.objectives["accuracy"] for event in events if isinstance(event, CandidateEvaluated)]
    assert min(scored) > 0
    best = max(journal(tmp_path / "run"), key=lambda line: line["fitness"])
    if config is MASKS:
        assert best["objectives"]["accuracy"] == min(scored)
    (opened,) = (event for event in events if isinstance(event, TaskOpened))
    epoch = next(event for event in events if isinstance(event, EpochEnded))
    assert f"select mean squared error {epoch.select_accuracy:.4g}" in (describe(epoch, opened.metric) or "")


def test_front_of_a_lower_is_better_metric_is_not_dominated(tmp_path):
    given = task(numbers, loss=functional.mse_loss, metric="mean_squared_error")
    result = evolve(tmp_path / "run", CHANNELS, given, constraints="mean_squared_error<=100")
    lines = [line["objectives"] for line in journal(tmp_path / "run") if line["status"] == "ok"]
    front = {(point["select_accuracy"], point["macs"]) for point in result.comparison["front"]}
    pairs = {(one["accuracy"], one["macs"]) for one in lines}
    wanted = {
        one for one in pairs if not any(other != one and other[0] <= one[0] and other[1] <= one[1] for other in pairs)
    }
    assert front == wanted


@pytest.mark.slow
def test_run_takes_a_metric_of_the_whole_set(tmp_path):
    result = evolve(tmp_path / "run", CHANNELS, task(numbers, loss=functional.mse_loss, metric="r2"))
    inputs, targets = numbers(40, 2)
    with torch.no_grad():
        missed = float((result.best.model(inputs) - targets).square().sum())
    spread = float((targets - targets.mean()).square().sum())
    assert result.comparison["pruned"]["accuracy"] == pytest.approx(1 - missed / spread, rel=1e-4)
    assert "test R²" in result.table()


def test_run_takes_a_metric_of_torchmetrics_unchanged(tmp_path):
    classification = pytest.importorskip("torchmetrics.classification")
    metric = classification.MulticlassF1Score(num_classes=2, average="macro")
    result = evolve(tmp_path / "run", CHANNELS, task(classes, metric=metric), model=network(2))
    inputs, targets = classes(40, 2)
    answers = result.best.model(inputs).argmax(1)
    hits = [2 * int(((answers == kind) & (targets == kind)).sum()) for kind in (0, 1)]
    sizes = [int((answers == kind).sum() + (targets == kind).sum()) for kind in (0, 1)]
    assert result.comparison["pruned"]["accuracy"] == pytest.approx((hits[0] / sizes[0] + hits[1] / sizes[1]) / 2)
    assert result.comparison["metric"]["name"] == "MulticlassF1Score"


class TwoHeads(nn.Module):
    """A second head in training alone, as GoogLeNet has."""

    def __init__(self):
        super().__init__()
        with isolated_rng(0):
            self.body, self.neck = nn.Linear(4, 12), nn.Linear(12, 9)
            self.head, self.second = nn.Linear(9, 2), nn.Linear(9, 2)

    def forward(self, inputs):
        features = self.neck(self.body(inputs).relu()).relu()
        return (self.head(features), self.second(features)) if self.training else self.head(features)


def both_heads(outputs, targets):
    head, second = outputs
    assert head.shape == second.shape
    return functional.cross_entropy(head, targets) + 0.3 * functional.cross_entropy(second, targets)


@pytest.mark.slow
@pytest.mark.parametrize(
    "config", [CHANNELS, {**MASKS, "search": {"encoding": "weight-bits"}}], ids=["channels", "masks"]
)
def test_run_calls_the_loss_on_what_the_network_returns_in_training_alone(tmp_path, config):
    # What is returned in evaluation has no loss: the metric alone says how good a candidate is.
    config = {**config, "masks": {"goals": [0.4], "fisher_samples": 64}, "fitness": {"w_acc": 1, "w_loss": 0}}
    result = evolve(tmp_path / "run", config, task(classes, loss=both_heads), model=TwoHeads())
    assert result.comparison["pruned"]["accuracy"] > 0.5
    assert all("loss" not in line["objectives"] for line in journal(tmp_path / "run"))


REFUSED = {
    "no class indices": (lambda: task(numbers, loss=functional.mse_loss), {}, DataError, "metric='r2'"),
    "out of reach": (lambda: task(classes), {"constraints": "accuracy>=1.5"}, ConfigError, "no network can keep"),
    "a loss in evaluation": (
        lambda: task(classes, loss=both_heads),
        {"model": TwoHeads(), "config": {"search": {"encoding": "keep-ratios"}, "masks": {"goals": [0.5]}}},
        DataError,
        "in evaluation mode",
    ),
}


@pytest.mark.parametrize(("given", "arguments", "kind", "said"), REFUSED.values(), ids=REFUSED)
def test_run_is_refused_before_anything_is_trained(tmp_path, given, arguments, kind, said):
    events = []
    arguments = {"model": network(2 if kind is ConfigError else 1), "config": CHANNELS, **arguments}
    with pytest.raises(kind, match=said):
        evolve(tmp_path / "run", arguments.pop("config"), given(), listeners=[events.append], **arguments)
    assert not any(isinstance(event, EpochEnded | CandidateEvaluated) for event in events)
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def regression_recipe(*, seed=0):
    sets = [DataLoader(TensorDataset(*numbers(count, count)), batch_size=32) for count in (128, 64, 96)]
    return network(), ep.Task(*sets, loss=functional.mse_loss, metric="r2"), torch.zeros(1, 4)


def test_recipe_may_be_bounded_by_its_metrics_own_name(tmp_path):
    name = f"{__name__}:regression_recipe"
    config = {**CHANNELS, "search": {"constraints": ["r2>=-100", "macs<=0.9"]}, "training": {**TRAINING, "epochs": 2}}
    result = ep.run_recipe(name, config=config, out=tmp_path / "run", progress=False)
    assert result.comparison["metric"]["name"] == "R²"
    with pytest.raises(ConfigError, match="'r3' is not one of the objectives"):
        ep.run_recipe(name, config={"search": {"constraints": ["r3>=0.1"]}}, out=tmp_path / "other", progress=False)
