import numpy as np
import pytest
import torch
from safetensors.torch import load
from torch import nn

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.nn_utils.weights import put_weights, read_weights, weight_bytes, weights_of
from evoprune.rng import isolated_rng


class Net(nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3)
        self.norm = nn.BatchNorm2d(width)
        self.register_buffer("step", torch.tensor(7), persistent=True)
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


class Tied(nn.Module):
    """One tensor under two names, as embeddings and output layers have it."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(6, 4)
        self.out = nn.Linear(4, 6, bias=False)
        self.out.weight = self.embed.weight


class Views(nn.Module):
    """Two buffers that look at one memory."""

    def __init__(self):
        super().__init__()
        memory = torch.arange(8.0)
        self.register_buffer("left", memory[:5])
        self.register_buffer("right", memory[3:])


def made(kind, seed=0, **arguments):
    with isolated_rng(seed):
        return kind(**arguments)


@pytest.mark.parametrize("kind", [Net, Tied, Views])
def test_weights_come_back_from_their_file(kind, tmp_path):
    original, fresh = made(kind), made(kind, seed=1)
    path = tmp_path / "model.safetensors"
    path.write_bytes(weight_bytes(original))
    put_weights(fresh, read_weights(path), str(path))
    assert all(value.equal(original.state_dict()[name]) for name, value in fresh.state_dict().items())
    assert weight_bytes(fresh) == weight_bytes(original)


def test_weights_are_whole_and_without_the_state_that_is_not_kept():
    weights = weights_of(made(Net).to(memory_format=torch.channels_last))
    assert set(weights) == {"conv.weight", "conv.bias", "step"} | {
        f"norm.{name}" for name in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    }
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in weights.values())


def test_tied_weights_are_written_once_and_stay_tied():
    original, fresh = made(Tied), made(Tied, seed=1)
    assert list(load(weight_bytes(original))) == ["embed.weight"]
    put_weights(fresh, weights_of(original), "file")
    assert fresh.out.weight is fresh.embed.weight
    assert fresh.out.weight.equal(original.embed.weight)


def test_put_weights_takes_a_state_dict_that_names_tied_weights_twice():
    original, fresh = made(Tied), made(Tied, seed=1)
    put_weights(fresh, dict(original.state_dict()), "checkpoint.pth")
    assert fresh.out.weight.equal(original.embed.weight)
    assert fresh.out.weight is fresh.embed.weight


def test_put_weights_keeps_layout_type_and_requires_grad():
    model = made(Net, seed=1).to(memory_format=torch.channels_last).half()
    model.conv.bias.requires_grad_(False)
    put_weights(model, weights_of(made(Net)), "file")
    assert model.conv.weight.is_contiguous(memory_format=torch.channels_last)
    assert (model.conv.weight.dtype, model.conv.bias.requires_grad) == (torch.float16, False)


def test_put_weights_says_what_differs_when_the_architecture_is_another():
    weights = weights_of(made(Net, width=6))
    weights["head.weight"] = weights.pop("step")
    with pytest.raises(UsageError, match="another architecture") as caught:
        put_weights(made(Net), weights, "old.safetensors")
    assert "old.safetensors" in caught.value.message
    assert "step is missing; head.weight is not in the model; conv.bias is [6], the model has [4]" in str(caught.value)
    assert str(caught.value).endswith("and 5 more")


def test_put_weights_changes_nothing_when_it_refuses():
    model = made(Net)
    before = weight_bytes(model)
    weights = {name: value + 1 for name, value in weights_of(model).items()}
    del weights["step"]
    with pytest.raises(UsageError, match="step is missing"):
        put_weights(model, weights, "file")
    assert weight_bytes(model) == before


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_read_weights_refuses_a_truncated_file(cut, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(weight_bytes(made(Net))[:cut])
    with pytest.raises(StoreCorruptedError, match=str(path)):
        read_weights(path)


def test_read_weights_refuses_what_is_no_safetensors_file(tmp_path):
    noise = np.random.default_rng(0).bytes(1000)
    for number, content in enumerate((b"\x80\x04pickle", noise, b"{}", b"\x02" + b"\x00" * 7 + b"{}" + noise)):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(content)
        with pytest.raises(StoreCorruptedError, match="can't read the weights"):
            read_weights(path)
    for path in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(StoreCorruptedError, match="can't read the weights"):
            read_weights(path)
