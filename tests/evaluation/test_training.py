import math
from itertools import chain

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.loaders import LoaderSource
from evoprune.data.task import accuracy
from evoprune.errors import DataError, DeviceMemoryError, DivergedError
from evoprune.evaluation.teacher import Teacher
from evoprune.evaluation.training import Schedule, train
from evoprune.events import BatchHalved
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.accuracy import score
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from tests.evaluation.doubles import CPU, ShortOfMemory, network, points

SEEDS = SeedTree(0).child("test")


def schedule(steps, *, batch_size=8, optimizer="adamw", lr=0.05, weight_decay=0.1, warmup=0.2):
    return Schedule(steps, batch_size, optimizer, lr, weight_decay, warmup)


def trained(model, source, how, *, loss=functional.cross_entropy, micro_batch=None, on_step=None, seeds=SEEDS):
    micro_batch = micro_batch or MicroBatch(how.batch_size, stage="test")
    train(model, source, how, loss=loss, seeds=seeds, device=CPU, micro_batch=micro_batch, on_step=on_step)
    return [parameter.detach() for parameter in model.parameters()]


def same(one, other):
    return all(torch.allclose(a, b, rtol=0, atol=1e-12) for a, b in zip(one, other, strict=True))


class AdamW:
    """Loshchilov and Hutter 2019, written down from the paper; torch's defaults for the rest."""

    def __init__(self, parameters, decay):
        self.parameters, self.decay, self.step_count = parameters, decay, 0
        self.first, self.second = ([torch.zeros_like(p) for p in parameters] for _ in range(2))

    def step(self, lr):
        self.step_count += 1
        for weight, mean, square in zip(self.parameters, self.first, self.second, strict=True):
            weight.mul_(1 - lr * self.decay)
            mean.lerp_(weight.grad, 0.1)
            square.lerp_(weight.grad**2, 0.001)
            slope = mean / (1 - 0.9**self.step_count)
            weight.sub_(lr * slope / ((square / (1 - 0.999**self.step_count)).sqrt() + 1e-8))


class Sgd:
    """Momentum 0.9 after Nesterov, with L2 decay, as torch defines it."""

    def __init__(self, parameters, decay):
        self.parameters, self.decay = parameters, decay
        self.velocity = [None] * len(parameters)

    def step(self, lr):
        for number, weight in enumerate(self.parameters):
            slope = weight.grad + self.decay * weight
            before = self.velocity[number]
            self.velocity[number] = slope if before is None else 0.9 * before + slope
            weight.sub_(lr * (slope + 0.9 * self.velocity[number]))


def by_hand(model, source, how, optimizer):
    """Three epochs at most, in the order that the seeds say."""
    epochs = [source.batches(how.batch_size, device=CPU, seed=SEEDS.child("order", epoch).seed) for epoch in range(3)]
    optimizer = optimizer(list(model.parameters()), how.weight_decay)
    rising = how.warmup * how.steps
    for step, (inputs, targets) in zip(range(how.steps), chain(*epochs), strict=False):
        model.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        falling = 0.5 + 0.5 * math.cos(math.pi * (step - rising) / (how.steps - rising))
        with torch.no_grad():
            optimizer.step(how.lr * ((step + 1) / (rising + 1) if step < rising else falling))
    return [parameter.detach() for parameter in model.parameters()]


@pytest.mark.parametrize(("name", "optimizer"), [("adamw", AdamW), ("sgd", Sgd)])
def test_train_equals_a_loop_by_hand(name, optimizer):
    source, how = points(21), schedule(8, optimizer=name)
    wanted = by_hand(network(), source, how, optimizer)
    assert same(trained(network(), source, how), wanted)
    assert not same(trained(network(), source, schedule(7, optimizer=name)), wanted)


def test_lr_factor_rises_linearly_and_falls_along_a_cosine():
    how = schedule(10, warmup=0.2)
    assert [how.lr_factor(step) for step in (0, 1, 2, 6)] == pytest.approx([1 / 3, 2 / 3, 1, 0.5])
    assert how.lr_factor(9) == pytest.approx(0.5 * (1 + math.cos(7 / 8 * math.pi)))


@pytest.mark.parametrize("warmup", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_lr_factor_is_a_share_of_the_peak_above_zero(steps, warmup):
    factors = [schedule(steps, warmup=warmup).lr_factor(step) for step in range(steps)]
    assert min(factors) > 0
    assert max(factors) <= 1


def test_train_changes_nothing_when_there_are_no_steps():
    model = network().eval()
    before = [parameter.clone() for parameter in model.parameters()]
    after = trained(model, points(8), schedule(0), loss=None)
    assert all(map(torch.equal, before, after))
    assert not model.training


def test_train_leaves_frozen_parameters_as_they_are():
    model = network()
    model[0].weight.requires_grad_(False)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    after = trained(model, points(16), schedule(3))
    assert [torch.equal(*both) for both in zip(before, after, strict=True)] == [True, False, False, False]


def test_train_reports_every_step_with_its_loss():
    seen, source = [], points(16)
    # One batch of all samples: their order does not matter.
    first = functional.cross_entropy(network()(source.inputs), source.targets).item()
    trained(network(), source, schedule(3, batch_size=16), on_step=lambda *step: seen.append(step))
    assert [step for step, _ in seen] == [1, 2, 3]
    assert seen[0][1] == pytest.approx(first)
    assert seen[2][1] < seen[0][1]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
@pytest.mark.parametrize("size", [3, 4, 7])
def test_train_takes_the_same_steps_in_micro_batches(optimizer, size):
    how = schedule(5, batch_size=10, optimizer=optimizer)
    losses, whole_losses = [], []
    whole = trained(network(), points(24), how, on_step=lambda _, loss: whole_losses.append(loss))
    parts = trained(
        network(),
        points(24),
        how,
        micro_batch=MicroBatch(size, stage="test"),
        on_step=lambda _, loss: losses.append(loss),
    )
    assert same(parts, whole)
    assert losses == pytest.approx(whole_losses, abs=1e-12)


def test_train_halves_once_says_it_once_and_goes_on_when_memory_runs_out():
    said, loss, how = [], ShortOfMemory(room=20), schedule(6, batch_size=32)
    micro_batch = MicroBatch(32, stage="test", notify=said.append)
    weights = trained(network(), points(64), how, loss=loss, micro_batch=micro_batch)
    assert said == [BatchHalved("test", 16)]
    assert loss.refused == [32]
    assert same(weights, trained(network(), points(64), how))


def test_train_recovers_when_memory_runs_out_in_the_middle_of_a_batch():
    failures = iter([False, True])

    def loss(outputs, targets):
        if next(failures, False):
            raise torch.OutOfMemoryError("now and then")
        return functional.cross_entropy(outputs, targets)

    how = schedule(4, batch_size=32)
    micro_batch = MicroBatch(16, stage="test")
    weights = trained(network(), points(64), how, loss=loss, micro_batch=micro_batch)
    assert micro_batch.size == 8
    assert same(weights, trained(network(), points(64), how))


def test_train_stops_when_the_smallest_batch_does_not_fit():
    said, loss = [], ShortOfMemory(room=4)
    micro_batch = MicroBatch(32, stage="retraining", notify=said.append)
    with pytest.raises(DeviceMemoryError, match=r"retraining.*8 samples.*end other programs"):
        trained(network(), points(64), schedule(2, batch_size=32), loss=loss, micro_batch=micro_batch)
    assert [event.micro_batch for event in said] == [16, 8]
    assert loss.refused == [32, 16, 8]


@pytest.mark.parametrize("count", [9, 17, 57])
def test_train_gives_batch_norm_more_than_one_sample_in_every_micro_batch(count):
    model, micro_batch = network(nn.BatchNorm1d(7)), MicroBatch(8, stage="test")
    trained(model, points(count), schedule(2, batch_size=count), micro_batch=micro_batch)
    assert int(model[1].num_batches_tracked) == 2 * math.ceil(count / 8)


def test_train_leaves_out_a_single_sample_at_the_end_of_an_epoch():
    model = network(nn.BatchNorm1d(7))
    trained(model, points(9), schedule(5, batch_size=8))
    assert int(model[1].num_batches_tracked) == 5


def test_train_refuses_a_set_of_one_sample():
    with pytest.raises(DataError, match="more than one sample"):
        trained(network(), points(1), schedule(1))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_train_raises_diverged_when_the_loss_is_not_finite(bad):
    steps = []
    with pytest.raises(DivergedError, match="learning rate"):
        trained(
            network(),
            points(16),
            schedule(200),
            loss=lambda outputs, _: outputs.sum() * bad,
            on_step=lambda step, _: steps.append(step),
        )
    assert len(steps) < 60


def test_train_raises_diverged_when_the_learning_rate_is_absurd():
    with pytest.raises(DivergedError):
        trained(network(nn.ReLU()), points(64), schedule(60, optimizer="sgd", lr=1e30))


def test_train_draws_dropout_from_its_seeds_alone():
    how = schedule(4)
    with isolated_rng(1):
        first = trained(network(nn.Dropout(0.5)), points(16), how)
    with isolated_rng(2):
        again = trained(network(nn.Dropout(0.5)), points(16), how)
    other = trained(network(nn.Dropout(0.5)), points(16), how, seeds=SeedTree(1))
    assert all(map(torch.equal, first, again))
    assert not any(map(torch.equal, first, other))


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, a, b):
        return self.fc(torch.cat([a, b], dim=1))


@pytest.mark.parametrize("kind", [tuple, list, lambda pair: dict(zip("ab", pair, strict=True))])
def test_train_and_score_spread_inputs_as_the_example_inputs_are(seeded_torch, kind):
    pair = (torch.randn(12, 2), torch.randn(12, 2))
    source = LoaderSource(([(kind(pair), torch.zeros(12, dtype=torch.long))],))
    model = TwoInputs()
    how = Schedule(30, 12, "sgd", 0.1, 0.0)
    train(
        model,
        source,
        how,
        loss=functional.cross_entropy,
        seeds=SeedTree(0),
        device=CPU,
        micro_batch=MicroBatch(4, stage="test"),
    )
    assert score(model, source, accuracy, device=CPU, batch_size=4) == 1.0


def test_train_keeps_float32_weights_near_those_of_float32_when_it_computes_in_bfloat16(seeded_torch):
    x = torch.randn(256, 8)
    source, trained, seen = LoaderSource(([(x, (x[:, 0] > 0).long())],)), {}, set()
    for precision in ("float32", "bfloat16"):
        with isolated_rng(1):
            model = nn.Linear(8, 2)
        model.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
        schedule = Schedule(30, 256, "sgd", 0.1, 0.0, precision=precision)
        train(
            model,
            source,
            schedule,
            loss=functional.cross_entropy,
            seeds=SeedTree(0),
            device=torch.device("cpu"),
            micro_batch=MicroBatch(256, stage="test"),
        )
        trained[precision] = model.weight.detach()
    assert seen == {torch.float32, torch.bfloat16}
    assert trained["bfloat16"].dtype == torch.float32
    assert not torch.equal(trained["bfloat16"], trained["float32"])
    torch.testing.assert_close(trained["bfloat16"], trained["float32"], atol=0.02, rtol=0.02)


def test_clipped_gradients_of_kept_weights_make_a_step_of_the_norm_given():
    model = network()
    before = [one.detach().clone() for one in model.parameters()]
    masks = {"0.weight": torch.zeros_like(model[0].weight, dtype=torch.bool)}
    how = Schedule(1, 8, "sgd", 1.0, 0.0, warmup=0.0, clip_grad_norm=0.001)
    micro_batch = MicroBatch(8, stage="test")
    source = points(16)
    model[0].weight.data.zero_()
    before[0].zero_()
    train(
        model, source, how, loss=functional.cross_entropy, seeds=SEEDS, device=CPU, micro_batch=micro_batch, masks=masks
    )
    moved = [after.detach() - one for after, one in zip(model.parameters(), before, strict=True)]
    # Nesterov's first step is 1.9 gradients long.
    assert float(torch.cat([one.flatten() for one in moved]).norm()) == pytest.approx(0.0019, rel=1e-4)
    assert not moved[0].any()


def test_learning_from_a_teacher_brings_the_outputs_nearer_to_its_own_than_the_targets_do():
    source, teacher = points(64), network(seed=5).eval()
    inputs = next(source.batches(64, device=CPU))[0]
    away = {}
    for share in (0.0, 1.0):
        model = network()
        train(
            model,
            source,
            schedule(80),
            loss=functional.cross_entropy,
            seeds=SEEDS,
            device=CPU,
            micro_batch=MicroBatch(8, stage="test"),
            teacher=Teacher(teacher, share, 1.0),
        )
        with torch.no_grad():
            away[share] = float((model.eval()(inputs).softmax(1) - teacher(inputs).softmax(1)).norm())
    assert away[1.0] < 0.5 * away[0.0]
