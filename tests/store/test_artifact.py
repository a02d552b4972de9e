import copy
import hashlib
import json
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn

from evoprune.channels.channel_bits import ChannelBits
from evoprune.channels.surgery import prune
from evoprune.errors import ConfigError, StoreCorruptedError, UsageError
from evoprune.genome import BitGenome
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks as prune_weights
from evoprune.masks.apply import plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.weights import weight_bytes
from evoprune.plan import PruningPlan
from evoprune.rng import isolated_rng
from evoprune.run.problem import factory_of
from evoprune.space.analysis import trace_space
from evoprune.store.artifact import MASKS, MODEL, PLAN, WEIGHTS, load_artifact, save_artifact
from evoprune.testing.tiny import TinyCNN, tiny_recipe

FACTORY = "evoprune.testing.tiny:TinyCNN"
IMAGES = torch.linspace(-2, 2, 5 * 3 * 8 * 8).view(5, 3, 8, 8)


@pytest.fixture(scope="module")
def small():
    """A pruned network with its plan and task."""
    model, task, example_inputs = tiny_recipe()
    plan = ChannelBits(trace_space(model, example_inputs)).decode(BitGenome.from_bits(np.arange(16) % 3 > 0))
    return prune(model, plan).eval(), plan, task


@pytest.fixture
def artifact(tmp_path, small):
    model, plan, task = small
    save_artifact(tmp_path / "artifact", model, plan, factory=FACTORY, task=task)
    return tmp_path / "artifact"


@pytest.fixture
def masks():
    """A masked network with its plan and task."""
    model, task, _ = tiny_recipe()
    generator = np.random.default_rng(0)
    plan = plan_of(model, {weight.name: generator.random(weight.shape) < 0.1 for weight in maskable_weights(model)})
    return prune_weights(model, plan).eval(), plan, task


@pytest.fixture
def masked_artifact(tmp_path, masks):
    model, plan, task = masks
    save_artifact(tmp_path / "artifact", model, plan, factory=FACTORY, task=task)
    return tmp_path / "artifact"


def edit(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_artifact_gives_the_same_network_bit_for_bit(artifact, small):
    loaded = load_artifact(artifact)
    assert weight_bytes(loaded) == weight_bytes(small[0])
    assert torch.equal(loaded(IMAGES), small[0](IMAGES))
    assert not loaded.training


def test_artifact_is_found_in_the_run_directory(artifact):
    assert weight_bytes(load_artifact(artifact.parent)) == weight_bytes(load_artifact(str(artifact)))


def test_artifact_holds_no_pickle_and_names_the_preprocessing(artifact):
    assert {path.name for path in artifact.iterdir()} == {WEIGHTS, PLAN, MODEL}
    document = json.loads((artifact / MODEL).read_text())
    assert document["preprocessing"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert document["factory"] == FACTORY


def test_artifact_of_masks_gives_the_same_network_bit_for_bit(masked_artifact, masks):
    loaded = load_artifact(masked_artifact)
    assert weight_bytes(loaded) == weight_bytes(masks[0])
    assert torch.equal(loaded(IMAGES), masks[0](IMAGES))
    assert MaskPlan.from_bytes((masked_artifact / MASKS).read_bytes()) == masks[1]
    assert {path.name for path in masked_artifact.iterdir()} == {WEIGHTS, MASKS, MODEL}
    assert json.loads((masked_artifact / MODEL).read_text())["kind"] == "masks"


def test_artifact_of_masks_keeps_half_precision(tmp_path, masks):
    model, plan, task = masks
    half = copy.deepcopy(model).bfloat16()
    save_artifact(tmp_path / "half", half, plan, factory=FACTORY, task=task)
    assert weight_bytes(load_artifact(tmp_path / "half")) == weight_bytes(half)


def test_artifact_of_masks_is_smaller_than_the_dense_weights(tmp_path):
    with isolated_rng(0):
        model = TinyCNN(width=64)
    generator = np.random.default_rng(0)
    plan = plan_of(model, {weight.name: generator.random(weight.shape) < 0.05 for weight in maskable_weights(model)})
    save_artifact(tmp_path, prune_weights(model, plan), plan, factory=None, task=tiny_recipe()[1])
    assert (tmp_path / WEIGHTS).stat().st_size < 0.12 * len(weight_bytes(model))


def test_artifact_of_the_other_kind_is_replaced(masked_artifact, masks, small):
    model, plan, task = small
    save_artifact(masked_artifact, model, plan, factory=FACTORY, task=task)
    assert {path.name for path in masked_artifact.iterdir()} == {WEIGHTS, PLAN, MODEL}
    assert weight_bytes(load_artifact(masked_artifact)) == weight_bytes(model)
    save_artifact(masked_artifact, masks[0], masks[1], factory=FACTORY, task=task)
    assert {path.name for path in masked_artifact.iterdir()} == {WEIGHTS, MASKS, MODEL}


@pytest.mark.parametrize("name", [WEIGHTS, MASKS])
def test_artifact_of_masks_is_refused_when_a_file_is_damaged(masked_artifact, name):
    whole = (masked_artifact / name).read_bytes()
    for damaged in (whole[:-1], whole[:-1] + bytes([whole[-1] ^ 1])):
        (masked_artifact / name).write_bytes(damaged)
        with pytest.raises(StoreCorruptedError, match=name.replace(".", r"\.")):
            load_artifact(masked_artifact)


def test_artifact_of_masks_is_refused_when_its_weights_are_whole(masked_artifact, masks):
    dense = weight_bytes(masks[0])
    (masked_artifact / WEIGHTS).write_bytes(dense)
    edit(masked_artifact / MODEL, weights_sha256=hashlib.sha256(dense).hexdigest())
    with pytest.raises(StoreCorruptedError, match=r"model\.safetensors: can't read the sparse weights"):
        load_artifact(masked_artifact)


def test_artifact_of_masks_is_refused_when_its_factory_builds_another_network(masked_artifact):
    with pytest.raises(UsageError, match="builds another network"):
        load_artifact(masked_artifact, lambda: TinyCNN(width=9))


def test_artifact_of_an_unknown_kind_is_refused(artifact):
    edit(artifact / MODEL, kind="spikes")
    with pytest.raises(UsageError, match="kind 'spikes'; this evoprune reads channels, masks"):
        load_artifact(artifact)


def test_artifact_keeps_half_precision(tmp_path, small):
    model, plan, task = small
    half = copy.deepcopy(model).half()
    save_artifact(tmp_path / "half", half, plan, factory=FACTORY, task=task)
    loaded = load_artifact(tmp_path / "half")
    assert loaded.conv1.weight.dtype == torch.float16
    assert weight_bytes(loaded) == weight_bytes(half)


@pytest.mark.parametrize("name", [WEIGHTS, PLAN])
@pytest.mark.parametrize("position", [0, 100, -1])
def test_artifact_is_refused_when_a_byte_of_a_file_is_changed(artifact, name, position):
    content = bytearray((artifact / name).read_bytes())
    content[position] ^= 1
    (artifact / name).write_bytes(content)
    with pytest.raises(StoreCorruptedError, match=name.replace(".", r"\.")):
        load_artifact(artifact)


@pytest.mark.parametrize("name", [WEIGHTS, PLAN, MODEL])
def test_artifact_is_refused_when_a_file_is_missing_or_cut(artifact, name):
    whole = (artifact / name).read_bytes()
    (artifact / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreCorruptedError, match=name.replace(".", r"\.")):
        load_artifact(artifact)
    (artifact / name).unlink()
    with pytest.raises(StoreCorruptedError, match=name.replace(".", r"\.")):
        load_artifact(artifact)


def test_artifact_is_refused_when_its_plan_sets_other_attributes(artifact, small):
    plan = PruningPlan(small[1].kept, {**small[1].attributes, "conv2": {"stride": (2, 2)}}, small[1].fingerprint)
    (artifact / PLAN).write_text(plan.to_json())
    with pytest.raises(StoreCorruptedError, match=r"plan\.json is not the file that was saved"):
        load_artifact(artifact)


@pytest.mark.parametrize("text", ["", "[]", "null", "\x00", "{" * 100])
def test_artifact_is_refused_when_its_description_is_junk(artifact, text):
    (artifact / MODEL).write_text(text)
    with pytest.raises(StoreCorruptedError, match=r"model\.json"):
        load_artifact(artifact)


def test_artifact_of_another_format_is_refused(artifact):
    edit(artifact / MODEL, format=99)
    with pytest.raises(UsageError, match=r"artifact format 99, written by evoprune .*reads 1, 2"):
        load_artifact(artifact)


@pytest.mark.parametrize(
    ("factory", "error", "message"),
    [
        (None, UsageError, "names no factory"),
        ("", UsageError, "names no factory"),
        ("no_such_package:Net", ConfigError, "there is no module 'no_such_package'"),
        ("evoprune.testing.tiny:Missing", ConfigError, "has no 'Missing'"),
        ("__main__:Net", ConfigError, "the dense network is Net of a script or notebook, which is not what runs here"),
        ("os.system('x')", ConfigError, "not of the form"),
        ("os:getcwd", UsageError, "neither a function nor a class of networks"),
        ("builtins:exit", UsageError, "neither a function nor a class of networks"),
        ("evoprune.testing.tiny:CLASSES", UsageError, "neither a function nor a class of networks"),
        ("pathlib:Path", UsageError, "neither a function nor a class of networks"),
        ("evoprune.caching:cache_directory", UsageError, "not a torch module"),
        ("evoprune.recipes.mnist_cnn:MnistCNN", UsageError, "builds another network"),
    ],
)
def test_artifact_is_refused_when_its_factory_is_none(artifact, factory, error, message):
    edit(artifact / MODEL, factory=factory)
    with pytest.raises(error, match=message):
        load_artifact(artifact)


def test_factory_of_the_caller_comes_before_the_named_one(artifact, small):
    edit(artifact / MODEL, factory="no_such_package:Net")
    built = []

    def factory():
        built.append(TinyCNN())
        return built[-1]

    assert torch.equal(load_artifact(artifact, factory)(IMAGES), small[0](IMAGES))
    assert len(built) == 1


def test_load_leaves_the_random_state_as_it_was(artifact):
    before = torch.get_rng_state()
    load_artifact(artifact)
    assert torch.equal(torch.get_rng_state(), before)


class NeedsWidth(TinyCNN):
    def __init__(self, width):
        super().__init__(width=width)


class Explodes(TinyCNN):
    def __init__(self, *, really=True):
        if really:
            raise RuntimeError("not without a licence")
        super().__init__()


def test_factory_is_the_class_when_it_builds_such_a_network():
    with isolated_rng(0):
        assert factory_of(TinyCNN()) == FACTORY


def test_factory_is_unknown_when_the_class_builds_another_network():
    class Local(TinyCNN):
        pass

    with isolated_rng(0):
        models = [TinyCNN(width=4), NeedsWidth(8), Explodes(really=False), Local(), nn.Sequential(nn.Linear(2, 2))]
    assert [factory_of(model) for model in models] == [None] * 5


def test_factory_in_the_working_directory_is_found(artifact, tmp_path, monkeypatch):
    (tmp_path / "my_net_of_a_test.py").write_text(
        "from evoprune.testing.tiny import TinyCNN\n\nclass Net(TinyCNN): ...\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    edit(artifact / MODEL, factory="my_net_of_a_test:Net")
    loaded = load_artifact(artifact)
    assert type(loaded).__name__ == "Net"
    assert isinstance(sys.modules.pop("my_net_of_a_test"), types.ModuleType)
