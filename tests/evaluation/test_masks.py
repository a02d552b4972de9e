from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.evaluation.base import Bounds, evaluate
from evoprune.evaluation.masks import MaskEvaluator
from evoprune.evaluation.recovery import Fidelity
from evoprune.evaluation.training import Schedule
from evoprune.genome import BitGenome
from evoprune.masks.apply import apply_masks, masks_as_tensors
from evoprune.masks.encodings.weight_bits import WeightBits
from evoprune.masks.maskable import maskable_weights
from evoprune.masks.space import MaskSpace
from evoprune.masks.structures import Unstructured
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.memory import MicroBatch
from evoprune.objectives.accuracy import Accuracy, WorstClassAccuracy, score
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.loss import MeanLoss
from evoprune.objectives.mask_measures import LayerSparsity, Sparsity
from evoprune.results import Status
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.testing.evaluator_suite import EvaluatorSuite
from evoprune.testing.tiny import TinyCNN, tiny_recipe

CPU = torch.device("cpu")
OBJECTIVES = [Sparsity(), LayerSparsity(), Accuracy(), MeanLoss()]


class WithDropout(TinyCNN):
    """Draws random numbers while it learns, and none when it is scored."""

    def forward(self, images):
        return super().forward(functional.dropout(images, 0.2, self.training))


def build(kind):
    with isolated_rng(0):
        return kind().eval()


def evaluator_of(
    model=None,
    *,
    names=None,
    steps=0,
    recalibrate=0,
    constraints=(),
    baseline=None,
    task=None,
    elsewhere=None,
    objectives=None,
):
    """A evaluator on the tiny problem, searching the weights `names`, all when None."""
    model = model or build(TinyCNN)
    every = maskable_weights(model)
    searched = tuple(one for one in every if names is None or one.name in names)
    alive = {one.name: np.ones(one.size, dtype=np.bool_) for one in searched}
    space = MaskSpace(searched, alive, None, {}, Unstructured(), frozenset(), fingerprint(model))
    task = task or tiny_recipe()[1]
    schedule = Schedule(steps, 32, "adamw", 1e-2, 0.0)
    return MaskEvaluator(
        model=model,
        task=task,
        example_inputs=torch.zeros(1, 3, 8, 8),
        data=task.select,
        encoding=WeightBits(space),
        weights=sum(one.size for one in every),
        kept_elsewhere=sum(one.size for one in every) - sum(one.size for one in searched),
        elsewhere=elsewhere or {},
        fidelities=[Fidelity(recalibrate, schedule)],
        objectives=OBJECTIVES if objectives is None else objectives,
        bounds=Bounds(tuple(map(Constraint.parse, constraints)), baseline or {}),
        seeds=SeedTree(0),
        device=CPU,
        training_batch=MicroBatch(32, stage="fine-tuning"),
        scoring_batch=MicroBatch(64, stage="scoring"),
    )


def random_genome(evaluator, seed=0, keep=0.5):
    return BitGenome.from_bits(np.random.default_rng(seed).random(evaluator.encoding.length) < keep)


def reference(evaluator, genome):
    """Accuracy and loss of the masked network, by itself, in the batches of the evaluator."""
    model, task = apply_masks(evaluator.model, evaluator.encoding.decode(genome)), evaluator.task
    with torch.inference_mode():
        pairs = [(model(images), labels) for images, labels in evaluator.data.batches(64, device=CPU)]
        loss = sum(float(task.loss(*pair)) * len(pair[1]) for pair in pairs) / len(evaluator.data)
    return score(model, evaluator.data, task.metric, device=CPU, batch_size=64), loss


@pytest.mark.parametrize("names", [None, ["conv1.weight"], ["fc.weight"], ["conv2.weight", "fc.weight"]], ids=str)
def test_fast_path_gives_the_very_values_of_the_masked_network(names):
    evaluator = evaluator_of(names=names)
    for seed, keep in enumerate((0.9, 0.5, 0.1)):
        genome = random_genome(evaluator, seed, keep)
        values = evaluate(evaluator, genome)[0].objectives
        assert (values["accuracy"], values["loss"]) == reference(evaluator, genome)


def test_sparsity_counts_all_weights_and_layer_sparsity_those_that_are_searched():
    evaluator = evaluator_of(names=["fc.weight"])
    bits = np.arange(128) < 32
    values = evaluate(evaluator, BitGenome.from_bits(bits))[0].objectives
    assert values["layer_sparsity"] == 96 / 128
    assert values["sparsity"] == 96 / (216 + 576 + 128)


def test_evaluation_leaves_the_network_as_it_was():
    evaluator = evaluator_of(build(WithDropout), steps=3, recalibrate=1)
    before = {name: value.clone() for name, value in evaluator.model.state_dict().items()}
    evaluate(evaluator, random_genome(evaluator))
    assert all(torch.equal(value, before[name]) for name, value in evaluator.model.state_dict().items())
    assert not evaluator.model.training


@pytest.mark.parametrize("recalibrate", [0, 2])
@pytest.mark.parametrize("steps", [0, 4])
def test_evaluation_gives_the_same_whatever_came_before(steps, recalibrate):
    one, other = (evaluator_of(build(WithDropout), steps=steps, recalibrate=recalibrate) for _ in range(2))
    genome = random_genome(one, 5)
    evaluate(other, random_genome(other, 6))
    assert evaluate(one, genome)[0] == evaluate(other, genome)[0]


def trained_network(monkeypatch, evaluator, genome):
    """The network that a candidate has become when it is scored."""
    from evoprune.objectives import base as unit

    seen, real = [], unit.outputs_of
    monkeypatch.setattr(unit, "outputs_of", lambda model, *a, **k: seen.append(model) or real(model, *a, **k))
    evaluation, _ = evaluate(evaluator, genome)
    (model,) = seen
    return model, evaluation


def test_candidate_that_learns_keeps_its_zeros_and_is_scored_as_it_then_is(monkeypatch):
    evaluator = evaluator_of(steps=5)
    genome = random_genome(evaluator)
    model, evaluation = trained_network(monkeypatch, evaluator, genome)
    masks = masks_as_tensors(model, evaluator.encoding.decode(genome))
    parameters = dict(model.named_parameters())
    assert all(bool((parameters[name][~mask] == 0).all()) for name, mask in masks.items())
    assert evaluation.objectives["accuracy"] == score(
        model, evaluator.data, evaluator.task.metric, device=CPU, batch_size=64
    )
    assert not torch.equal(
        parameters["conv1.weight"][masks["conv1.weight"]], evaluator.model.conv1.weight[masks["conv1.weight"]]
    )


def test_candidate_that_learns_keeps_the_zeros_of_weights_that_are_not_searched(monkeypatch):
    model = build(TinyCNN)
    held = torch.zeros_like(model.conv2.weight, dtype=torch.bool)
    held[:4] = True
    with torch.no_grad():
        model.conv2.weight[~held] = 0
    evaluator = evaluator_of(model, names=["fc.weight"], steps=5, elsewhere={"conv2.weight": held})
    learned, _ = trained_network(monkeypatch, evaluator, random_genome(evaluator))
    assert bool((learned.conv2.weight[~held] == 0).all())


def test_candidate_that_breaks_a_bound_is_infeasible_with_its_values():
    evaluator = evaluator_of(constraints=["accuracy>=0.99"], baseline={"accuracy": 1.0})
    evaluation, _ = evaluate(evaluator, random_genome(evaluator, keep=0.1))
    assert evaluation.status is Status.INFEASIBLE
    assert evaluation.violation == pytest.approx((0.99 - evaluation.objectives["accuracy"]) / 0.99)


class Explosive(TinyCNN):
    def forward(self, images):
        return super().forward(images) * float("nan")


def test_candidate_without_finite_loss_fails_with_the_reason():
    evaluator = evaluator_of(build(Explosive))
    evaluation, _ = evaluate(evaluator, random_genome(evaluator))
    assert (evaluation.status, evaluation.objectives) == (Status.FAILED, {})
    assert "loss is nan" in evaluation.reason


def test_candidate_that_diverges_fails_with_the_reason():
    class Diverging(TinyCNN):
        def forward(self, images):
            return super().forward(images) * (float("nan") if self.training else 1.0)

    evaluator = evaluator_of(build(Diverging), steps=2)
    evaluation, _ = evaluate(evaluator, random_genome(evaluator))
    assert evaluation.status is Status.FAILED
    assert "loss is not finite" in evaluation.reason


class Sequences(nn.Module):
    """A transformer block, whose fast path in eval mode no recording sees."""

    def __init__(self):
        super().__init__()
        self.block = nn.TransformerEncoderLayer(24, 4, 32, batch_first=True)
        self.fc = nn.Linear(24, 4)

    def forward(self, images):
        return self.fc(self.block(images.flatten(2).transpose(1, 2).reshape(len(images), 8, 24)).mean(1))


@pytest.mark.parametrize("names", [None, ["block.self_attn.in_proj_weight"], ["fc.weight"]], ids=str)
def test_fast_path_gives_the_very_values_for_attention(names):
    evaluator = evaluator_of(build(Sequences), names=names)
    genome = random_genome(evaluator, keep=0.4)
    values = evaluate(evaluator, genome)[0].objectives
    assert (values["accuracy"], values["loss"]) == pytest.approx(reference(evaluator, genome), abs=1e-6)


def test_bench_replays_from_new_activations_when_other_weights_are_searched():
    evaluator = evaluator_of()
    replay = evaluator.replay(("fc.weight",), 64)
    assert evaluator.replay(("fc.weight",), 64) is replay
    assert evaluator.replay(("fc.weight",), 32) is not replay


def test_evaluation_of_a_regression_has_no_worst_class():
    def metric(outputs, targets):
        return -(outputs.mean(1) - targets).abs()

    def loss(outputs, targets):
        return functional.mse_loss(outputs.mean(1), targets.float())

    known = tiny_recipe()[1]
    evaluator = evaluator_of(
        task=Task(known.train, known.select, known.test, loss=loss, metric=lambda o, t: metric(o, t.float()).mean())
    )
    assert set(evaluate(evaluator, random_genome(evaluator))[0].objectives) == {
        "accuracy",
        "loss",
        "sparsity",
        "layer_sparsity",
    }


class TestMaskEvaluator(EvaluatorSuite):
    steps = 0

    def evaluator(self, bounds):
        return replace(evaluator_of(build(WithDropout), steps=self.steps), bounds=bounds)

    def genome(self, number):
        return random_genome(evaluator_of(), number)

    def dense(self, evaluator):
        return evaluator.model


class TestMaskEvaluatorWhoseCandidatesLearn(TestMaskEvaluator):
    steps = 2


def test_candidate_that_learns_is_not_trained_over_a_bound_on_its_sparsity():
    def never(*_):
        raise AssertionError("this candidate should not be trained")

    known = tiny_recipe()[1]
    task = Task(known.train, known.val, known.test, loss=never)
    evaluator = evaluator_of(steps=2, constraints=["sparsity>=0.99"], task=task)
    evaluation, _ = evaluate(evaluator, random_genome(evaluator))
    assert evaluation.status is Status.INFEASIBLE
    assert set(evaluation.objectives) == {"sparsity", "layer_sparsity"}


class Norm:
    """Looks at the network itself."""

    name, maximize, needs_training = "norm", False, False

    def measure(self, subject):
        return float(sum(one.detach().abs().sum() for one in subject.model.parameters()))


def test_masked_network_is_built_only_for_an_objective_that_looks_at_it(monkeypatch):
    from evoprune.evaluation import masks as unit

    built, real = [], unit.apply_masks
    monkeypatch.setattr(unit, "apply_masks", lambda *arguments: built.append(1) or real(*arguments))
    evaluator = evaluator_of(objectives=[*OBJECTIVES, WorstClassAccuracy()])
    genome = random_genome(evaluator)
    evaluate(evaluator, genome)
    assert built == []
    evaluation, _ = evaluate(replace(evaluator, objectives=[Norm()]), genome)
    masked = real(evaluator.model, evaluator.encoding.decode(genome))
    assert evaluation.objectives == {"norm": Norm().measure(SimpleNamespace(model=masked))}
    assert built == [1]


def test_candidate_runs_once_for_all_objectives_that_look_at_outputs(monkeypatch):
    evaluator = evaluator_of(objectives=[Accuracy(), MeanLoss(), WorstClassAccuracy()])
    replay = evaluator.replay(tuple(sorted(one.name for one in maskable_weights(evaluator.model))), 64)
    passes, real = [], replay.outputs
    monkeypatch.setattr(replay, "outputs", lambda values: passes.append(1) or real(values))
    evaluate(evaluator, random_genome(evaluator))
    assert passes == [1]
