"""Training, scoring and criteria on batches that are more than two tensors: each compared with plain torch."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset, default_collate

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.data.task import Task, as_source
from evoprune.errors import DataError, UnsupportedModelError
from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.evaluation.replay.layer_replay import LayerReplay
from evoprune.evaluation.training import Schedule, train
from evoprune.masks.weight_scores import fisher_diagonal
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.accuracy import score
from evoprune.objectives.outputs import outputs_of
from evoprune.objectives.scores import losses_of, score_outputs
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree

CPU = torch.device("cpu")


class Sequences(nn.Module):
    """A classifier of [time, batch, features]."""

    def __init__(self):
        super().__init__()
        self.rnn, self.hidden, self.head = nn.GRU(3, 6), nn.Linear(6, 5), nn.Linear(5, 2)

    def forward(self, x):
        return self.head(self.hidden(self.rnn(x)[0][-1]).relu())


class Tasks(nn.Module):
    """Two answers for each sample."""

    def __init__(self):
        super().__init__()
        self.body, self.one, self.two = nn.Linear(3, 6), nn.Linear(6, 2), nn.Linear(6, 2)

    def forward(self, x):
        hidden = self.body(x).relu()
        return {"one": self.one(hidden), "two": self.two(hidden)}


def built(kind):
    with isolated_rng(0):
        return kind().double()


def time_first(samples):
    inputs, targets = default_collate(samples)
    return inputs.transpose(0, 1), targets


def sequences(count=22, steps=8, batch_size=8):
    """As many steps as samples in a batch, so that shapes tell nothing."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(count, steps, 3, generator=generator, dtype=torch.float64)
    y = torch.randint(2, (count,), generator=generator)
    return x, y, DataLoader(TensorDataset(x, y), batch_size=batch_size, collate_fn=time_first)


def batches_of(loader):
    """A list of what the loader yields; iterating it draws a seed for worker processes."""
    with isolated_rng(0):
        return list(loader)


class Two(torch.utils.data.Dataset):
    def __init__(self, count):
        self.x, _, _ = sequences(count, 1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, number):
        x = self.x[number, 0]
        return x, {"one": int(x[0] > 0), "two": int(x[1] > 0)}


def both_tasks(outputs, targets):
    return sum(functional.cross_entropy(outputs[name], targets[name]) for name in targets)


def both_right(outputs, targets):
    return torch.stack([(outputs[name].argmax(1) == targets[name]).double() for name in targets]).mean(0)


def right(outputs, targets):
    return outputs.argmax(1) == targets


def steps(count, batch_size=8):
    return Schedule(count, batch_size, "sgd", 0.1, 0.0)


def trained(model, source, *, size, loss=functional.cross_entropy, count=4):
    seeds, micro_batch = SeedTree(0).child("test"), MicroBatch(size, stage="test")
    train(model, source, steps(count), loss=loss, seeds=seeds, device=CPU, micro_batch=micro_batch)
    return [parameter.detach() for parameter in model.parameters()]


def test_score_is_that_of_whole_sequences_laid_out_time_first():
    model, (x, y, loader) = built(Sequences), sequences()
    expected = (model(x.transpose(0, 1)).argmax(1) == y).double().mean()
    assert score(model, as_source(loader, "test"), right, device=CPU, batch_size=4) == pytest.approx(float(expected))


def test_score_of_a_mean_weights_batches_by_their_samples():
    model, (x, y, loader) = built(Sequences), sequences()
    mean = lambda outputs, targets: right(outputs, targets).double().mean()  # noqa: E731
    expected = (model(x.transpose(0, 1)).argmax(1) == y).double().mean()
    assert score(model, as_source(loader, "test"), mean, device=CPU, batch_size=4) == pytest.approx(float(expected))


def test_figures_of_two_tasks_are_those_of_all_samples():
    model, data = built(Tasks), Two(22)
    task = Task(DataLoader(Two(8)), DataLoader(data, batch_size=8), DataLoader(Two(8)), both_tasks, both_right)
    whole = default_collate([data[number] for number in range(22)])
    expected = float(both_right(model(whole[0]), whole[1]).mean()), float(both_tasks(model(whole[0]), whole[1]))
    replay = LayerReplay(model, ["body.weight"], task.select, device=CPU, batch_size=8)
    for outputs in (outputs_of(model, task.select, device=CPU, batch_size=8), replay.outputs({})):
        batches = list(outputs)
        figures = score_outputs(batches, task.metric).value, losses_of(batches, task.loss).mean
        assert figures == pytest.approx(expected)
    assert score(model, task.select, both_right, device=CPU, batch_size=8) == pytest.approx(expected[0])


@pytest.mark.parametrize("size", [3, 5])
def test_train_takes_the_same_steps_in_micro_batches_of_what_a_loader_collates(size):
    *_, loader = sequences()
    two = DataLoader(Two(22), batch_size=8)
    for kind, data, loss in ((Sequences, loader, functional.cross_entropy), (Tasks, two, both_tasks)):
        whole = trained(built(kind), as_source(data, "train"), size=8, loss=loss)
        parts = trained(built(kind), as_source(data, "train"), size=size, loss=loss)
        assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(whole, parts, strict=True))


def test_train_refuses_to_cut_batches_that_may_be_read_in_two_ways():
    *_, loader = sequences(16)
    batches = batches_of(loader)
    with pytest.raises(DataError, match=r"\[8, 8, 3\] counts the 8 samples.*batch_dim"):
        trained(built(Sequences), as_source(batches, "train"), size=4)
    told = trained(built(Sequences), as_source(batches, "train", 1), size=4)
    whole = trained(built(Sequences), as_source(batches, "train"), size=8)
    assert all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(whole, told, strict=True))


def test_train_learns_from_batches_of_one_where_the_loader_makes_no_others():
    *_, loader = sequences(6, batch_size=1)
    before = [parameter.detach().clone() for parameter in built(Sequences).parameters()]
    after = trained(built(Sequences), as_source(loader, "train"), size=8)
    assert not any(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_recalibration_reads_batches_of_one_where_the_loader_makes_no_others():
    model = nn.Sequential(nn.BatchNorm1d(3)).double()
    x, y, _ = sequences(6, 5)
    loader = DataLoader(TensorDataset(x.transpose(1, 2), y), batch_size=1)
    recalibrate_batch_norm(model, as_source(loader, "train"), batches=6, batch_size=8, device=CPU, seed=0)
    assert torch.allclose(model[0].running_mean, x.mean((0, 1)))


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_train_takes_the_steps_of_a_dense_embedding_with_a_sparse_one(optimizer):
    def weights(*, sparse):
        with isolated_rng(0):
            model = nn.Sequential(nn.Embedding(9, 4, sparse=sparse), nn.Flatten(), nn.Linear(12, 2)).double()
        tokens = torch.arange(60).view(20, 3) % 9
        source = as_source(DataLoader(TensorDataset(tokens, tokens[:, 0] % 2), batch_size=8), "train")
        how = Schedule(5, 8, optimizer, 0.1, 0.1)
        train(
            model,
            source,
            how,
            loss=functional.cross_entropy,
            seeds=SeedTree(0),
            device=CPU,
            micro_batch=MicroBatch(3, stage="test"),
        )
        return list(model.parameters())

    assert all(torch.allclose(a, b) for a, b in zip(weights(sparse=True), weights(sparse=False), strict=True))


def test_train_leaves_frozen_parameters_alone_and_refuses_a_model_of_nothing_else():
    *_, loader = sequences()
    model = built(Sequences)
    model.rnn.requires_grad_(False)
    before = model.rnn.weight_hh_l0.clone()
    trained(model, as_source(loader, "train"), size=8)
    assert torch.equal(model.rnn.weight_hh_l0, before)
    with pytest.raises(UnsupportedModelError, match=r"no parameter.*requires a gradient"):
        trained(model.requires_grad_(False), as_source(loader, "train"), size=8)


def singly(model, x, y):
    """Squared gradients of single sequences, averaged."""
    total = {name: torch.zeros_like(value) for name, value in model.named_parameters()}
    for one, target in zip(x, y, strict=True):
        loss = functional.cross_entropy(model(one[:, None]), target[None])
        for name, gradient in zip(total, torch.autograd.grad(loss, list(model.parameters())), strict=True):
            total[name] += gradient**2 / len(x)
    return total


@pytest.mark.parametrize("told", [False, True], ids=["a loader", "batches"])
def test_fisher_looks_at_single_sequences_laid_out_time_first(told):
    model, (x, y, loader) = built(Sequences), sequences(16)
    source = as_source(batches_of(loader), "train", 1) if told else as_source(loader, "train")
    found = fisher_diagonal(model, ["hidden.weight"], source.batches(8, device=CPU), functional.cross_entropy)
    assert torch.allclose(found["hidden.weight"], singly(model, x, y)["hidden.weight"])


def test_criteria_look_at_single_sequences_laid_out_time_first():
    model, (x, y, loader) = built(Sequences), sequences(16)
    space = analyze(model, x[:1].transpose(0, 1))
    scores = importance(model, space, "hessian", loader, functional.cross_entropy)
    squares, values = singly(model, x, y), dict(model.named_parameters())
    half = {name: squares[name] * values[name].detach() ** 2 / 2 for name in ("hidden.weight", "hidden.bias")}
    expected = half["hidden.weight"].sum(1) + half["hidden.bias"]
    (group,) = [group for group in space.groups if group.size == 5]
    assert torch.allclose(torch.from_numpy(scores[group.start : group.stop]), expected)
