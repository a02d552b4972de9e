import copy
from collections import namedtuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import ConfigError
from evoprune.masks import weight_scores as weight_orders
from evoprune.masks.maskable import maskable_weights
from evoprune.masks.weight_scores import fisher_diagonal, weight_scores

pytestmark = pytest.mark.usefixtures("seeded_torch")

Pair = namedtuple("Pair", ["left", "right"])


class WithNorms(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)
        self.drop, self.head = nn.Dropout(), nn.Linear(4, 3)

    def forward(self, images):
        return self.head(self.drop(torch.relu(self.norm(self.conv(images))).mean((2, 3))))


class TwoInputs(nn.Module):
    """Takes positional arguments, or keywords of the same names."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(5, 3), nn.Linear(4, 3)

    def forward(self, left, right):
        return self.left(left) * self.right(right).tanh()


class Branching(nn.Module):
    """Looks at the values that pass: vmap can't."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 6), nn.Linear(6, 3)

    def forward(self, values):
        hidden = self.first(values)
        return self.second(hidden.tanh() if hidden.sum().item() > 0 else hidden.relu())


class _Doubled(torch.autograd.Function):
    """Written in the old way, with the context in forward: nothing of torch.func can."""

    @staticmethod
    def forward(ctx, values):
        return 2 * values

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class OldStyle(Branching):
    def forward(self, values):
        return self.second(_Doubled.apply(self.first(values)).tanh())


class Counting(Branching):
    """Writes to a buffer in every pass, in evaluation as well, and draws random numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("passes", torch.zeros(()))

    def forward(self, values):
        self.passes += 1
        return self.second(self.first(values).tanh() * (1 + 0 * torch.rand(1).to(values)))


class Recurrent(nn.Module):
    def __init__(self):
        super().__init__()
        self.cells, self.head = nn.LSTM(5, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, values):
        return self.head(self.cells(values)[0][:, -1])


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.unused = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 5)
        self.second.weight = self.first.weight

    def forward(self, values):
        return self.second(self.first(values).tanh())[:, :3]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def of_class(count):
    return torch.randint(0, 3, (count,))


CASES = {
    "batch norm and dropout": (WithNorms, lambda count: drawn(count, 2, 6, 6)),
    "tuple of inputs": (TwoInputs, lambda count: (drawn(count, 5), drawn(count, 4))),
    "named tuple of inputs": (TwoInputs, lambda count: Pair(drawn(count, 5), drawn(count, 4))),
    "dict of inputs": (TwoInputs, lambda count: {"right": drawn(count, 4), "left": drawn(count, 5)}),
    "branches by value": (Branching, lambda count: drawn(count, 5)),
    "autograd function of the old style": (OldStyle, lambda count: drawn(count, 5)),
    "buffer written in every pass": (Counting, lambda count: drawn(count, 5)),
    "LSTM": (Recurrent, lambda count: drawn(count, 4, 5)),
    "tied and unused weights": (Tied, lambda count: drawn(count, 5)),
}


@pytest.fixture(params=CASES)
def case(request):
    """A network in double precision with running statistics of its own, and two batches of different sizes."""
    factory, inputs = CASES[request.param]
    model = factory().double()
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    model.train()
    return model, [(inputs(count), of_class(count)) for count in (5, 3)]


def one_by_one(model, names, batches, loss):
    """The reference: a backward pass for every sample."""
    model = copy.deepcopy(model).eval()
    parameters = {name: dict(model.named_parameters())[name] for name in names}
    sums, samples = {name: torch.zeros_like(value) for name, value in parameters.items()}, 0
    for inputs, targets in batches:
        for row in range(len(targets)):
            model.zero_grad()
            if isinstance(inputs, dict):
                output = model(**{name: value[row : row + 1] for name, value in inputs.items()})
            elif isinstance(inputs, tuple):
                output = model(*(value[row : row + 1] for value in inputs))
            else:
                output = model(inputs[row : row + 1])
            loss(output, targets[row : row + 1]).backward()
            for name, value in parameters.items():
                sums[name] += 0 if value.grad is None else value.grad.square()
            samples += 1
    return {name: value / samples for name, value in sums.items()}


def names_of(model):
    return [weight.name for weight in maskable_weights(model)]


@pytest.mark.parametrize("chunk", [1, 300, 1 << 25])
def test_fisher_diagonal_is_the_mean_square_of_single_gradients(case, chunk, monkeypatch):
    monkeypatch.setattr(weight_orders, "CHUNK_FLOATS", chunk)
    model, batches = case
    found = fisher_diagonal(model, names_of(model), batches, functional.cross_entropy)
    expected = one_by_one(model, names_of(model), batches, functional.cross_entropy)
    for name in expected:
        torch.testing.assert_close(found[name], expected[name], rtol=1e-9, atol=1e-15)
    assert any(value.abs().max() > 0 for value in found.values())


def test_scores_leave_the_network_as_it_was(case):
    model, batches = case
    for parameter in list(model.parameters())[1:2]:
        parameter.requires_grad_(False)
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    before = copy.deepcopy(model)
    generator = torch.get_rng_state()
    weight_scores(model, maskable_weights(model), ["fisher", "lamp"], batches, functional.cross_entropy)
    assert torch.equal(torch.get_rng_state(), generator)
    assert all(module.training for module in model.modules())
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in before.parameters()]
    gradients = [parameter.grad for parameter in model.parameters()]
    assert torch.equal(gradients[0], torch.ones_like(gradients[0]))
    assert not any(gradient is not None for gradient in gradients[1:])
    for (name, value), (_, old) in zip(model.state_dict().items(), before.state_dict().items(), strict=True):
        assert torch.equal(value, old), name
    copy.deepcopy(model).eval()  # nothing of torch.func is left in an attribute


@pytest.mark.parametrize("surroundings", [torch.no_grad, torch.inference_mode])
def test_scores_are_the_same_where_gradients_are_off(surroundings):
    model, batches = Branching().double(), [(drawn(4, 5), of_class(4))]
    weights = maskable_weights(model)
    expected = weight_scores(model, weights, ["fisher"], batches, functional.cross_entropy)["fisher"]
    with surroundings():
        found = weight_scores(model, weights, ["fisher"], batches, functional.cross_entropy)["fisher"]
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_fisher_reads_targets_in_containers():
    model, inputs = TwoInputs().double(), (drawn(4, 5), drawn(4, 4))
    targets = {"class": of_class(4), "share": torch.rand(4, dtype=torch.float64)}

    def loss(outputs, wanted):
        return (wanted["share"] * functional.cross_entropy(outputs, wanted["class"], reduction="none")).mean()

    found = fisher_diagonal(model, ["left.weight"], [(inputs, targets)], loss)["left.weight"]
    gradients = []
    for row in range(4):
        one = {name: value[row : row + 1] for name, value in targets.items()}
        value = loss(model(inputs[0][row : row + 1], inputs[1][row : row + 1]), one)
        gradients.append(torch.autograd.grad(value, model.left.weight)[0])
    torch.testing.assert_close(found, torch.stack(gradients).square().mean(0))


def test_fisher_of_half_precision_is_summed_in_single_precision():
    model, batches = Branching(), [(torch.randn(64, 5), of_class(64))]
    expected = fisher_diagonal(model, names_of(model), batches, functional.cross_entropy)
    half = [(inputs.bfloat16(), targets) for inputs, targets in batches]
    found = fisher_diagonal(copy.deepcopy(model).bfloat16(), names_of(model), half, functional.cross_entropy)
    for name in expected:
        assert found[name].dtype == torch.float32
        assert torch.linalg.vector_norm(found[name] - expected[name]) < 0.05 * torch.linalg.vector_norm(expected[name])


def test_criteria_are_what_their_formulas_say(case):
    model, batches = case
    weights = maskable_weights(model)
    fisher = one_by_one(model, names_of(model), batches, functional.cross_entropy)
    criteria = ["magnitude", "lamp", "fisher", "root-fisher"]
    scores = weight_scores(model, weights, criteria, batches, functional.cross_entropy)
    assert list(scores) == criteria
    for weight in weights:
        value = dict(model.named_parameters())[weight.name].detach()
        squares = value.square().flatten().tolist()
        lamp = [square / sum(other for other in squares if other >= square) for square in squares]
        expected = {
            "magnitude": value.abs(),
            "lamp": torch.tensor(lamp, dtype=torch.float64).reshape(weight.shape),
            "fisher": value.square() * fisher[weight.name],
            "root-fisher": value.square() * fisher[weight.name].sqrt(),
        }
        for criterion in criteria:
            found = scores[criterion][weight.name]
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected[criterion].numpy(), rtol=1e-6, atol=1e-30)


def test_lamp_ranks_equal_and_zero_weights():
    model = nn.Linear(2, 3, bias=False)
    model.weight.data = torch.tensor([[0.0, -2.0], [2.0, 1.0], [0.0, 0.0]])
    scores = weight_scores(model, maskable_weights(model), ["lamp"], (), functional.cross_entropy)["lamp"]["weight"]
    # 1 / (1 + 4 + 4), then 4 / (4 + 4), then 4 / 4: one weight of a layer always has the highest score of all.
    np.testing.assert_allclose(scores, [[0, 0.5], [1, 1 / 9], [0, 0]], rtol=1e-6)


def test_batches_are_read_by_no_criterion_that_needs_none():
    def batches():
        raise AssertionError("read")
        yield

    model = nn.Linear(3, 2)
    scores = weight_scores(model, maskable_weights(model), ["magnitude", "lamp"], batches(), functional.cross_entropy)
    assert np.array_equal(scores["magnitude"]["weight"], model.weight.detach().abs().numpy())


def test_weight_scores_refuse_unknown_criteria_and_missing_data():
    model = nn.Linear(3, 2)
    with pytest.raises(ConfigError, match="'taylor' is no criterion for weights") as error:
        weight_scores(model, maskable_weights(model), ["taylor"], (), functional.cross_entropy)
    assert "root-fisher" in error.value.hint
    with pytest.raises(ConfigError, match="needs samples"):
        weight_scores(model, maskable_weights(model), ["fisher"], (), functional.cross_entropy)


class TwoHeads(WithNorms):
    """A second head in training alone."""

    def __init__(self):
        super().__init__()
        self.second = nn.Linear(4, 3)

    def forward(self, images):
        features = self.drop(torch.relu(self.norm(self.conv(images))).mean((2, 3)))
        return (self.head(features), self.second(features)) if self.training else self.head(features)


def test_fisher_diagonal_gives_a_loss_for_two_heads_what_training_gives_it():
    model = TwoHeads().double()
    images, targets = drawn(6, 2, 5, 5), of_class(6)
    model(images)  # running statistics of its own

    def both(outputs, targets):
        head, second = outputs
        return functional.cross_entropy(head, targets) + functional.cross_entropy(second, targets)

    found = fisher_diagonal(model, ["head.weight"], [(images, targets)], both)["head.weight"]
    single = [
        torch.autograd.grad(
            functional.cross_entropy(model.eval()(images[row : row + 1]), targets[row : row + 1]), model.head.weight
        )[0]
        for row in range(6)
    ]
    assert torch.allclose(found, sum(one.square() for one in single) / 6)
