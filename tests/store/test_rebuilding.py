"""`evoprune.load` gives the network that was finished, or says that it can't."""

import copy
import json
import sys
import types

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

import evoprune as ep
from evoprune.channels.surgery import prune
from evoprune.errors import UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.masks.apply import apply_masks, plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.nn_utils.weights import weight_bytes
from evoprune.run.problem import factory_of
from evoprune.space.analysis import trace_space
from evoprune.store.artifact import MODEL, SETTINGS, load_artifact, save_artifact
from evoprune.store.rebuilding import settle
from tests.run.altered_networks import FEATURES, OTHER, PLAIN, Altered, Complex, Mixed, Remembering

TASK = types.SimpleNamespace(train=None, class_names=(), data_licence="")
INPUTS = torch.linspace(-2, 3, 4 * FEATURES).view(4, FEATURES)


def plans(model, kind):
    """A plan that keeps half, and the network pruned by it."""
    if kind == "channels":
        plan = trace_space(model, INPUTS).random_plan(0.5, 0)
        return plan, prune(model, plan).eval()
    masks = {one.name: torch.arange(one.size).view(one.shape) % 2 > 0 for one in maskable_weights(model)}
    plan = plan_of(model, masks)
    assert isinstance(plan, MaskPlan)
    return plan, apply_masks(model, plan).eval()


def outputs(model):
    with torch.no_grad():
        return model(INPUTS)


def saved(directory, model, kind="channels", factory=...):
    """The pruned network, and what `save_artifact` says."""
    plan, small = plans(model, kind)
    named = factory_of(model) if factory is ... else factory
    return small, save_artifact(directory, small, plan, factory=named, task=TASK, example_inputs=INPUTS)


@pytest.mark.parametrize("kind", ["channels", "masks"])
@pytest.mark.parametrize("change", PLAIN)
def test_loaded_network_is_the_finished_one_whatever_plain_data_was_set(tmp_path, seeded_torch, change, kind):
    model = Altered().eval()
    with torch.no_grad():
        PLAIN[change](model)
    small, notice = saved(tmp_path, model, kind)
    assert notice == ""
    for loaded in (load_artifact(tmp_path), load_artifact(tmp_path, Altered), load_artifact(tmp_path, Altered())):
        assert torch.equal(outputs(loaded), outputs(small))
        assert repr(loaded.drop) == repr(small.drop)


@pytest.mark.parametrize("change", PLAIN)
def test_network_without_a_factory_takes_its_plain_data_along(tmp_path, seeded_torch, change):
    model = Altered().eval()
    with torch.no_grad():
        PLAIN[change](model)
    small, notice = saved(tmp_path, model, factory=None)
    assert notice.startswith("the class alone does not build this network")
    assert torch.equal(outputs(load_artifact(tmp_path, Altered)), outputs(small))


@pytest.mark.parametrize("kind", ["channels", "masks"])
@pytest.mark.parametrize("change", OTHER)
def test_network_that_cannot_be_rebuilt_asks_for_a_factory(tmp_path, seeded_torch, change, kind):
    model = Altered().eval()
    OTHER[change](model)
    given = copy.deepcopy(model) if change != "forward" else None
    small, notice = saved(tmp_path, model, kind)
    assert "load it with evoprune.load(..., model=my_dense_model)" in notice
    with pytest.raises(UsageError, match="names no factory for the dense network: ") as caught:
        load_artifact(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="builds another network than the one that was saved"):
        load_artifact(tmp_path, Altered)
    if given is not None:
        assert torch.equal(outputs(load_artifact(tmp_path, given)), outputs(small))


def test_hook_that_changes_nothing_is_in_nobodys_way(tmp_path, seeded_torch):
    model = Altered().eval()
    model.first.register_forward_hook(lambda module, inputs, output: None)
    for factory in (..., None):
        small, _ = saved(tmp_path, model, factory=factory)
        assert torch.equal(outputs(load_artifact(tmp_path, Altered)), outputs(small))


def test_thing_that_nothing_reads_is_in_nobodys_way(tmp_path, seeded_torch):
    model = Altered().eval()
    model.optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for factory in (..., None):
        small, _ = saved(tmp_path, model, factory=factory)
        assert torch.equal(outputs(load_artifact(tmp_path, Altered)), outputs(small))


@pytest.mark.parametrize("kind", ["channels", "masks"])
def test_each_tensor_keeps_its_own_precision(tmp_path, seeded_torch, kind):
    model = Mixed().eval()
    model.first.half()
    model.second.double()
    model.last.bfloat16()
    small, notice = saved(tmp_path, model, kind)
    loaded = load_artifact(tmp_path)
    assert notice == ""
    assert weight_bytes(loaded) == weight_bytes(small)
    assert torch.equal(outputs(loaded), outputs(small))


@pytest.mark.parametrize("kind", ["channels", "masks"])
@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_complex_weights_keep_their_imaginary_part(tmp_path, seeded_torch, dtype, kind):
    model = Complex().eval()
    model.weight = nn.Parameter(model.weight.detach().to(dtype))
    model.phase.mul_(1j)
    model.turn = torch.full((3,), 1 + 2j, dtype=torch.complex128)
    small, notice = saved(tmp_path, model, kind)
    loaded = load_artifact(tmp_path)
    assert notice == ""
    assert (loaded.weight.dtype, loaded.turn.dtype) == (dtype, torch.complex128)
    assert torch.equal(loaded.weight, small.weight)
    assert torch.equal(outputs(loaded), outputs(small))


def test_frozen_parameters_stay_frozen(tmp_path, seeded_torch):
    model = Altered().eval()
    model.first.weight.requires_grad_(False)
    saved(tmp_path, model)
    loaded = load_artifact(tmp_path)
    assert [name for name, one in loaded.named_parameters() if not one.requires_grad] == ["first.weight"]


def test_settings_that_are_as_built_are_not_saved(tmp_path, seeded_torch):
    saved(tmp_path, Altered().eval())
    document = json.loads((tmp_path / MODEL).read_text())
    assert not document["settings"]["attributes"]
    assert not (tmp_path / SETTINGS).exists()


def test_factory_of_main_is_told_of(tmp_path, seeded_torch, monkeypatch):
    monkeypatch.setattr(sys.modules["__main__"], "Altered", Altered, raising=False)
    _, notice = saved(tmp_path, Altered().eval(), factory="__main__:Altered")
    assert notice.startswith("__main__:Altered is found by this script alone")
    assert load_artifact(tmp_path) is not None


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("no_such_package:build", "there is no module 'no_such_package'"),
        ("tests.run.altered_networks:Mixed", "builds another network than the one that was pruned"),
        ("tests.run.altered_networks:setting", "not a torch module"),
    ],
)
def test_factory_that_does_not_build_the_network_is_not_named(tmp_path, seeded_torch, factory, reason):
    _, notice = saved(tmp_path, Altered().eval(), factory=factory)
    assert reason in notice
    with pytest.raises(UsageError, match="names no factory for the dense network"):
        load_artifact(tmp_path)


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, AveragedModel, lambda model: nn.DataParallel(nn.DataParallel(model))]
)
def test_load_takes_the_network_out_of_its_wrapper(tmp_path, seeded_torch, wrap):
    small, _ = saved(tmp_path, Altered().eval())
    for factory in (lambda: wrap(Altered()), wrap(Altered())):
        assert torch.equal(outputs(load_artifact(tmp_path, factory)), outputs(small))


@pytest.mark.slow
def test_load_takes_the_network_out_of_a_compiled_one(tmp_path, seeded_torch):
    small, _ = saved(tmp_path, Altered().eval())
    loaded = load_artifact(tmp_path, lambda: torch.compile(Altered()))
    assert type(loaded) is Altered
    assert torch.equal(outputs(loaded), outputs(small))


def test_constant_of_a_class_is_as_it_was_where_the_class_has_another_now(tmp_path, seeded_torch, monkeypatch):
    monkeypatch.setattr(Altered, "constant", 5.0)
    small, _ = saved(tmp_path, Altered().eval())
    expected = outputs(small)
    monkeypatch.setattr(Altered, "constant", 1.0)
    assert not torch.equal(outputs(small), expected)
    assert torch.equal(outputs(load_artifact(tmp_path)), expected)


def test_what_a_batch_has_left_is_taken_off(seeded_torch):
    given = Remembering().eval()
    given.scale = torch.tensor(2.0)
    model = copy.deepcopy(given)
    model(torch.ones(9, FEATURES))
    settle(model, given, INPUTS)
    assert (model.seen, model.cache, model.calls) == (None, {}, 1)


def test_what_a_first_batch_has_measured_stays(tmp_path, seeded_torch):
    given = Remembering().eval()
    plan, small = plans(given, "channels")
    before = copy.deepcopy(small)
    with torch.no_grad():
        small(torch.full((9, FEATURES), 5.0))
        expected = copy.deepcopy(small)(INPUTS)
    notice = save_artifact(
        tmp_path, small, plan, factory=factory_of(given), task=TASK, example_inputs=INPUTS, given=before
    )
    assert notice == ""
    assert torch.equal(outputs(load_artifact(tmp_path)), expected)


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["channel-bits", "weight-bits"])
def test_run_gives_one_network_in_memory_and_on_disk(tmp_path, seeded_torch, encoding):
    model = Altered().eval()
    model.temperature, model.mean = 4.0, torch.full((FEATURES,), 3.0)
    generator = torch.Generator().manual_seed(0)
    sets = []
    for size in (64, 32, 32):
        x = torch.randn(size, FEATURES, generator=generator)
        sets.append([(x, (x[:, 0] > 0).long())])
    config = {
        "ga": {"pop_size": 2, "num_generations": 1, "elitism": 0},
        "training": {"retrain_epochs": 1, "finetune_steps": 1},
        "masks": {"goals": [0.3], "retrain_epochs": 0, "min_class_accuracy": 0.0, "criteria": ["magnitude"]},
        "execution": {"training_threads": 1, "isolation": "none"},
    }
    wrapped = nn.DataParallel(model)
    result = ep.evolve(wrapped, ep.Task(*sets), INPUTS, encoding=encoding, config=config, out=tmp_path / "run")
    loaded = ep.load(result.directory)
    assert loaded.temperature == 4.0
    assert torch.equal(outputs(loaded), outputs(result.best.model))
    x, targets = sets[2][0]
    accuracy = (loaded(x).argmax(1) == targets).float().mean()
    assert result.comparison["pruned"]["accuracy"] == pytest.approx(float(accuracy))
