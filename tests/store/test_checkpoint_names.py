"""Names of weights that went through wrappers, on either side."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evoprune.errors import DataError, UsageError
from evoprune.nn_utils.weights import put_weights, weights_of
from evoprune.rng import isolated_rng
from evoprune.store.checkpoint import put_checkpoint
from evoprune.store.checkpoint_names import fit_names, without_wrappers


class Net(nn.Module):
    """The same layers, held as the arguments say."""

    def __init__(self, wrap=lambda module: module):
        super().__init__()
        self.backbone = wrap(nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)))
        self.head = wrap(nn.Linear(3, 3))

    def forward(self, x):
        return self.head(self.backbone(x))


class Compiled(nn.Module):
    """Holds a network as `torch.compile` does."""

    def __init__(self, module):
        super().__init__()
        self._orig_mod = module

    def forward(self, x):
        return self._orig_mod(x)


class TwoHeads(nn.Module):
    """Has a part of its own that is called `module`, with the same layers as it has itself."""

    def __init__(self):
        super().__init__()
        self.head, self.module = nn.Linear(3, 3), nn.ModuleDict({"head": nn.Linear(3, 3)})


WRAPS = [lambda module: module, nn.DataParallel, Compiled]
NETWORKS = st.builds(
    lambda inner, outer: (inner, outer), st.sampled_from(WRAPS), st.lists(st.sampled_from(WRAPS[1:]), max_size=3)
)


def made(inner, outer, seed):
    with isolated_rng(seed):
        model = Net(inner)
    for wrap in outer:
        model = wrap(model)
    return model.eval()


@settings(max_examples=40)
@given(NETWORKS, NETWORKS)
def test_weights_fit_whatever_the_wrappers_on_either_side(theirs, ours):
    trained, model = made(*theirs, seed=1), made(*ours, seed=2)
    put_weights(model, fit_names(weights_of(trained), model), "file")
    x = torch.ones(2, 3)
    assert torch.equal(model(x), trained(x))


def test_weights_of_an_average_fit(seeded_torch):
    average, model = AveragedModel(Net(Compiled)), Net()
    put_weights(model, fit_names(weights_of(average), model), "file")
    assert torch.equal(model.head.weight, average.module.head._orig_mod.weight)


@pytest.mark.parametrize("times", [0, 1, 2])
def test_part_of_its_own_that_is_called_module_keeps_its_weights(seeded_torch, times):
    trained, model = TwoHeads(), TwoHeads()
    given = {"module." * times + name: value for name, value in weights_of(trained).items()}
    put_weights(model, fit_names(given, model), "file")
    assert torch.equal(model.head.weight, trained.head.weight)
    assert torch.equal(model.module.head.weight, trained.module.head.weight)


def test_weights_under_another_attribute_fit(seeded_torch):
    trained, model = Net(), Net()
    given = {f"model._orig_mod.{name}": value for name, value in weights_of(trained).items()}
    put_weights(model, fit_names(given, model), "file")
    assert torch.equal(model.backbone[0].weight, trained.backbone[0].weight)


@pytest.mark.parametrize(
    "change",
    [
        lambda given: {**given, "module.head.weight": given["head.weight"]},
        lambda given: {name: value for name, value in given.items() if name != "head.bias"},
        lambda given: {**given, "criterion.weight": torch.zeros(3)},
        lambda given: {name.replace("head", "tail"): value for name, value in given.items()},
    ],
    ids=["twice", "missing", "more", "renamed"],
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
def test_weights_that_do_not_fit_are_refused_whatever_their_prefix(seeded_torch, change, prefix):
    model = Net()
    before = weights_of(model)["head.weight"].clone()
    given = {prefix + name: value for name, value in change(weights_of(Net())).items()}
    with pytest.raises(UsageError, match="another architecture"):
        put_weights(model, fit_names(given, model), "file")
    assert torch.equal(model.head.weight, before)


@pytest.mark.parametrize(
    ("name", "bare"),
    [
        ("module._orig_mod.conv.weight", "conv.weight"),
        ("backbone._orig_mod.x", "backbone.x"),
        ("modules.module_1._orig_mod_.x", "modules.module_1._orig_mod_.x"),
    ],
)
def test_without_wrappers_takes_whole_parts_of_a_name(name, bare):
    assert without_wrappers(name) == bare


@pytest.mark.parametrize(
    "hold",
    [
        lambda weights: weights,
        lambda weights: {"model_state_dict": weights, "optimizer_state_dict": {"state": {}}, "epoch": 3},
        lambda weights: {"network": {"state_dict": weights}},
        lambda weights: {"module": weights, "global_steps": 8},
    ],
)
def test_checkpoint_is_read_where_its_state_dict_lies(seeded_torch, tmp_path, hold):
    trained, model = Net(Compiled), Net()
    torch.save(hold(nn.DataParallel(trained).state_dict()), tmp_path / "w.pth")
    put_checkpoint(model, tmp_path / "w.pth")
    assert torch.equal(model.head.weight, trained.head._orig_mod.weight)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"model": {"a": torch.ones(1)}, "net": {"a": torch.zeros(1)}}, "holds several state dicts: model, net"),
        ({"a": torch.ones(1), "epoch": 3}, "does not hold tensors by name: 'epoch' is a int"),
        ({"model": {"net": {"model": {"net": {"model": {}}}}}}, "does not hold tensors by name"),
    ],
)
def test_checkpoint_is_refused_in_one_line_when_it_is_not_clear(seeded_torch, tmp_path, content, words):
    torch.save(content, tmp_path / "w.pth")
    with pytest.raises(DataError, match=words) as caught:
        put_checkpoint(Net(), tmp_path / "w.pth")
    assert "save the state dict alone" in str(caught.value)
    assert "\n" not in caught.value.message


def test_complex_weights_are_not_put_into_real_ones(seeded_torch):
    model = nn.Linear(2, 2)
    with pytest.raises(UsageError, match="weight is complex, the model's is real"):
        put_weights(model, {**weights_of(model), "weight": torch.zeros(2, 2, dtype=torch.complex64)}, "file")
