"""Every frozen layer whose reason can be helped has a remedy."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from evoprune.channels.analyze import analyze
from evoprune.report.remedies import remedies


def frozen(model, x, **options):
    return [(item.name, item.reason) for item in analyze(model, x, **options).frozen]


@pytest.mark.parametrize(
    ("reason", "part"),
    [
        (
            "failed the self-check: the model's code relies on the full size (RuntimeError: x) in blocks.1",
            "integer attribute",
        ),
        ("is not run by the example inputs in evaluation mode", "example inputs that run"),
        ("is used in a way evoprune has no rule for, by aten.cumsum in fc", "open an issue"),
        ("its weight is computed in a way evoprune can't follow", "fold=True"),
    ],
)
def test_reason_has_a_remedy(reason, part):
    ((remedy, layers),) = remedies([("one", reason), ("two", reason)])
    assert part in remedy
    assert layers == ("one", "two")


def test_remedies_fit_the_reasons_of_an_analysis(seeded_torch):
    model = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    found = {
        layer: remedy for remedy, layers in remedies(frozen(model, torch.randn(2, 4), exclude="0")) for layer in layers
    }
    assert "exclude" in found["0"]
    assert "outputs=" in found["4"]


def test_spectral_norm_is_folded(seeded_torch):
    model = nn.Sequential(parametrizations.spectral_norm(nn.Linear(4, 6)), nn.ReLU(), nn.Linear(6, 3))
    found = frozen(model, torch.randn(2, 4))
    if any("computed" in reason for _, reason in found):
        assert any("fold=True" in remedy for remedy, _ in remedies(found))


def test_reasons_without_a_remedy_are_left_out():
    assert remedies([("fc", "is mixed over all its channels by aten.softmax in fc")]) == ()
