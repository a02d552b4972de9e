"""A layer's candidates replayed from kept activations, against the whole network."""

import copy
from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.errors import InvalidPlanError, UnsupportedModelError
from evoprune.evaluation.replay.layer_replay import LayerReplay
from evoprune.evaluation.replay.recordings import same_bits
from evoprune.evaluation.replay.whole import run_whole
from evoprune.nn_utils.calling import call_model
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.channels.zoo.catalogue import MODELS, build
from tests.evaluation.doubles import CPU, Points, network, points
from tests.evaluation.replayed_nets import OneBatch, Residual, Words, images, randomised


def masked(model, names, *, keep=0.4, seed=0):
    """Values with a random part of each parameter zero."""
    generator = torch.Generator().manual_seed(seed)
    own = {name: model.get_parameter(name).detach() for name in names}
    return {name: value * (torch.rand(value.shape, generator=generator) < keep) for name, value in own.items()}


def slow(model, values, source, batch_size):
    return [run_whole(model, values, inputs) for inputs, _ in source.batches(batch_size, device=CPU)]


def assert_exact(model, names, source, *, batch_size=5, **limits):
    """Two candidates have the slow path's bits, whichever comes first; the replay is returned."""
    replay = LayerReplay(model, names, source, device=CPU, batch_size=batch_size, **limits)
    for seed in (1, 2, 1):
        values = masked(model, names, seed=seed)
        found = [outputs for outputs, _ in replay.outputs(values)]
        assert same_bits(found, slow(model, values, source, batch_size))
    return replay


def weights(model):
    return [name for name, parameter in model.named_parameters() if parameter.dim() > 1]


@pytest.mark.parametrize("name", weights(TinyCNN()))
def test_layer_replay_equals_masked_network_bit_for_bit(seeded_torch, name):
    model, task, _ = tiny_recipe()
    replay = assert_exact(randomised(model), [name], task.select, batch_size=24)  # the last batch has 16
    assert replay.reason is None
    assert replay.batches == replay.batches_cached == 3


@pytest.mark.parametrize("inplace", [False, True])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_layer_replay_equals_masked_network_when_branches_join_in_place(seeded_torch, inplace, layout):
    model = randomised(Residual(inplace=inplace)).to(memory_format=layout)
    source = Points(images(11).contiguous(memory_format=layout), torch.zeros(11))
    for name in weights(model):
        assert assert_exact(model, [name], source).reason is None
    assert assert_exact(model, weights(model), source).reason is None


def test_layer_replay_equals_masked_network_on_named_inputs_and_structured_outputs(seeded_torch):
    model = Words()
    source = Points.__new__(Points)
    source.__dict__.update(inputs=torch.randint(20, (9, 6)), targets=torch.zeros(9))
    source.__dict__["batches"] = lambda size, device: (
        ({"tokens": rows, "scale": rows[:, :1] / 20}, rows[:, 0]) for rows in source.inputs.split(size)
    )
    for name in weights(model):
        assert assert_exact(model, [name], source, batch_size=4).reason is None


def test_layer_replay_scores_weights_and_biases_of_all_layers_together(seeded_torch):
    model = network(nn.Tanh(), nn.Linear(7, 7))
    names = [name for name, _ in model.named_parameters()]
    assert assert_exact(model, names, points(13)).reason is None


def test_layer_replay_follows_tied_weights(seeded_torch):
    model = network(nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 7))
    model[4].weight = model[2].weight
    for name in ("2.weight", "4.weight"):
        replay = LayerReplay(model, [name], points(8), device=CPU, batch_size=8)
        value = torch.zeros(7, 7, dtype=torch.float64)
        (found, _), expected = next(replay.outputs({name: value})), run_whole(model, {name: value}, points(8).inputs)
        assert replay.reason is None
        assert same_bits(found, expected)


def test_layer_replay_of_many_gives_each_candidate_its_own_outputs():
    model, source, names = network(), points(12), ["0.weight"]
    replay = LayerReplay(model, names, source, device=CPU, batch_size=5)
    candidates = [masked(model, names, seed=seed) for seed in range(4)]
    batches = list(replay.outputs_of_many(candidates))
    assert torch.equal(torch.cat([targets for _, targets in batches]), source.targets)
    for number, values in enumerate(candidates):
        assert same_bits([outputs[number] for outputs, _ in batches], [found for found, _ in replay.outputs(values)])


def test_layer_replay_runs_only_what_depends_on_the_weights(seeded_torch):
    model, calls = network(nn.Tanh(), nn.Linear(7, 7)), []
    model[0].register_forward_hook(lambda *_: calls.append(1))
    replay = LayerReplay(model, ["2.weight"], points(6), device=CPU, batch_size=6)
    before = len(calls)
    list(replay.outputs(masked(model, ["2.weight"])))
    assert len(calls) == before
    assert replay.cached_bytes == 6 * 7 * 8 + 6 * 8  # what enters the layer, in float64, and the targets


@pytest.mark.parametrize("limit", [0, 1000])
def test_layer_replay_prepares_again_what_has_no_room(limit):
    model = network()
    replay = assert_exact(model, ["2.weight"], points(20), memory_limit_bytes=limit)
    assert replay.cached_bytes <= limit
    assert replay.batches_cached == (3 if limit else 0)
    targets = torch.cat([targets for _, targets in replay.outputs({})])
    assert torch.equal(targets, points(20).targets)


@dataclass
class Logits:
    """An output of a class of its own."""

    values: torch.Tensor


class Odd(nn.Module):
    """A network that can't be replayed, for a reason of choice."""

    def __init__(self, way):
        super().__init__()
        self.way, self.first, self.norm, self.last = way, nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Linear(7, 3)
        self.register_buffer("seen", torch.zeros(()))
        self.double()
        self.rows = (self.first if way == "alias" else self.last).weight.detach()[:2]

    def forward(self, x):
        x = self.first(x)
        if self.way == "branch" and x.sum() > 0:
            x = -x
        elif self.way == "counting":
            self.seen += 1
        elif self.way == "statistics":
            x = functional.batch_norm(x, self.norm.running_mean, self.norm.running_var, training=True)
        elif self.way == "numpy":
            x = torch.from_numpy(x.detach().numpy() + 1)
        elif self.way == "selection":
            x = x * (x[x > 0].sum() > 1)
        elif self.way == "alias":
            x = x + self.rows.sum()
        x = self.last(functional.relu(x))
        return Logits(x) if self.way == "object" else x


@pytest.mark.parametrize(
    ("way", "reason"),
    [
        ("branch", "depend on data"),
        ("counting", "writes to"),
        ("statistics", "writes to norm.running_mean"),
        ("numpy", "comes neither from the model nor"),
        ("selection", "depend on data"),
        ("alias", "shares its memory"),
        ("object", "returns a Logits"),
    ],
)
def test_layer_replay_runs_the_whole_network_and_says_why_when_it_cannot_be_recorded(seeded_torch, way, reason):
    model = Odd(way)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    replay = assert_exact(model, ["first.weight"], points(13))
    assert reason in replay.reason
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layer_replay_refuses_dropout_that_stays_on(seeded_torch):
    class Dropping(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(5, 3).double()

        def forward(self, x):
            return self.fc(functional.dropout(x, 0.5, training=True))

    replay = LayerReplay(Dropping(), ["fc.weight"], points(8), device=CPU, batch_size=8)
    assert "chance" in replay.reason


def test_layer_replay_leaves_mode_and_weights_alone():
    model = network(nn.Dropout(0.5)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    replay = assert_exact(model, ["0.weight"], points(9))
    assert replay.reason is None
    assert all(module.training for module in model.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_layer_replay_lets_gradients_on_between_batches():
    replay = LayerReplay(network(), ["0.weight"], points(9), device=CPU, batch_size=5)
    for _ in replay.outputs({}):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()


def test_layer_replay_names_the_closest_parameter_when_it_knows_none():
    with pytest.raises(UnsupportedModelError, match=r"'0.weigth'.*0\.weight"):
        LayerReplay(network(), ["0.weigth"], points(4), device=CPU, batch_size=4)


def test_layer_replay_refuses_values_of_the_wrong_shape_or_name():
    replay = LayerReplay(network(), ["0.weight"], points(4), device=CPU, batch_size=4)
    with pytest.raises(InvalidPlanError, match=r"\[7, 5\], the value for it \[5, 7\]"):
        list(replay.outputs({"0.weight": torch.zeros(5, 7)}))
    with pytest.raises(InvalidPlanError, match=r"2\.weight is not among"):
        list(replay.outputs({"2.weight": torch.zeros(3, 7)}))


def test_layer_replay_notices_weights_that_changed():
    model = network()
    replay = LayerReplay(model, ["0.weight"], points(4), device=CPU, batch_size=4)
    with torch.no_grad():
        model[2].bias.zero_()
    with pytest.raises(UnsupportedModelError, match="have changed"):
        list(replay.outputs({}))


@pytest.mark.parametrize("name", [name for name in MODELS if name != "autoencoder"])  # whose code is drawn at random
def test_layer_replay_equals_masked_network_for_every_zoo_model(seeded_torch, name):
    model, inputs = build(name)
    names = weights(model)
    for chosen in ([names[len(names) // 2]], names):
        replay = LayerReplay(model, chosen, OneBatch(inputs), device=CPU, batch_size=2)
        values = masked(model, chosen)
        changed = copy.deepcopy(model)
        for each, value in values.items():
            changed.get_parameter(each).data.copy_(value)
        with torch.no_grad():
            expected = call_model(changed, inputs)
        assert replay.reason is None
        assert same_bits([outputs for outputs, _ in replay.outputs(values)], [expected])


@pytest.mark.parametrize("way", ["plain", "branch"])
def test_layer_replay_takes_and_gives_the_same_in_inference_mode(seeded_torch, way):
    model, source, names = Odd(way), points(9), ["first.weight"]
    values = masked(model, names)
    expected = slow(model, values, source, 5)
    with torch.inference_mode():
        inside = LayerReplay(model, names, source, device=CPU, batch_size=5)
        made_inside = {name: value.clone() for name, value in values.items()}
        assert same_bits([outputs for outputs, _ in inside.outputs(made_inside)], expected)
    outside = LayerReplay(model, names, source, device=CPU, batch_size=5)
    for replay in (inside, outside):
        assert (replay.reason is None) is (way == "plain")
        assert same_bits([outputs for outputs, _ in replay.outputs(made_inside)], expected)


def test_layer_replay_passes_lack_of_memory_on(seeded_torch):
    class Short(nn.Linear):
        def forward(self, x):
            if len(x) > 4:
                raise torch.OutOfMemoryError("can't allocate memory")
            return super().forward(x)

    model = Short(5, 3).double()
    with pytest.raises(torch.OutOfMemoryError):
        LayerReplay(model, ["weight"], points(9), device=CPU, batch_size=5)
    assert assert_exact(model, ["weight"], points(9), batch_size=4).reason is None
