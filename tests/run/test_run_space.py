"""Layers that a run is told to prune, or to leave alone."""

import pytest
import torch
import yaml
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.data.task import Task
from evoprune.data.used_outputs import UsedOutputs
from evoprune.errors import ConfigError, ReplayMismatchError, UnsupportedModelError, UsageError
from evoprune.events import EpochEnded
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.problem import Problem
from evoprune.testing.tiny import tiny_recipe
from tests.run import conftest
from tests.run.mask_directories import masks

QUICK = {"ga": {"pop_size": 3, "num_generations": 1}}
SMALL = conftest.SMALL | QUICK
MASKS = conftest.MASKS | QUICK


@pytest.fixture
def evolve(tmp_path):
    def start(name="run", *, model=None, task=None, settings=SMALL, **arguments):
        dense, usual, example_inputs = tiny_recipe()
        config = {section: values for section, values in settings.items() if section != "recipe"}
        return ep.evolve(model or dense, task or usual, example_inputs, config=config, out=tmp_path / name, **arguments)

    return start


def widths(model):
    return model.conv1.out_channels, model.conv2.out_channels, model.fc.out_features


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "cut"),
    [
        ({"layers": "conv1"}, "conv1"),
        ({"exclude": ["conv1", "bn1"]}, "conv2"),
        ({"layers": "conv*", "exclude": "fc"}, "conv1"),
    ],
)
def test_run_of_channels_prunes_chosen_layers_alone(evolve, arguments, cut):
    result = evolve(constraints="macs<=0.9", **arguments)
    for point in (result.best, *result.front):
        found = dict(zip(("conv1", "conv2", "fc"), widths(point.model), strict=True))
        assert found.pop(cut) < 8
        assert set(found.values()) == {8, 4}


@pytest.mark.slow
def test_excluded_weights_are_what_they_were(evolve):
    model = tiny_recipe()[0]
    settings = {**SMALL, "training": {**SMALL["training"], "epochs": 0, "retrain_epochs": 0, "finetune_steps": 0}}
    small = evolve(model=model, settings=settings, exclude="fc", constraints="macs<=0.9").best.model
    assert small.fc.weight.equal(model.fc.weight)
    assert small.conv2.weight.shape[1] < 8


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "masked"),
    [
        ({"exclude": "fc"}, {"conv1.weight", "conv2.weight"}),
        ({"layers": ["conv1", "fc"], "exclude": "fc"}, {"conv1.weight"}),
    ],
)
def test_run_of_masks_leaves_excluded_layers_alone(evolve, arguments, masked):
    result = evolve(settings=MASKS, **arguments)
    assert set(masks(result.directory)) == masked
    assert all(set(point.plan.masks) == masked for point in result.front)


@pytest.mark.parametrize("settings", [SMALL, MASKS], ids=["channels", "masks"])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"layers": "conv9"}, "there is no layer 'conv9'"),
        ({"exclude": "cnov1"}, r"exclude 'cnov1' names nothing .* \(layers with weights: conv1, "),
        ({"exclude": "*"}, "nothing (can be pruned|is left to mask)"),
        ({"exclude": "conv?", "layers": "conv1"}, "'conv1' can't be pruned|nothing is left to mask"),
    ],
)
def test_wrong_names_are_refused_before_anything_is_trained(evolve, settings, arguments, message):
    events = []
    with pytest.raises(UsageError, match=message):
        evolve(settings=settings, listeners=[events.append], **arguments)
    assert not any(isinstance(event, EpochEnded) for event in events)


class Lonely(nn.Module):
    """One layer, whose outputs are the network's."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(192, 4)

    def forward(self, images):
        return self.fc(images.flatten(1))


def test_network_without_anything_to_prune_is_refused_before_anything_is_trained(evolve, seeded_torch):
    events = []
    with pytest.raises(UnsupportedModelError, match="nothing can be pruned from this model: fc: reaches the model's"):
        evolve(model=Lonely(), listeners=[events.append])
    assert not any(isinstance(event, EpochEnded) for event in events)


@pytest.mark.slow
def test_run_is_another_one_when_its_layers_are_others(evolve):
    evolve(layers="conv1", constraints="macs<=0.9")
    assert evolve(layers=["conv1"], constraints=["macs<=0.9"]).config.layers == ("conv1",)
    with pytest.raises(ReplayMismatchError, match=r"layers: \['conv1'\] there, \['conv2'\] here"):
        evolve(layers="conv2", constraints="macs<=0.9")
    with pytest.raises(ReplayMismatchError, match=r"exclude: \[\] there, \['fc'\] here"):
        evolve(layers="conv1", exclude="fc", constraints="macs<=0.9")


@pytest.mark.parametrize(
    ("section", "key", "text"),
    [
        ("search", "constraints", "macs<=0.5"),
        ("search", "objectives", "accuracy"),
        ("search", "exclude", "fc"),
        ("search", "outputs", "logits"),
        ("search", "outputs", 0),
        ("search", "layers", "conv1"),
        ("search", "layer_types", "conv"),
        ("run", "target", "accuracy>=0.9"),
        ("masks", "layers", "conv1"),
        ("masks", "criteria", "magnitude"),
        ("masks", "goals", 0.5),
        ("execution", "devices", 0),
    ],
)
def test_single_value_is_a_list_of_one(section, key, text):
    one, listed = (make_config({section: {key: value}}) for value in (text, [text]))
    assert one == listed
    assert getattr(getattr(one, section), key) == (text,)
    assert make_config(yaml.safe_load(one.to_yaml())) == one


def test_layers_are_named_in_one_place():
    with pytest.raises(ConfigError, match=r"search\.layers and masks\.layers both name the layers"):
        make_config({"search": {"layers": "a"}, "masks": {"layers": "b"}})
    assert make_config({"masks": {"layers": "b"}}).layers == ("b",)


@pytest.mark.slow
def test_arguments_override_what_a_file_calls_by_the_other_name(evolve):
    settings = {**MASKS, "masks": {**MASKS["masks"], "layers": ["fc"]}}
    assert set(masks(evolve(settings=settings, layers="conv1").directory)) == {"conv1.weight"}


class Seer(nn.Module):
    """Logits, and the features that they come from, which freeze what they are used as."""

    def __init__(self):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 4)

    def forward(self, images):
        features = self.conv(images).relu()
        return self.fc(features.mean((2, 3))), features


def seeing(outputs=None):
    """The tiny recipe's task for a `Seer`."""
    task = tiny_recipe()[1]
    return Task(
        task.train,
        task.val,
        task.test,
        loss=lambda found, targets: functional.cross_entropy(found[0], targets),
        metric=lambda found, targets: (found[0].argmax(1) == targets).float(),
        outputs=outputs,
    )


@pytest.mark.parametrize(
    ("of_run", "of_task", "groups"), [(None, None, 0), (None, 0, 1), ("0", None, 1), (lambda found: found[0], 1, 1)]
)
def test_space_of_a_run_leaves_what_nobody_uses_of_the_outputs(of_run, of_task, groups, seeded_torch):
    problem = Problem(Seer(), seeing(of_task), torch.zeros(1, 3, 8, 8))
    target = ChannelTarget("channel-widths", None, (), None, 1, outputs=UsedOutputs.of(of_run))
    assert len(target.space(problem.model, problem).groups) == groups


def test_run_refuses_outputs_that_are_not_there_before_anything_is_trained(evolve, seeded_torch):
    events = []
    with pytest.raises(UsageError, match="there is no 'logits' in a tuple of 2"):
        evolve(model=Seer(), task=seeing(), outputs="logits", listeners=[events.append])
    assert not any(isinstance(event, EpochEnded) for event in events)
    with pytest.raises(ConfigError, match="no module 'nowhere'"):
        evolve("other", model=Seer(), task=seeing(), outputs="nowhere:function")


@pytest.mark.slow
@pytest.mark.parametrize("outputs", [0, lambda found: found[0]])
def test_run_prunes_what_only_unused_outputs_need_whole(evolve, outputs, seeded_torch):
    result = evolve(model=Seer(), task=seeing(), outputs=outputs, constraints="macs<=0.6")
    small = result.best.model
    assert small.conv.out_channels < 8
    assert [point.model.fc.out_features for point in result.front] == [4] * len(result.front)
    if outputs == 0:
        with pytest.raises(ReplayMismatchError, match=r"search\.outputs"):
            evolve(model=Seer(), task=seeing(), constraints="macs<=0.6")


@pytest.mark.slow
def test_run_folds_computed_weights_first(evolve):
    model = tiny_recipe()[0]
    parametrizations.weight_norm(model.conv1)
    result = evolve(model=model, fold=True, constraints="macs<=0.8")
    assert "weight" in dict(result.best.model.conv1.named_parameters())
    assert sum(widths(result.best.model)) < sum(widths(model))
    assert "weight" not in dict(model.conv1.named_parameters())
    plain = ep.fold(model, torch.zeros(1, 3, 8, 8))
    loaded = ep.load(result.directory / "artifact", model=plain)
    assert widths(loaded) == widths(result.best.model)
