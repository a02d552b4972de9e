import pytest
import torch
from torch import nn
from torch.nn import functional

from evoprune.nn_utils.weights import weight_bytes
from evoprune.objectives.compute import count

pytestmark = pytest.mark.usefixtures("seeded_torch")


def test_count_equals_closed_form_on_a_cnn():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.Flatten(), nn.Linear(128, 10))
    report = count(model, torch.randn(1, 3, 8, 8))
    assert report.macs == 36 * 8 * 27 + 16 * 8 * 9 + 1280
    assert report.params == 8 * 28 + 8 * 10 + 1290
    assert report.size_bytes == len(weight_bytes(model))


def test_count_is_per_sample_whatever_the_batch():
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    one, four = count(model, torch.randn(1, 3, 8, 8)), count(model, torch.randn(4, 3, 8, 8))
    assert one.macs == four.macs
    assert one.peak_activation_bytes == four.peak_activation_bytes == 4 * (3 * 64 + 2 * 8 * 36)


def test_count_sees_attention():
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    tokens = torch.randn(1, 5, 8)
    assert count(model, (tokens, tokens, tokens)).macs == 4 * 5 * 64 + 2 * 5 * 5 * 8


def test_count_sees_functional_attention():
    class Attend(nn.Module):
        def forward(self, x):
            return functional.scaled_dot_product_attention(x, x, x)

    assert count(Attend(), torch.randn(1, 2, 5, 4)).macs == 2 * 2 * 25 * 4


def test_count_sees_recurrent_layers():
    tokens = torch.randn(1, 7, 6)
    for kind, gates in ((nn.LSTM, 4), (nn.GRU, 3), (nn.RNN, 1)):
        assert count(kind(6, 5, batch_first=True), tokens).macs == 7 * gates * 5 * (6 + 5)
        both = kind(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        assert count(both, tokens).macs == 7 * 2 * gates * 5 * ((6 + 5) + (10 + 5))


def test_count_counts_shared_parameters_once_and_leaves_no_trace():
    model = nn.Sequential(nn.Linear(6, 6), nn.Dropout(), nn.Linear(6, 6), nn.BatchNorm1d(6)).train()
    model[2].weight = model[0].weight
    before, state = model[3].running_mean.clone(), torch.get_rng_state()
    assert count(model, torch.randn(4, 6, generator=torch.Generator().manual_seed(0))).params == 36 + 6 + 6 + 12
    assert model.training
    assert torch.equal(before, model[3].running_mean)
    assert torch.equal(state, torch.get_rng_state())


def test_count_sees_products_with_vectors():
    class Vectors(nn.Module):
        def forward(self, x):
            flat = x.flatten()
            return x @ flat[: x.shape[1]], torch.dot(flat, flat), torch.addmv(flat[: x.shape[0]], x, flat[: x.shape[1]])

    assert count(Vectors(), torch.randn(1, 6)).macs == 3 * 6
