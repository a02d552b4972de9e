import pytest
import torch
from torch import nn

import evoprune as ep
from evoprune.errors import UsageError
from evoprune.nn_utils.exclusion import excluded_tensors

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Tied(nn.Module):
    """Words to words: the head shares the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 6)
        self.body = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 6))
        self.head = nn.Linear(6, 7)
        self.head.weight = self.embed.weight

    def forward(self, tokens):
        return self.head(self.body(self.embed(tokens)))


TOKENS = torch.arange(6).view(2, 3)


@pytest.fixture
def tied():
    return Tied()


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ["embed", "body.0"]),
        ("head", ["body.0"]),
        ("embed", ["body.0"]),
        ("head.weight", ["body.0"]),
        ("head.bias", ["embed", "body.0"]),
        ("body.0", []),
        (["body"], []),
        (["body.*"], []),
        ("module.body.2", []),
        ("*", []),
    ],
)
def test_excluded_layers_stay_as_they_are(tied, patterns, left):
    space = ep.analyze(tied, TOKENS, exclude=patterns)
    assert [group.name for group in space.groups] == left
    touched = {member.tensor for group in space.groups for member in group.members}
    assert touched.isdisjoint(excluded_tensors(tied, [patterns] if isinstance(patterns, str) else patterns))


def test_what_is_excluded_says_so(tied):
    reasons = {item.name: item.reason for item in ep.analyze(tied, TOKENS, exclude="body.0").frozen}
    assert reasons["body.0"] == "is excluded by 'body.0'"


@pytest.mark.parametrize(
    ("pattern", "nearby"), [("haed", "head, "), ("body.1", "body."), ("h", "head"), ("", "head"), ("relu*", "")]
)
def test_pattern_that_names_nothing_is_refused_with_near_names(tied, pattern, nearby):
    with pytest.raises(UsageError, match="names nothing in Tied that has weights") as caught:
        ep.analyze(tied, TOKENS, exclude=[pattern])
    assert caught.value.hint.startswith(f"layers with weights: {nearby}")


def test_patterns_name_parameters_of_a_model_without_modules():
    linear = nn.Linear(3, 2)
    assert excluded_tensors(linear, ["bias"]) == {"bias": "bias"}
    with pytest.raises(UsageError, match="layers with weights: weight, bias"):
        excluded_tensors(linear, ["wieght"])
