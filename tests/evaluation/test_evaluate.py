from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, RandomSampler, TensorDataset

import evoprune as ep
from evoprune.errors import DataError, DeviceMemoryError
from evoprune.evaluation.evaluate import evaluate_candidate
from evoprune.evaluation.fidelity import Fidelity
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import Schedule
from evoprune.evaluation.workbench import Workbench
from evoprune.objectives.accuracy import Accuracy
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.cost import Macs, Params
from evoprune.results import Status
from evoprune.rng import isolated_rng
from evoprune.search.operators import sample
from evoprune.seeding import SeedTree
from evoprune.space.channel_bits import ChannelBits
from evoprune.task import Task
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.evaluation.doubles import CPU, ShortOfMemory

FIDELITY = Fidelity(recalibrate_batches=2, schedule=Schedule(12, 32, "adamw", 0.01, 0.01))


def workbench(*, model=None, task=None, constraints=(), **others):
    tiny, tiny_task, example = tiny_recipe()
    model = model or tiny
    encoding = ChannelBits(ep.analyze(model, example))
    dense = ep.count(model, example)
    bench = Workbench(
        model=model,
        task=task or tiny_task,
        example_inputs=example,
        encoding=encoding,
        fidelities=[FIDELITY, replace(FIDELITY, recalibrate_batches=0)],
        objectives=[Accuracy(), Macs(), Params()],
        constraints=tuple(map(Constraint.parse, constraints)),
        baseline={"accuracy": 0.9, "macs": dense.macs, "params": dense.params},
        seeds=SeedTree(0),
        device=CPU,
        training_batch=MicroBatch(32, stage="training"),
        scoring_batch=MicroBatch(64, stage="scoring"),
    )
    return replace(bench, **others)


def genome(bench, *, seed=0, keep=(0.5, 0.8)):
    return sample(bench.encoding, keep, SeedTree(seed).generator())


def with_task(**changes):
    task = tiny_recipe()[1]
    fields = {name: getattr(task, name) for name in ("train", "select", "test", "loss", "metric")}
    return Task(**{**fields, **changes})


def never(*_):
    raise AssertionError("this candidate should not be trained")


def test_evaluation_holds_what_an_independent_measurement_says():
    bench = workbench(
        fidelities=[replace(FIDELITY, recalibrate_batches=0, schedule=replace(FIDELITY.schedule, steps=0))]
    )
    candidate = genome(bench)
    evaluation, cost = evaluate_candidate(bench, candidate)
    small = ep.prune(bench.model, bench.encoding.decode(candidate)).eval()
    images, labels = next(bench.task.select.batches(64, device=CPU))
    right = (small(images).argmax(1) == labels).sum().item()
    count = ep.count(small, bench.example_inputs)
    assert evaluation.objectives == {"accuracy": right / 64, "macs": count.macs, "params": count.params}
    assert (evaluation.status, evaluation.genome, evaluation.violation) == (Status.OK, candidate.digest, 0)
    assert cost.wall_s > 0
    assert cost.micro_batch == 32


def test_same_genome_gives_same_evaluation_whatever_came_before():
    bench = workbench()
    candidate, other = genome(bench, seed=1), genome(bench, seed=2)
    first, _ = evaluate_candidate(bench, candidate)
    another, _ = evaluate_candidate(bench, other)
    with isolated_rng(99):
        again, _ = evaluate_candidate(bench, candidate)
    elsewhere, _ = evaluate_candidate(workbench(), candidate)
    assert first == again == elsewhere
    assert first.objectives != another.objectives


def test_candidates_and_rungs_draw_from_seeds_of_their_own():
    def first_labels(candidate, rung):
        seen = []

        def loss(outputs, targets):
            seen.append(targets.tolist())
            return functional.cross_entropy(outputs, targets)

        evaluate_candidate(workbench(task=with_task(loss=loss)), candidate, rung)
        return seen[0]

    one, other = (genome(workbench(), seed=seed) for seed in (1, 2))
    assert first_labels(one, 0) == first_labels(one, 0)
    assert first_labels(one, 0) != first_labels(other, 0)
    assert first_labels(one, 0) != first_labels(one, 1)


def test_fine_tuning_learns():
    untrained = replace(FIDELITY, schedule=replace(FIDELITY.schedule, steps=0))
    bench = workbench(fidelities=[untrained, replace(FIDELITY, schedule=replace(FIDELITY.schedule, steps=40))])
    candidate = genome(bench)
    before, after = (evaluate_candidate(bench, candidate, rung)[0] for rung in (0, 1))
    assert (before.rung, after.rung) == (0, 1)
    assert before.objectives["accuracy"] + 0.2 < after.objectives["accuracy"]


def test_evaluation_leaves_the_dense_network_and_the_global_generator_untouched():
    bench = workbench()
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    state, mode = torch.get_rng_state(), bench.model.training
    evaluate_candidate(bench, genome(bench))
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in bench.model.parameters())
    assert torch.get_rng_state().equal(state)
    assert bench.model.training == mode


def test_candidate_over_a_countable_bound_is_infeasible_and_not_trained():
    bench = workbench(constraints=["macs<=0.01"], task=with_task(loss=never, metric=never))
    evaluation, _ = evaluate_candidate(bench, genome(bench))
    macs = evaluation.objectives["macs"]
    assert evaluation.status is Status.INFEASIBLE
    assert set(evaluation.objectives) == {"macs", "params"}
    assert evaluation.violation == pytest.approx(macs / (0.01 * bench.baseline["macs"]) - 1)


def test_candidate_under_a_measured_bound_is_infeasible_after_training():
    bench = workbench(constraints=["accuracy>=1.25", "params<=90%"])
    evaluation, _ = evaluate_candidate(bench, genome(bench))
    assert evaluation.status is Status.INFEASIBLE
    assert evaluation.violation == pytest.approx(1 - evaluation.objectives["accuracy"] / 1.25)
    assert "constraint" in evaluation.reason


def test_candidate_whose_loss_is_nan_is_failed():
    bench = workbench(task=with_task(loss=lambda outputs, _: outputs.sum() * float("nan")))
    evaluation, cost = evaluate_candidate(bench, genome(bench))
    assert evaluation.status is Status.FAILED
    assert evaluation.objectives == {}
    assert "not finite" in evaluation.reason
    assert cost.wall_s > 0


def test_candidate_whose_metric_is_nan_is_failed():
    bench = workbench(task=with_task(metric=lambda outputs, _: outputs.sum() * float("nan")))
    evaluation, _ = evaluate_candidate(bench, genome(bench))
    assert evaluation.status is Status.FAILED
    assert "accuracy is nan" in evaluation.reason


def test_candidate_that_would_keep_nothing_is_failed():
    bench = workbench()
    nothing = genome(bench).__class__.from_bits(torch.zeros(bench.encoding.length).bool().numpy())
    evaluation, _ = evaluate_candidate(bench, nothing)
    assert evaluation.status is Status.FAILED
    assert evaluation.reason


def test_error_that_the_user_must_fix_stops_the_run():
    def loss(outputs, targets):
        raise DataError("labels must be below 4")

    bench = workbench(task=with_task(loss=loss))
    with pytest.raises(DataError, match="below 4"):
        evaluate_candidate(bench, genome(bench))


def test_running_out_of_memory_halves_for_all_candidates_that_follow():
    loss = ShortOfMemory(room=20)
    bench = workbench(task=with_task(loss=loss))
    costs = [evaluate_candidate(bench, genome(bench, seed=seed))[1] for seed in range(2)]
    assert [cost.micro_batch for cost in costs] == [16, 16]
    assert loss.refused == [32]


def test_running_out_of_memory_for_good_stops_the_run():
    bench = workbench(task=with_task(loss=ShortOfMemory(room=1)))
    with pytest.raises(DeviceMemoryError, match="training"):
        evaluate_candidate(bench, genome(bench))


def test_running_out_of_memory_in_scoring_halves_the_scoring_batch_alone():
    def metric(outputs, targets):
        if len(targets) > 40:
            raise torch.OutOfMemoryError("full")
        return outputs.argmax(1) == targets

    bench, roomy = workbench(task=with_task(metric=metric)), workbench()
    evaluation, _ = evaluate_candidate(bench, genome(bench))
    assert (bench.scoring_batch.size, bench.training_batch.size) == (32, 32)
    assert (roomy.scoring_batch.size, evaluation) == (64, evaluate_candidate(roomy, genome(roomy))[0])


def test_score_looks_at_as_many_samples_as_the_rung_says():
    seen = []

    def metric(outputs, targets):
        seen.append(len(targets))
        return outputs.argmax(1) == targets

    bench = workbench(task=with_task(metric=metric), fidelities=[replace(FIDELITY, select_samples=10)])
    evaluation, _ = evaluate_candidate(bench, genome(bench))
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
    bench = workbench(model=model)
    candidate = genome(bench)
    with isolated_rng(1):
        first, _ = evaluate_candidate(bench, candidate)
    with isolated_rng(2):
        again, _ = evaluate_candidate(bench, candidate)
    losses = [last_loss(replace(bench, seeds=SeedTree(seed)), candidate) for seed in (0, 0, 1)]
    assert first == again
    assert losses[0] == losses[1] != losses[2]


def last_loss(bench, candidate):
    seen = []

    def loss(outputs, targets):
        seen.append(functional.cross_entropy(outputs, targets))
        return seen[-1]

    evaluate_candidate(replace(bench, task=with_task(loss=loss)), candidate)
    return seen[-1].item()


@pytest.mark.parametrize("shuffle", [False, True])
def test_evaluation_on_loaders_is_reproducible_and_draws_nothing_from_outside(shuffle):
    images, labels = next(tiny_recipe()[1].train.batches(192, device=CPU))
    sets = {
        name: DataLoader(TensorDataset(images[start::3], labels[start::3]), batch_size=32, shuffle=shuffle)
        for start, name in enumerate(("train", "select", "test"))
    }
    bench = workbench(task=Task(**sets))
    candidate, state = genome(bench), torch.get_rng_state()
    first, _ = evaluate_candidate(bench, candidate)
    assert torch.get_rng_state().equal(state)
    with isolated_rng(7):
        assert evaluate_candidate(bench, candidate)[0] == first


def test_evaluation_on_a_loader_with_a_sampler_of_its_own_draws_nothing_from_outside():
    task = tiny_recipe()[1]
    images, labels = next(task.train.batches(64, device=CPU))
    data = TensorDataset(images, labels)
    loader = DataLoader(data, batch_size=32, sampler=RandomSampler(data, replacement=True, num_samples=40))
    other = [(images.clone(), labels.clone())]
    bench = workbench(task=Task(train=loader, select=other, test=[(images[:2], labels[:2])]))
    candidate = genome(bench)
    first, _ = evaluate_candidate(bench, candidate)
    assert evaluate_candidate(bench, candidate)[0] == first
    assert isinstance(bench.model, nn.Module)
