"""What every criterion promises: a number per unit, and a model that is as it was."""

import sys

import numpy as np
import pytest
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from evoprune.channels.analyze import analyze
from evoprune.channels.importance.scores import importance
from evoprune.errors import ConfigError, UsageError
from evoprune.plugins import BUILT_IN
from tests.channels.importance.nets import batches, small
from tests.channels.zoo.catalogue import build

CRITERIA = list(BUILT_IN["criteria"])


def state(model):
    """Everything that may not change, as values that compare."""
    return (
        {name: (tensor.tolist(), tensor.requires_grad) for name, tensor in model.state_dict(keep_vars=True).items()},
        {name: None if one.grad is None else one.grad.tolist() for name, one in model.named_parameters()},
        [module.training for module in model.modules()],
    )


@pytest.mark.parametrize("name", CRITERIA)
def test_importance_leaves_the_model_as_it_was(name):
    model = small().train()
    model.conv2.eval()
    model.conv1.weight.requires_grad_(False)
    model.fc1.weight.grad = torch.ones_like(model.fc1.weight)
    before = state(model)
    space = analyze(model, batches()[0][0])
    scores = importance(model, space, name, batches(), functional.cross_entropy)
    assert (scores.shape, scores.dtype) == ((space.size,), np.float64)
    assert np.isfinite(scores).all()
    assert state(model) == before


EVERYDAY = ["resnext", "mobilenet-v3", "vit", "densenet", "shufflenet-v2"]
PAIRS = [(name, model) for name in sorted(set(CRITERIA) - {"taylor", "hessian"}) for model in EVERYDAY]


@pytest.mark.parametrize(("name", "model_name"), [pair for pair in PAIRS if pair != ("bn_scale", "vit")])
def test_importance_scores_every_unit_of_everyday_models(name, model_name):
    model, inputs = build(model_name)
    space = analyze(model, inputs, self_check=False)
    assert np.isfinite(importance(model, space, name)).all()


def test_a_shuffling_loader_is_read_in_an_order_that_the_seed_decides():
    model = small()
    images, labels = (torch.cat(parts) for parts in zip(*batches((6, 6)), strict=True))
    loader = DataLoader(TensorDataset(images, labels), batch_size=5, shuffle=True)
    space = analyze(model, images)
    first, second, other = (
        importance(model, space, "taylor", loader, functional.cross_entropy, seed) for seed in (0, 0, 1)
    )
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_hyphens_in_a_name_are_accepted():
    model = small()
    space = analyze(model, batches()[0][0])
    assert np.array_equal(importance(model, space, "bn-scale"), importance(model, space, "bn_scale"))


def test_a_criterion_of_ones_own_is_called_with_an_examinee(monkeypatch, tmp_path):
    (tmp_path / "own_criterion.py").write_text(
        "import numpy as np\n"
        "def by_place(examinee):\n    return np.arange(examinee.space.size) * float(examinee.seed)\n"
        "def too_short(examinee):\n    return np.zeros(1)\n"
        "def not_finite(examinee):\n    return np.full(examinee.space.size, np.inf)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    model = small()
    space = analyze(model, batches()[0][0])
    try:
        assert importance(model, space, "own_criterion:by_place", seed=2).tolist() == [
            2.0 * unit for unit in range(space.size)
        ]
        for name, message in (("too_short", "shape"), ("not_finite", "not finite")):
            with pytest.raises(UsageError, match=message):
                importance(model, space, f"own_criterion:{name}")
    finally:
        sys.modules.pop("own_criterion", None)


def test_importance_lists_the_criteria_when_the_name_is_unknown():
    model = small()
    space = analyze(model, batches()[0][0])
    with pytest.raises(ConfigError, match="not one of the criteria: taylor, bn_scale"):
        importance(model, space, "tailor")


def test_importance_refuses_the_space_of_another_model():
    model = small()
    space = analyze(model, batches()[0][0])
    with pytest.raises(UsageError, match="another structure"):
        importance(model.conv1, space, "l1")
