import copy
import importlib
import json
import subprocess
import sys

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import evoprune as ep
from evoprune import api
from evoprune.config.schema import GeneticConfig
from evoprune.errors import ConfigError, DataError, UsageError
from evoprune.events import RunEnded
from evoprune.nn_utils.weights import weight_bytes
from evoprune.objectives.accuracy import score
from evoprune.testing.tiny import TinyCNN, tiny_recipe

TINY = "evoprune.testing.tiny:tiny_recipe"
QUICK = {
    "ga": {"pop_size": 6, "num_generations": 2},
    "training": {"epochs": 2, "retrain_epochs": 1, "batch_size": 64, "finetune_steps": 3},
    "search": {"criteria": ["l1", "taylor"], "criteria_samples": 32, "baselines": "none"},
    "execution": {"training_threads": 1, "isolation": "none"},
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def evolve(tmp_path):
    def start(name="run", *, problem=None, **arguments):
        settings = {"config": QUICK, "out": tmp_path / name, **arguments}
        return ep.evolve(*(problem or tiny_recipe()), **settings)

    return start


def test_public_names_are_those_of_the_api():
    assert set(ep.__all__) == {*api.__all__, *ep.SEAMS, "__version__"}
    assert set(ep.__all__) <= set(dir(ep))
    assert [name for name in api.__all__ if getattr(ep, name) is not getattr(api, name)] == []


def test_seams_are_offered_by_the_package_itself():
    for name, module in ep.SEAMS.items():
        assert getattr(ep, name) is getattr(importlib.import_module(module), name)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'evoprune' has no attribute 'prun'"):
        _ = ep.prun


def test_evolve_leaves_the_model_as_it_was(evolve):
    model, task, example_inputs = tiny_recipe()
    model.train()
    model.bn1.eval()
    model.fc.weight.requires_grad_(False)
    before, modes = copy.deepcopy(model.state_dict()), [module.training for module in model.modules()]
    evolve(problem=(model, task, example_inputs))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [module.training for module in model.modules()] == modes
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == ["fc.weight"]


def test_result_has_the_best_model_and_its_plan(evolve):
    model, task, example_inputs = tiny_recipe()
    result = evolve(problem=(model, task, example_inputs))
    pruned, counted = result.comparison["pruned"], ep.count(result.best.model, example_inputs)
    assert (counted.macs, counted.params) == (pruned["macs"], pruned["params"])
    assert ep.count(ep.prune(model, result.best.plan), example_inputs).macs == pruned["macs"]
    assert judged(result.best.model, task) == pruned["accuracy"]
    assert not result.best.model.training


def judged(model, task):
    return score(model, task.test, task.metric, device=torch.device("cpu"), batch_size=100)


@pytest.mark.slow
def test_result_has_a_front_of_models_that_can_be_built(evolve):
    result = evolve()
    example_inputs = tiny_recipe()[2]
    assert len(result.front) == len(result.comparison["front"]) > 0
    assert [ep.count(one.model, example_inputs).macs for one in result.front] == [
        one.objectives["macs"] for one in result.front
    ]
    losses = [one.objectives["loss"] for one in result.front]
    assert losses == sorted(losses)


@pytest.mark.slow
def test_result_shows_its_table(evolve):
    result = evolve()
    assert "test accuracy" in result.table()
    assert str(result.directory) in repr(result)
    assert result.table() in repr(result)


def test_saved_artifact_is_the_best_model(evolve, tmp_path):
    result = evolve()
    saved = result.save(tmp_path / "mine")
    loaded = ep.load(saved)
    assert weight_bytes(loaded) == weight_bytes(result.best.model) == weight_bytes(ep.load(result.directory))
    images = torch.linspace(-1, 1, 3 * 3 * 8 * 8).view(3, 3, 8, 8)
    assert torch.equal(loaded(images), result.best.model(images))


@pytest.mark.slow
def test_save_refuses_a_directory_that_holds_something(evolve, tmp_path):
    result = evolve()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("precious")
    with pytest.raises(UsageError, match="is not empty"):
        result.save(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_saved_artifact_loads_where_nothing_else_is_known(evolve, tmp_path):
    saved = evolve().save(tmp_path / "mine")
    code = f"import evoprune as ep; print(type(ep.load({str(saved)!r})).__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == "TinyCNN\n"


@pytest.mark.slow
def test_artifact_of_a_wider_network_asks_for_its_factory(evolve, seeded_torch):
    _, task, example_inputs = tiny_recipe()
    result = evolve(problem=(TinyCNN(width=12), task, example_inputs))
    with pytest.raises(UsageError, match="names no factory"):
        ep.load(result.directory)
    loaded = ep.load(result.directory, factory=lambda: TinyCNN(width=12))
    assert weight_bytes(loaded) == weight_bytes(result.best.model)


def test_evolve_keeps_the_constraint(evolve):
    result = evolve(constraints=["macs<=0.4"])
    dense = result.comparison["baseline"]["macs"]
    assert result.comparison["pruned"]["macs"] <= 0.4 * dense
    assert all(point.objectives["macs"] <= 0.4 * dense for point in result.front)


@pytest.mark.slow
def test_evolve_gives_the_same_with_one_worker_and_two(evolve):
    one, two = evolve("one"), evolve("two", workers=2)
    assert (one.directory / "evaluations.jsonl").read_bytes() == (two.directory / "evaluations.jsonl").read_bytes()
    assert weight_bytes(one.best.model) == weight_bytes(two.best.model)


def loader_task():
    """The tiny task as a user has it: data loaders of float images."""
    _, task, _ = tiny_recipe()

    def dataset(source):
        images, labels = zip(*source.batches(1000, device=torch.device("cpu")), strict=True)
        return TensorDataset(torch.cat(images).contiguous(), torch.cat(labels))

    return ep.Task(
        DataLoader(dataset(task.train), batch_size=64, shuffle=True),
        DataLoader(dataset(task.select), batch_size=50),
        DataLoader(dataset(task.test), batch_size=50),
    )


@pytest.mark.slow
def test_evolve_takes_data_loaders_and_gives_the_same_twice(evolve):
    model, _, example_inputs = tiny_recipe()
    first, second = (evolve(name, problem=(model, loader_task(), example_inputs)) for name in ("first", "second"))
    assert (first.directory / "evaluations.jsonl").read_bytes() == (second.directory / "evaluations.jsonl").read_bytes()
    assert first.comparison["pruned"]["accuracy"] > 0.5
    assert judged(ep.load(first.directory), loader_task()) == first.comparison["pruned"]["accuracy"]


def test_evolve_refuses_sets_that_overlap():
    _, task, _ = tiny_recipe()
    with pytest.raises(DataError, match="val and test sets share samples"):
        ep.Task(task.train, task.test, task.test)


@pytest.mark.slow
def test_evolve_returns_the_finished_run_when_called_again(evolve):
    first, events = evolve(), []
    again = evolve(listeners=[events.append])
    assert events == []
    assert again.comparison == first.comparison


@pytest.mark.slow
def test_evolve_tells_its_listeners(evolve):
    events = []
    evolve(listeners=[events.append])
    assert isinstance(events[-1], RunEnded)
    assert len({type(event) for event in events}) >= 8


@pytest.mark.slow
def test_evolve_takes_settings_from_the_config_unless_an_argument_says_otherwise(evolve):
    config = {**QUICK, "run": {"seed": 7}, "search": {"constraints": ["macs<=0.9"]}}
    assert evolve("one", config=config).config.run.seed == 7
    overridden = evolve("two", config=config, seed=8, constraints=["macs<=0.8"]).config
    assert (overridden.run.seed, overridden.search.constraints) == (8, ("macs<=0.8",))


def test_evolve_reports_settings_that_are_wrong(evolve, tmp_path):
    with pytest.raises(ConfigError, match=r"(?s)ga\.pop_size.*ga\.mutation"):
        evolve(config={"ga": {"pop_size": 1, "mutation": 0.1}})
    with pytest.raises(ConfigError, match=r"^time_budget: "):
        evolve(time_budget="soon")
    with pytest.raises(ConfigError, match="'weights' is not one of the encodings"):
        evolve(encoding="weights")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_evolve_without_a_directory_makes_one(evolve):
    result = evolve(out=None)
    assert (result.directory / "artifact" / "model.safetensors").exists()


def test_run_takes_a_config_object_over_the_defaults_of_a_recipe(tmp_path, monkeypatch):
    run = []
    monkeypatch.setattr(api, "execute_run", lambda config, *_: run.append(config))
    ep.run_recipe("mnist-cnn", out=tmp_path)
    ep.run_recipe("mnist-cnn", config=ep.Config(ga=GeneticConfig(pop_size=4)), out=tmp_path)
    assert run[1].ga.pop_size == 4
    assert run[1].training == run[0].training != ep.Config().training


def test_run_and_resume_take_a_recipe(tmp_path):
    config = {**QUICK, "execution": {"workers": 1, "training_threads": 1, "isolation": "none"}}
    result = ep.run_recipe(TINY, config=config, out=tmp_path / "run")
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "status": "running"}))
    resumed = ep.resume(tmp_path / "run")
    assert resumed.comparison["pruned"]["accuracy"] == result.comparison["pruned"]["accuracy"]
    assert json.loads(manifest.read_text())["status"] == "done"


@pytest.mark.slow
def test_resume_refuses_a_run_that_was_started_from_python(evolve):
    result = evolve()
    with pytest.raises(UsageError, match="was started from Python") as caught:
        ep.resume(result.directory)
    assert "evoprune.evolve again" in caught.value.hint
