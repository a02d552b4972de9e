"""No argument of a public function is ignored in silence: it is honoured, or refused in one line that names it."""

import warnings

import pytest
import torch
from torch import nn
from torch.nn import functional

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.errors import UsageError
from evoprune.run.factories.common import placement_of
from evoprune.testing.tiny import TinyCNN, tiny_recipe

TINY = "evoprune.testing.tiny:tiny_recipe"
SMALL = {
    "ga": {"pop_size": 2, "num_generations": 1, "elitism": 0},
    "training": {"retrain_epochs": 0, "finetune_steps": 1},
    "execution": {"training_threads": 1},
}


@pytest.fixture(scope="module")
def problem():
    return tiny_recipe()


@pytest.fixture(scope="module")
def run(tmp_path_factory, problem):
    """A finished run that was started from Python."""
    return ep.evolve(*problem, config=SMALL, out=tmp_path_factory.mktemp("runs") / "run").directory


EVOLVE = {
    "a recipe": ({"config": {"recipe": TINY}}, "recipe: of no effect on evolve"),
    "a folder of data": ({"config": {"data": {"dir": "/data"}}}, r"data\.dir: of no effect on evolve"),
    "a size of data": ({"config": {"data": {"select_size": 9}}}, r"data\.select_size: of no effect on evolve"),
    "workers in one process": (
        {"workers": 3, "config": {"execution": {"executor": "in-process"}}},
        "^workers is 3, and executor in-process evaluates one",
    ),
    "a factory that is no name": (
        {"factory": TinyCNN},
        "factory is a type, and an artifact can hold nothing but a name",
    ),
    "a factory that isn't there": ({"factory": "evoprune.testing.tiny:Gone"}, "can't import the factory"),
    "a factory of another network": ({"factory": "evoprune.recipes.mnist_cnn:MnistCNN"}, "other names or shapes"),
    "a factory that needs arguments": ({"factory": "torch.nn:Linear"}, "the factory torch.nn:Linear fails: TypeError"),
}


@pytest.mark.parametrize("case", EVOLVE)
def test_evolve_refuses_what_it_would_ignore_before_there_is_a_directory(problem, tmp_path, case):
    arguments, words = EVOLVE[case]
    with pytest.raises(UsageError, match=words) as caught:
        ep.evolve(*problem, **arguments, out=tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_run_recipe_refuses_two_recipes():
    with pytest.raises(UsageError, match="recipe is 'mnist-cnn', but the settings name 'lenet5-mnist'"):
        ep.run_recipe("mnist-cnn", config={"recipe": "lenet5-mnist"})


@pytest.mark.slow
@pytest.mark.parametrize(
    "given", [("model",), ("task",), ("example_inputs",), ("model", "task"), ("task", "example_inputs")]
)
def test_finetune_takes_what_evolve_was_called_with_whole_or_not_at_all(run, problem, given):
    arguments = dict(zip(("model", "task", "example_inputs"), problem, strict=True))
    with pytest.raises(UsageError, match=f"{' and '.join(given)} without ") as caught:
        ep.finetune(run, **{name: arguments[name] for name in given})
    assert not (run / "finetuned").exists()
    assert "pass model=, task= and example_inputs=" in str(caught.value)


def test_finetune_takes_the_network_out_of_its_wrapper(run, problem, tmp_path):
    model, task, inputs = problem
    done = ep.finetune(
        run, epochs=0.1, model=nn.DataParallel(model), task=task, example_inputs=inputs, out=tmp_path / "more"
    )
    assert type(done.model) is TinyCNN


@pytest.mark.parametrize(
    "settings",
    [
        {"training": {"epochs": 3}},
        {"training": {"finetune_lr": 0.1, "retrain_lr": 0.1}},
        {"execution": {"workers": 4}},
        {"execution": {"candidate_threads": 2}},
        {"search": {"round_to": 8}},
    ],
    ids=str,
)
def test_finetune_refuses_settings_of_searches(run, settings):
    with pytest.raises(UsageError, match="of no effect on fine-tuning") as caught:
        ep.finetune(run, config=settings)
    assert "retrain_lr: of" not in caught.value.message


@pytest.mark.parametrize("name", ["l1", "l2", "group-magnitude", "bn_scale", "lamp", "fpgm", "random"])
@pytest.mark.parametrize("given", ["batches", "loss"])
def test_importance_says_so_where_data_make_no_difference(problem, name, given):
    model, _, inputs = problem
    space = ep.analyze(model, inputs, self_check=False)
    data = {"batches": [(inputs, torch.zeros(1, dtype=torch.long))], "loss": functional.cross_entropy}
    with pytest.warns(UserWarning, match="looks at weights alone: batches= and loss= make no difference"):
        ep.importance(model, space, name, **{given: data[given]})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ep.importance(model, space, name)
        ep.importance(model, space, "taylor", **data)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"keep": 0.5, "macs": 0.5}, "either keep= or macs="),
        ({}, "either keep= or macs="),
        ({"keep": 0.5, "scope": "local"}, "scope='local' is not one of"),
        ({"macs": 0.5, "scope": "uniformly"}, "scope='uniformly' is not one of"),
    ],
)
def test_plan_by_importance_refuses_what_contradicts_itself(problem, arguments, words):
    space = ep.analyze(problem[0], problem[2], self_check=False)
    with pytest.raises(UsageError, match=words):
        space.plan_by_importance(range(space.size), **arguments)


@pytest.mark.parametrize("workers", ["auto", 1])
def test_one_process_takes_one_worker(workers):
    placement_of(make_config({"execution": {"executor": "in-process", "workers": workers}})).check()


def test_load_takes_a_network_for_what_builds_it(run, problem):
    assert torch.equal(ep.load(run, factory=problem[0]).fc.weight, ep.load(run).fc.weight)
    with pytest.raises(UsageError, match="builds another network"):
        ep.load(run, factory=nn.Sequential())
