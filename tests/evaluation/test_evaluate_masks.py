import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.evaluation.evaluate_masks import MaskBench, evaluate_masks
from evoprune.evaluation.fidelity import Fidelity
from evoprune.evaluation.memory import MicroBatch
from evoprune.evaluation.training import Schedule
from evoprune.genome import BitGenome
from evoprune.objectives.accuracy import score
from evoprune.objectives.constraint import Constraint
from evoprune.pruning.encodings.mask_space import MaskSpace
from evoprune.pruning.encodings.weight_bits import WeightBits
from evoprune.pruning.maskable import maskable_weights
from evoprune.pruning.structures import Unstructured
from evoprune.pruning.weight_masks import apply_masks, masks_as_tensors
from evoprune.results import Status
from evoprune.rng import isolated_rng
from evoprune.seeding import SeedTree
from evoprune.space.fingerprint import fingerprint
from evoprune.task import Task
from evoprune.testing.tiny import TinyCNN, tiny_recipe

CPU = torch.device("cpu")


class WithDropout(TinyCNN):
    """Draws random numbers while it learns, and none when it is scored."""

    def forward(self, images):
        return super().forward(functional.dropout(images, 0.2, self.training))


def build(kind):
    with isolated_rng(0):
        return kind().eval()


def bench_of(
    model=None, *, names=None, steps=0, recalibrate=0, constraints=(), baseline=None, task=None, elsewhere=None
):
    """A bench on the tiny problem, searching the weights `names`, all when None."""
    model = model or build(TinyCNN)
    every = maskable_weights(model)
    searched = tuple(one for one in every if names is None or one.name in names)
    alive = {one.name: np.ones(one.size, dtype=np.bool_) for one in searched}
    space = MaskSpace(searched, alive, None, {}, Unstructured(), frozenset(), fingerprint(model))
    task = task or tiny_recipe()[1]
    schedule = Schedule(steps, 32, "adamw", 1e-2, 0.0)
    return MaskBench(
        model=model,
        task=task,
        data=task.select,
        encoding=WeightBits(space),
        weights=sum(one.size for one in every),
        kept_elsewhere=sum(one.size for one in every) - sum(one.size for one in searched),
        elsewhere=elsewhere or {},
        fidelity=Fidelity(recalibrate, schedule),
        constraints=tuple(map(Constraint.parse, constraints)),
        baseline=baseline or {},
        seeds=SeedTree(0),
        device=CPU,
        training_batch=MicroBatch(32, stage="fine-tuning"),
        scoring_batch=MicroBatch(64, stage="scoring"),
    )


def random_genome(bench, seed=0, keep=0.5):
    return BitGenome.from_bits(np.random.default_rng(seed).random(bench.encoding.length) < keep)


def reference(bench, genome):
    """Accuracy and loss of the masked network, by itself, in the batches of the bench."""
    model, task = apply_masks(bench.model, bench.encoding.decode(genome)), bench.task
    with torch.inference_mode():
        pairs = [(model(images), labels) for images, labels in bench.data.batches(64, device=CPU)]
        loss = sum(float(task.loss(*pair)) * len(pair[1]) for pair in pairs) / len(bench.data)
    return score(model, bench.data, task.metric, device=CPU, batch_size=64), loss


@pytest.mark.parametrize("names", [None, ["conv1.weight"], ["fc.weight"], ["conv2.weight", "fc.weight"]], ids=str)
def test_fast_path_gives_the_very_values_of_the_masked_network(names):
    bench = bench_of(names=names)
    for seed, keep in enumerate((0.9, 0.5, 0.1)):
        genome = random_genome(bench, seed, keep)
        values = evaluate_masks(bench, genome)[0].objectives
        assert (values["accuracy"], values["loss"]) == reference(bench, genome)


def test_sparsity_counts_all_weights_and_layer_sparsity_those_that_are_searched():
    bench = bench_of(names=["fc.weight"])
    bits = np.arange(128) < 32
    values = evaluate_masks(bench, BitGenome.from_bits(bits))[0].objectives
    assert values["layer_sparsity"] == 96 / 128
    assert values["sparsity"] == 96 / (216 + 576 + 128)


def test_evaluation_leaves_the_network_as_it_was():
    bench = bench_of(build(WithDropout), steps=3, recalibrate=1)
    before = {name: value.clone() for name, value in bench.model.state_dict().items()}
    evaluate_masks(bench, random_genome(bench))
    assert all(torch.equal(value, before[name]) for name, value in bench.model.state_dict().items())
    assert not bench.model.training


@pytest.mark.parametrize("recalibrate", [0, 2])
@pytest.mark.parametrize("steps", [0, 4])
def test_evaluation_gives_the_same_whatever_came_before(steps, recalibrate):
    one, other = (bench_of(build(WithDropout), steps=steps, recalibrate=recalibrate) for _ in range(2))
    genome = random_genome(one, 5)
    evaluate_masks(other, random_genome(other, 6))
    assert evaluate_masks(one, genome)[0] == evaluate_masks(other, genome)[0]


def trained_network(monkeypatch, bench, genome):
    """The network that a candidate has become when it is scored."""
    from evoprune.evaluation import evaluate_masks as unit

    seen, real = [], unit.outputs_of
    monkeypatch.setattr(unit, "outputs_of", lambda model, *a, **k: seen.append(model) or real(model, *a, **k))
    evaluation, _ = evaluate_masks(bench, genome)
    (model,) = seen
    return model, evaluation


def test_candidate_that_learns_keeps_its_zeros_and_is_scored_as_it_then_is(monkeypatch):
    bench = bench_of(steps=5)
    genome = random_genome(bench)
    model, evaluation = trained_network(monkeypatch, bench, genome)
    masks = masks_as_tensors(model, bench.encoding.decode(genome))
    parameters = dict(model.named_parameters())
    assert all(bool((parameters[name][~mask] == 0).all()) for name, mask in masks.items())
    assert evaluation.objectives["accuracy"] == score(model, bench.data, bench.task.metric, device=CPU, batch_size=64)
    assert not torch.equal(
        parameters["conv1.weight"][masks["conv1.weight"]], bench.model.conv1.weight[masks["conv1.weight"]]
    )


def test_candidate_that_learns_keeps_the_zeros_of_weights_that_are_not_searched(monkeypatch):
    model = build(TinyCNN)
    held = torch.zeros_like(model.conv2.weight, dtype=torch.bool)
    held[:4] = True
    with torch.no_grad():
        model.conv2.weight[~held] = 0
    bench = bench_of(model, names=["fc.weight"], steps=5, elsewhere={"conv2.weight": held})
    learned, _ = trained_network(monkeypatch, bench, random_genome(bench))
    assert bool((learned.conv2.weight[~held] == 0).all())


def test_candidate_that_breaks_a_bound_is_infeasible_with_its_values():
    bench = bench_of(constraints=["accuracy>=0.99"], baseline={"accuracy": 1.0})
    evaluation, _ = evaluate_masks(bench, random_genome(bench, keep=0.1))
    assert evaluation.status is Status.INFEASIBLE
    assert evaluation.violation == pytest.approx((0.99 - evaluation.objectives["accuracy"]) / 0.99)


class Explosive(TinyCNN):
    def forward(self, images):
        return super().forward(images) * float("nan")


def test_candidate_without_finite_loss_fails_with_the_reason():
    bench = bench_of(build(Explosive))
    evaluation, _ = evaluate_masks(bench, random_genome(bench))
    assert (evaluation.status, evaluation.objectives) == (Status.FAILED, {})
    assert "loss is nan" in evaluation.reason


def test_candidate_that_diverges_fails_with_the_reason():
    class Diverging(TinyCNN):
        def forward(self, images):
            return super().forward(images) * (float("nan") if self.training else 1.0)

    bench = bench_of(build(Diverging), steps=2)
    evaluation, _ = evaluate_masks(bench, random_genome(bench))
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
    bench = bench_of(build(Sequences), names=names)
    genome = random_genome(bench, keep=0.4)
    values = evaluate_masks(bench, genome)[0].objectives
    assert (values["accuracy"], values["loss"]) == pytest.approx(reference(bench, genome), abs=1e-6)


def test_bench_replays_from_new_activations_when_other_weights_are_searched():
    bench = bench_of()
    replay = bench.replay(("fc.weight",), 64)
    assert bench.replay(("fc.weight",), 64) is replay
    assert bench.replay(("fc.weight",), 32) is not replay


def test_evaluation_of_a_regression_has_no_worst_class():
    def metric(outputs, targets):
        return -(outputs.mean(1) - targets).abs()

    def loss(outputs, targets):
        return functional.mse_loss(outputs.mean(1), targets.float())

    known = tiny_recipe()[1]
    bench = bench_of(
        task=Task(known.train, known.select, known.test, loss=loss, metric=lambda o, t: metric(o, t.float()).mean())
    )
    assert set(evaluate_masks(bench, random_genome(bench))[0].objectives) == {
        "accuracy",
        "loss",
        "sparsity",
        "layer_sparsity",
    }
