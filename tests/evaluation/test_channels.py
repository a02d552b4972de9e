from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import evoprune as ep
from evoprune.channels.channel_bits import ChannelBits
from evoprune.data.task import Task
from evoprune.errors import DataError, DeviceMemoryError
from evoprune.evaluation.base import Bounds, evaluate
from evoprune.evaluation.channels import ChannelEvaluator
from evoprune.evaluation.recovery import Fidelity
from evoprune.evaluation.training import Schedule
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.accuracy import Accuracy
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.cost import Macs, Params
from evoprune.results import Status
from evoprune.rng import isolated_rng
from evoprune.search.operators import sample
from evoprune.seeding import SeedTree
from evoprune.testing.evaluator_suite import EvaluatorSuite
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.evaluation.doubles import CPU, ShortOfMemory

FIDELITY = Fidelity(recalibrate_batches=2, schedule=Schedule(12, 32, "adamw", 0.01, 0.01))


def evaluator_of(*, model=None, task=None, constraints=(), **others):
    tiny, tiny_task, example = tiny_recipe()
    model = model or tiny
    encoding = ChannelBits(ep.analyze(model, example))
    dense = ep.count(model, example)
    evaluator = ChannelEvaluator(
        model=model,
        task=task or tiny_task,
        example_inputs=example,
        encoding=encoding,
        fidelities=[FIDELITY, replace(FIDELITY, recalibrate_batches=0)],
        objectives=[Accuracy(), Macs(), Params()],
        bounds=Bounds(
            tuple(map(Constraint.parse, constraints)),
            {"accuracy": 0.9, "macs": dense.macs, "params": dense.params},
        ),
        seeds=SeedTree(0),
        device=CPU,
        training_batch=MicroBatch(32, stage="training"),
        scoring_batch=MicroBatch(64, stage="scoring"),
    )
    return replace(evaluator, **others)


def genome(evaluator, *, seed=0, keep=(0.5, 0.8)):
    return sample(evaluator.encoding, keep, SeedTree(seed).generator())


def with_task(**changes):
    task = tiny_recipe()[1]
    fields = {name: getattr(task, name) for name in ("train", "select", "test", "loss", "metric")}
    return Task(**{**fields, **changes})


def never(*_):
    raise AssertionError("this candidate should not be trained")


def test_evaluation_holds_what_an_independent_measurement_says():
    evaluator = evaluator_of(
        fidelities=[replace(FIDELITY, recalibrate_batches=0, schedule=replace(FIDELITY.schedule, steps=0))]
    )
    candidate = genome(evaluator)
    evaluation, cost = evaluate(evaluator, candidate)
    small = ep.prune(evaluator.model, evaluator.encoding.decode(candidate)).eval()
    images, labels = next(evaluator.task.select.batches(64, device=CPU))
    right = (small(images).argmax(1) == labels).sum().item()
    count = ep.count(small, evaluator.example_inputs)
    assert evaluation.objectives == {"accuracy": right / 64, "macs": count.macs, "params": count.params}
    assert (evaluation.status, evaluation.genome, evaluation.violation) == (Status.OK, candidate.digest, 0)
    assert cost.wall_s > 0
    assert cost.micro_batch == 32


@pytest.mark.slow
def test_same_genome_gives_same_evaluation_whatever_came_before():
    evaluator = evaluator_of()
    candidate, other = genome(evaluator, seed=1), genome(evaluator, seed=2)
    first, _ = evaluate(evaluator, candidate)
    another, _ = evaluate(evaluator, other)
    with isolated_rng(99):
        again, _ = evaluate(evaluator, candidate)
    elsewhere, _ = evaluate(evaluator_of(), candidate)
    assert first == again == elsewhere
    assert first.objectives != another.objectives


@pytest.mark.slow
def test_candidates_of_a_rung_see_the_same_samples_and_other_rungs_others():
    def first_labels(candidate, rung):
        seen = []

        def loss(outputs, targets):
            seen.append(targets.tolist())
            return functional.cross_entropy(outputs, targets)

        evaluate(evaluator_of(task=with_task(loss=loss)), candidate, rung)
        return seen[0]

    one, other = (genome(evaluator_of(), seed=seed) for seed in (1, 2))
    assert first_labels(one, 0) == first_labels(one, 0) == first_labels(other, 0)
    assert first_labels(one, 0) != first_labels(one, 1)


def test_fine_tuning_learns():
    untrained = replace(FIDELITY, schedule=replace(FIDELITY.schedule, steps=0))
    evaluator = evaluator_of(fidelities=[untrained, replace(FIDELITY, schedule=replace(FIDELITY.schedule, steps=40))])
    candidate = genome(evaluator)
    before, after = (evaluate(evaluator, candidate, rung)[0] for rung in (0, 1))
    assert (before.rung, after.rung) == (0, 1)
    assert before.objectives["accuracy"] + 0.2 < after.objectives["accuracy"]


def test_evaluation_leaves_the_dense_network_and_the_global_generator_untouched():
    evaluator = evaluator_of()
    before = {name: value.clone() for name, value in evaluator.model.state_dict().items()}
    state, mode = torch.get_rng_state(), evaluator.model.training
    evaluate(evaluator, genome(evaluator))
    assert all(torch.equal(value, before[name]) for name, value in evaluator.model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in evaluator.model.parameters())
    assert torch.get_rng_state().equal(state)
    assert evaluator.model.training == mode


def test_candidate_over_a_countable_bound_is_infeasible_and_not_trained():
    evaluator = evaluator_of(constraints=["macs<=0.01"], task=with_task(loss=never, metric=never))
    evaluation, _ = evaluate(evaluator, genome(evaluator))
    macs = evaluation.objectives["macs"]
    assert evaluation.status is Status.INFEASIBLE
    assert set(evaluation.objectives) == {"macs", "params"}
    assert evaluation.violation == pytest.approx(macs / (0.01 * evaluator.bounds.baseline["macs"]) - 1)


def test_candidate_under_a_measured_bound_is_infeasible_after_training():
    evaluator = evaluator_of(constraints=["accuracy>=1.25", "params<=90%"])
    evaluation, _ = evaluate(evaluator, genome(evaluator))
    assert evaluation.status is Status.INFEASIBLE
    assert evaluation.violation == pytest.approx(1 - evaluation.objectives["accuracy"] / 1.25)
    assert "constraint" in evaluation.reason


def test_candidate_whose_loss_is_nan_is_failed():
    evaluator = evaluator_of(task=with_task(loss=lambda outputs, _: outputs.sum() * float("nan")))
    evaluation, cost = evaluate(evaluator, genome(evaluator))
    assert evaluation.status is Status.FAILED
    assert evaluation.objectives == {}
    assert "not finite" in evaluation.reason
    assert cost.wall_s > 0


def test_candidate_whose_metric_is_nan_is_failed():
    evaluator = evaluator_of(task=with_task(metric=lambda outputs, _: outputs.sum() * float("nan")))
    evaluation, _ = evaluate(evaluator, genome(evaluator))
    assert evaluation.status is Status.FAILED
    assert "accuracy is nan" in evaluation.reason


def test_candidate_that_would_keep_nothing_is_failed():
    evaluator = evaluator_of()
    nothing = genome(evaluator).__class__.from_bits(torch.zeros(evaluator.encoding.length).bool().numpy())
    evaluation, _ = evaluate(evaluator, nothing)
    assert evaluation.status is Status.FAILED
    assert evaluation.reason


def test_error_that_the_user_must_fix_stops_the_run():
    def loss(outputs, targets):
        raise DataError("labels must be below 4")

    evaluator = evaluator_of(task=with_task(loss=loss))
    with pytest.raises(DataError, match="below 4"):
        evaluate(evaluator, genome(evaluator))


def test_running_out_of_memory_halves_for_all_candidates_that_follow():
    loss = ShortOfMemory(room=20)
    evaluator = evaluator_of(task=with_task(loss=loss))
    costs = [evaluate(evaluator, genome(evaluator, seed=seed))[1] for seed in range(2)]
    assert [cost.micro_batch for cost in costs] == [16, 16]
    assert loss.refused == [32]


def test_running_out_of_memory_for_good_stops_the_run():
    evaluator = evaluator_of(task=with_task(loss=ShortOfMemory(room=1)))
    with pytest.raises(DeviceMemoryError, match="training"):
        evaluate(evaluator, genome(evaluator))


def test_running_out_of_memory_in_scoring_halves_the_scoring_batch_alone():
    def metric(outputs, targets):
        if len(targets) > 40:
            raise torch.OutOfMemoryError("full")
        return outputs.argmax(1) == targets

    evaluator, roomy = evaluator_of(task=with_task(metric=metric)), evaluator_of()
    evaluation, _ = evaluate(evaluator, genome(evaluator))
    assert (evaluator.scoring_batch.size, evaluator.training_batch.size) == (32, 32)
    assert (roomy.scoring_batch.size, evaluation) == (64, evaluate(roomy, genome(roomy))[0])


def test_score_looks_at_as_many_samples_as_the_rung_says():
    seen = []

    def metric(outputs, targets):
        seen.append(len(targets))
        return outputs.argmax(1) == targets

    evaluator = evaluator_of(task=with_task(metric=metric), fidelities=[replace(FIDELITY, select_samples=10)])
    evaluation, _ = evaluate(evaluator, genome(evaluator))
    assert seen == [10]
    assert evaluation.objectives["accuracy"] * 10 == pytest.approx(round(evaluation.objectives["accuracy"] * 10))


class DropoutCNN(TinyCNN):
    def forward(self, images):
        features = functional.max_pool2d(self.bn1(self.conv1(images)), 2).relu()
        features = functional.max_pool2d(self.bn2(self.conv2(features)), 2).relu()
        return self.fc(functional.dropout(features.flatten(1), 0.5, training=self.training))


def test_network_with_dropout_gives_the_same_evaluation_again():
    with isolated_rng(5):
        model = DropoutCNN()
    evaluator = evaluator_of(model=model)
    candidate = genome(evaluator)
    with isolated_rng(1):
        first, _ = evaluate(evaluator, candidate)
    with isolated_rng(2):
        again, _ = evaluate(evaluator, candidate)
    losses = [last_loss(replace(evaluator, seeds=SeedTree(seed)), candidate) for seed in (0, 0, 1)]
    assert first == again
    assert losses[0] == losses[1] != losses[2]


def last_loss(evaluator, candidate):
    seen = []

    def loss(outputs, targets):
        seen.append(functional.cross_entropy(outputs, targets))
        return seen[-1]

    evaluate(replace(evaluator, task=with_task(loss=loss)), candidate)
    return seen[-1].item()


@pytest.mark.parametrize("shuffle", [False, True])
def test_evaluation_on_loaders_is_reproducible_and_draws_nothing_from_outside(shuffle):
    images, labels = next(tiny_recipe()[1].train.batches(192, device=CPU))
    sets = {
        name: DataLoader(TensorDataset(images[start::3], labels[start::3]), batch_size=32, shuffle=shuffle)
        for start, name in enumerate(("train", "select", "test"))
    }
    evaluator = evaluator_of(task=Task(**sets))
    candidate, state = genome(evaluator), torch.get_rng_state()
    first, _ = evaluate(evaluator, candidate)
    assert torch.get_rng_state().equal(state)
    with isolated_rng(7):
        assert evaluate(evaluator, candidate)[0] == first


def test_evaluation_on_a_loader_with_a_sampler_of_its_own_draws_nothing_from_outside():
    task = tiny_recipe()[1]
    images, labels = next(task.train.batches(64, device=CPU))
    data = TensorDataset(images, labels)
    loader = DataLoader(data, batch_size=32, sampler=RandomSampler(data, replacement=True, num_samples=40))
    other = [(images.clone(), labels.clone())]
    evaluator = evaluator_of(task=Task(train=loader, val=other, test=[(images[:2], labels[:2])]))
    candidate = genome(evaluator)
    first, _ = evaluate(evaluator, candidate)
    assert evaluate(evaluator, candidate)[0] == first
    assert isinstance(evaluator.model, nn.Module)


class TestChannelEvaluator(EvaluatorSuite):
    def evaluator(self, bounds):
        return evaluator_of(bounds=bounds)

    def genome(self, number):
        return genome(evaluator_of(), seed=number)

    def dense(self, evaluator):
        return evaluator.model
