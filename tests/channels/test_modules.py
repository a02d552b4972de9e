"""Modules that change their class, attributes or hidden sizes when they are pruned."""

import copy

import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.reference import mask
from evoprune.channels.slim_attention import SlimMultiheadAttention
from evoprune.channels.surgery import prune
from evoprune.channels.verify import verify
from tests.channels.nets import randomise

pytestmark = pytest.mark.usefixtures("seeded_torch")


def check(model, inputs, seeds=3):
    """The space, with cuts at several ratios compared."""
    space = analyze(randomise(model), inputs)
    for keep in (0.3, 0.6) if space.groups else ():
        for seed in range(seeds):
            assert verify(model, space.random_plan(keep, seed), inputs).relative <= 1e-10
    return space


def slim(attention):
    copied = copy.deepcopy(attention)
    copied.__class__ = SlimMultiheadAttention
    return copied


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("average", [True, False])
def test_slim_attention_equals_torch(batch_first, average):
    attention = nn.MultiheadAttention(12, 3, batch_first=batch_first).eval()
    query, key = torch.randn(4, 4, 12), torch.randn(4, 4, 12)
    padding = torch.zeros(4, 4, dtype=torch.bool)
    padding[:, 3] = True
    causal = torch.triu(torch.ones(4, 4, dtype=torch.bool), 1)
    for masks in ({}, {"key_padding_mask": padding}, {"attn_mask": causal}, {"attn_mask": torch.randn(4, 4)}):
        expected = attention(query, key, key, average_attn_weights=average, **masks)
        found = slim(attention)(query, key, key, average_attn_weights=average, **masks)
        assert torch.allclose(expected[0], found[0], atol=1e-6)
        assert torch.allclose(expected[1], found[1], atol=1e-6)


def test_slim_attention_takes_unbatched_input():
    attention = nn.MultiheadAttention(12, 3, bias=False).eval()
    tokens = torch.randn(5, 12)
    expected, found = attention(tokens, tokens, tokens), slim(attention)(tokens, tokens, tokens)
    assert torch.allclose(expected[0], found[0], atol=1e-6)
    assert torch.allclose(expected[1], found[1], atol=1e-6)


class Attend(nn.Module):
    def __init__(self, read_weights=False, **options):
        super().__init__()
        self.embed, self.attn, self.head = nn.Linear(5, 12), nn.MultiheadAttention(12, 4, **options), nn.Linear(12, 2)
        self.read_weights = read_weights

    def forward(self, x):
        x = self.embed(x)
        out, weights = self.attn(x, x, x)
        return (self.head(out), weights) if self.read_weights else self.head(out)


def test_attention_loses_heads_and_width():
    model = Attend(batch_first=True)
    space = check(model, torch.randn(2, 3, 5))
    assert [(g.name, g.size, g.layer_type) for g in space.groups] == [
        ("embed", 12, "linear"), ("attn", 4, "attention"), ("attn.out_proj", 12, "linear"),
    ]  # fmt: skip
    small = prune(model, space.random_plan(0.5, 0))
    assert (small.attn.num_heads, small.attn.embed_dim) == (2, 6)
    assert small.attn.in_proj_weight.shape == (18, 6)


def test_attention_weights_that_are_read_keep_the_heads():
    space = check(Attend(read_weights=True, batch_first=True), torch.randn(2, 3, 5))
    assert "attn" not in [group.name for group in space.groups]
    assert "averaged" in {item.name: item.reason for item in space.frozen}["attn"]


@pytest.mark.parametrize("options", [{"add_bias_kv": True}, {"add_zero_attn": True}, {"kdim": 12, "vdim": 6}])
def test_other_kinds_of_attention_are_right_or_refused(options):
    class Other(nn.Module):
        def __init__(self):
            super().__init__()
            self.embed, self.attn, self.head = (
                nn.Linear(5, 12),
                nn.MultiheadAttention(12, 4, **options),
                nn.Linear(12, 2),
            )

        def forward(self, x):
            x = self.embed(x)
            return self.head(self.attn(x, x, x[..., : options.get("vdim", 12)])[0])

    check(Other(), torch.randn(2, 3, 5))


@pytest.mark.slow
def test_a_pruned_transformer_runs_with_the_fused_kernels_on():
    layer = nn.TransformerEncoderLayer(12, 4, 20, batch_first=True)
    model = nn.Sequential(nn.Linear(5, 12), nn.TransformerEncoder(layer, 2), nn.Linear(12, 2))
    tokens = torch.randn(2, 3, 5)
    space = check(model, tokens)
    plan = space.random_plan(0.5, 1)
    with torch.no_grad():
        assert torch.allclose(prune(model, plan)(tokens), mask(model, plan)(tokens), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
@pytest.mark.parametrize("bidirectional", [True, False])
def test_recurrent_layers_lose_hidden_units(kind, bidirectional):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.rnn = nn.Linear(3, 6), kind(6, 8, num_layers=2, bidirectional=bidirectional)
            self.head, self.state = nn.Linear(16 if bidirectional else 8, 2), nn.Linear(8, 2)

        def forward(self, x):
            out, state = self.rnn(self.first(x))
            state = state[0] if isinstance(state, tuple) else state
            return self.head(out), self.state(state)

    model = Last()
    space = check(model, torch.randn(4, 2, 3))
    assert [(g.name, g.size, g.layer_type) for g in space.groups] == [("first", 6, "linear"), ("rnn", 8, "recurrent")]
    assert prune(model, space.random_plan(0.5, 0)).rnn.hidden_size == 4


def test_an_initial_state_from_outside_keeps_the_hidden_size():
    class Given(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.GRU(3, 8), nn.Linear(8, 2)

        def forward(self, x, state):
            return self.head(self.rnn(x, state)[0])

    space = analyze(Given(), (torch.randn(4, 2, 3), torch.randn(1, 2, 8)))
    assert space.groups == ()
    assert "fixed size" in space.frozen[0].reason


def test_a_projected_lstm_is_refused():
    class Projected(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn, self.head = nn.LSTM(3, 8, proj_size=4), nn.Linear(4, 2)

        def forward(self, x):
            return self.head(self.rnn(x)[0])

    assert analyze(Projected(), torch.randn(4, 2, 3)).groups == ()


@pytest.mark.slow
@pytest.mark.parametrize("kind", [nn.LSTMCell, nn.GRUCell, nn.RNNCell])
def test_recurrent_cells_in_a_loop_lose_hidden_units(kind):
    class Loop(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = kind(3, 8), nn.Linear(8, 2)

        def forward(self, x):
            state = None
            for step in x:
                state = self.cell(step, state)
            return self.head(state[0] if isinstance(state, tuple) else state)

    assert check(Loop(), torch.randn(4, 2, 3)).group("cell").size == 8


@pytest.mark.slow
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_convolutions_of_any_rank(rank):
    conv, up = getattr(nn, f"Conv{rank}d"), getattr(nn, f"ConvTranspose{rank}d")
    norm, pool = getattr(nn, f"BatchNorm{rank}d"), getattr(nn, f"MaxPool{rank}d")
    model = nn.Sequential(
        conv(2, 6, 3, padding=1), norm(6), nn.ReLU(), pool(2), up(6, 8, 2, stride=2), nn.PReLU(8),
        up(8, 8, 3, padding=1, groups=2), conv(8, 8, 3, groups=8), nn.GroupNorm(2, 8), conv(8, 2, 1),
    )  # fmt: skip
    space = check(model, torch.randn(2, 2, *[6] * rank))
    assert [group.name for group in space.groups] == ["0", "4", "6"]


def test_masked_norms_survive_a_copy():
    model = randomise(nn.Sequential(nn.Linear(5, 12), nn.LayerNorm(12), nn.GELU(), nn.Linear(12, 2)))
    tokens = torch.randn(3, 5)
    plan = analyze(model, tokens).random_plan(0.5, 0)
    reference = mask(model, plan)
    assert torch.equal(copy.deepcopy(reference)(tokens), reference(tokens))
    assert torch.allclose(reference(tokens), prune(model, plan)(tokens), atol=1e-6)


class OwnNorm(nn.Module):
    """As models write it by hand: the mean square, or mean and variance, of `dim`."""

    def __init__(self, size, dim, centred):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(size)), nn.Parameter(torch.zeros(size))
        self.dim, self.centred = dim, centred

    def forward(self, x):
        if self.centred:
            x = x - x.mean(self.dim, keepdim=True)
        x = x * torch.rsqrt(x.pow(2).mean(self.dim, keepdim=True) + 1e-6)
        shape = [1] * x.dim()
        shape[self.dim] = -1
        return x * self.weight.view(shape) + self.bias.view(shape)


@pytest.mark.slow
@pytest.mark.parametrize("centred", [True, False])
def test_hand_written_norms_lose_channels(centred):
    first = nn.Sequential(nn.Conv2d(3, 8, 3), OwnNorm(8, 1, centred), nn.ReLU(), nn.Conv2d(8, 2, 1))
    assert check(first, torch.randn(2, 3, 6, 6)).group("0").size == 8
    last = nn.Sequential(nn.Linear(5, 8), OwnNorm(8, -1, centred), nn.ReLU(), nn.Linear(8, 2))
    assert check(last, torch.randn(2, 3, 5)).group("0").size == 8


def test_a_module_that_only_sounds_like_a_norm_is_refused():
    class NormMixer(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8))

        def forward(self, x):
            return (x * self.weight).cumsum(-1)

    assert check(nn.Sequential(nn.Linear(5, 8), NormMixer(), nn.Linear(8, 2)), torch.randn(2, 3, 5)).size == 0


@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
def test_adaptive_pooling_in_either_memory_format(layout):
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))
    model = model.to(memory_format=layout)
    space = check(model, torch.randn(2, 3, 6, 6).to(memory_format=layout))
    assert space.group("0").size == 8


def test_a_size_that_the_model_keeps_and_reshapes_to_follows():
    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.hidden_dim = 12
            self.patch, self.head = nn.Conv2d(3, 12, 4, 4), nn.Linear(12, 2)

        def forward(self, x):
            x = self.patch(x)
            return self.head(x.reshape(x.shape[0], self.hidden_dim, 4).permute(0, 2, 1).relu())

    model = Tokens()
    space = check(model, torch.randn(2, 3, 8, 8))
    assert space.group("patch").size == 12
    assert prune(model, space.random_plan(0.5, 0)).hidden_dim == 6
