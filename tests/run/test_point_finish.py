"""Points of a front finished afterwards: what the run would have given, nothing of it changed, the test set read once."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.config.yaml_files import merge
from evoprune.errors import ConfigError, ReplayMismatchError, StoreCorruptedError, UsageError
from evoprune.events import Decision
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.conftest import SMALL, TINY
from tests.run.test_finetune import MASKS, contents

FRONT = {
    "ga": {"pop_size": 8, "num_generations": 3},
    "search": {"round_to": 1, "baselines": "none"},
    "training": {"finetune_steps": 4, "retrain_epochs": 1},
}
ANOTHER_BEST = {"fitness": {"w_macs": 100.0}}
"""The ladder for a front breeds by fronts, so that this changes what is best and nothing of the search."""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished runs of one journal and different bests; copied, never changed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOPRUNE_CACHE", str(folder / "cache"))
        for name, more in (("front", {}), ("other", ANOTHER_BEST)):
            execute(make_config(SMALL, FRONT, more), RecipeSource(TINY, None, None, 0), folder / name)
    return folder


@pytest.fixture
def run(runs, tmp_path):
    return shutil.copytree(runs / "front", tmp_path / "front")


def front_of(directory):
    return json.loads((directory / "comparison.json").read_text())["front"]


def best_of(directory):
    """Number of the point that a run has finished itself."""
    document = json.loads((directory / "comparison.json").read_text())
    return next(one["index"] for one in document["front"] if one["genome"] == document["pruned"]["genome"])


def test_a_point_is_the_network_that_a_run_gives_whose_best_it_is(runs, run):
    other = best_of(runs / "other")
    assert other != best_of(run)
    done = ep.finish(run, point=other)
    for name in ("model.safetensors", "plan.json"):
        assert (run / "points" / str(other) / name).read_bytes() == (runs / "other" / "artifact" / name).read_bytes()
    theirs = json.loads((runs / "other" / "comparison.json").read_text())["pruned"]
    ours = done.comparison["pruned"]
    assert {**ours, "latency_ms": 0} == {**theirs, "latency_ms": 0}


def test_a_distilled_network_is_nearer_to_the_dense_one_and_a_point_is_distilled_alike(tmp_path, run, seeded_torch):
    directory, images = tmp_path / "distilled", tiny_recipe()[1].test
    taught = {"training": {"distill": 1.0, "distill_temperature": 1.0, "retrain_epochs": 8, "retrain_lr": 0.01}}
    targets = {"training": {**taught["training"], "distill": 0.0}}
    execute(make_config(SMALL, FRONT, taught), RecipeSource(TINY, None, None, 0), directory)
    assert (directory / "evaluations.jsonl").read_text() == (run / "evaluations.jsonl").read_text()
    same = ep.finish(directory, point=best_of(directory)).model
    plain = ep.finish(directory, point=best_of(directory), out=tmp_path / "plain", config=targets).model
    made, dense = ep.load(directory / "artifact"), TinyCNN()
    dense.load_state_dict(load_file(directory / "baseline" / "model.safetensors"))
    with torch.no_grad():
        inputs = next(iter(images.batches(256, device=torch.device("cpu"))))[0]
        wanted, distilled, again, other = (model.eval()(inputs).softmax(1) for model in (dense, made, same, plain))
    assert torch.equal(distilled, again)
    assert (distilled - wanted).abs().mean() < 0.9 * (other - wanted).abs().mean()


def test_a_point_leaves_the_run_as_it_was_and_counts_for_itself(run):
    before, number = contents(run), front_of(run)[0]["index"]
    done = ep.finish(run, point=number, epochs=0.5)
    after = contents(run)
    assert {path: after[path] for path in before} == before
    assert done.directory == run / "points" / str(number)
    assert done.point == number
    manifest = json.loads((done.directory / "manifest.json").read_text())
    assert (manifest["test_set_reads"], manifest["status"]) == (1, "done")
    assert manifest["identity"]["training"]["retrain_epochs"] == 0.5


def test_a_point_is_judged_as_it_is_saved(run):
    done = ep.finish(run, point=front_of(run)[0]["index"], out=run / "mine")
    inputs, targets = next(iter(tiny_recipe()[1].test.batches(128, device=torch.device("cpu"))))
    with torch.no_grad():
        accuracy = float((ep.load(run / "mine")(inputs).argmax(1) == targets).float().mean())
    assert done.comparison["pruned"]["accuracy"] == pytest.approx(accuracy)
    assert done.comparison["pruned"]["macs"] == ep.count(done.model, tiny_recipe()[2]).macs
    assert "pruned" in done.table()


def test_bounds_choose_the_least_loss_among_the_points_that_keep_them(run):
    front, dense = front_of(run), json.loads((run / "manifest.json").read_text())["dense"]
    middle = sorted(one["macs"] for one in front)[len(front) // 2]
    within = [one for one in front if one["macs"] <= middle]
    expected = min(within, key=lambda one: one["loss"])["index"]
    assert ep.finish(run, constraints=f"macs<={middle / dense['macs']:.6f}", epochs=0).point == expected
    worst = max(one["loss"] for one in within)
    both = [f"macs<={middle + 0.5}", f"loss<={worst + 1}"]
    assert ep.finish(run, constraints=both, epochs=0, out=run / "both").point == expected


def test_bounds_out_of_reach_name_the_nearest_point(run):
    front = front_of(run)
    least = min(front, key=lambda one: one["macs"])
    with pytest.raises(UsageError, match=r"no point on the front of .* keeps macs<=0\.0001; the nearest") as caught:
        ep.finish(run, constraints="macs<=0.0001")
    assert f"the nearest is {least['index']}: {least['macs']:,.0f} MACs (" in caught.value.message
    assert "\n" not in str(caught.value)
    assert not (run / "points").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"point": 9999}, r"has no point 9999: it has \d+"),
        ({"constraints": "latency_ms<=3ms"}, r"the run has not measured latency_ms of its candidates; it has macs"),
        ({"constraints": "size<1"}, r"is not of the form"),
        ({"constraints": "accuracy<=0.5"}, r"would have accuracy worse than its bound"),
        ({}, r"by its number or by bounds"),
        ({"point": 1, "constraints": "macs<=0.5"}, r"by its number or by bounds"),
        ({"point": 1, "config": {"ga": {"pop_size": 8}}}, r"ga: of no effect on finishing a point"),
    ],
)
def test_finish_refuses_what_names_no_point(run, arguments, message):
    before = contents(run)
    with pytest.raises(UsageError, match=message) as caught:
        ep.finish(run, **arguments)
    assert "\n" not in str(caught.value)
    assert contents(run) == before


def test_a_point_whose_state_is_gone_starts_from_the_dense_weights_and_that_is_said(run):
    shutil.rmtree(run / "states")
    heard = []
    ep.finish(run, point=best_of(run), listeners=[heard.append])
    said = [one.detail for one in heard if isinstance(one, Decision) and one.what == "retraining"]
    assert said == [f"it starts from the dense weights: what the search trained of candidate {best_of(run)} is gone"]


def test_a_finished_point_is_not_made_again_unless_another_directory_is_named(run):
    number = front_of(run)[0]["index"]
    ep.finish(run, point=number, epochs=0)
    before = contents(run)
    with pytest.raises(UsageError, match="is not empty: it holds a finished point"):
        ep.finish(run, point=number, epochs=0)
    assert contents(run) == before
    ep.finish(run, point=number, epochs=0, out=run / "again")
    one, other = (contents(folder) for folder in (run / "points" / str(number), run / "again"))
    differing = {path.name for path in one if one[path] != other[path]}
    assert differing <= {"comparison.json", "README.md"}  # which have the latency


def test_a_point_begins_again_where_a_process_died_but_no_other_does(run):
    one, other = (point["index"] for point in front_of(run)[:2])
    out = ep.finish(run, point=one, epochs=0).directory
    manifest = json.loads((out / "manifest.json").read_text())
    (out / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(ReplayMismatchError, match=rf"of_point: {one} there, {other} here"):
        ep.finish(run, point=other, epochs=0, out=out)
    ep.finish(run, point=one, epochs=0)
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["status"], manifest["test_set_reads"]) == ("done", 2)


def test_finish_refuses_what_is_no_finished_run_of_channels(run, tmp_path):
    with pytest.raises(UsageError, match="not a run directory"):
        ep.finish(tmp_path, point=0)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(UsageError, match="is not over") as caught:
        ep.finish(run, point=0)
    assert "evoprune resume" in caught.value.hint


def test_finish_refuses_other_data_and_another_network(run, seeded_torch):
    model, task, inputs = tiny_recipe()
    number = best_of(run)
    with pytest.raises(UsageError, match="data is not what the run"):
        ep.finish(run, point=number, model=model, task=tiny_recipe(seed=1)[1], example_inputs=inputs)
    with pytest.raises(UsageError, match=r"another architecture: bn1\.bias is \[8\], the model has \[10\]"):
        ep.finish(run, point=number, model=TinyCNN(width=10), task=task, example_inputs=inputs)
    assert list((run / "points" / str(number)).iterdir()) == []


def test_finish_says_so_when_it_diverges(run):
    with pytest.raises(ConfigError, match=r"the last retraining: .*not finite.*retrain_lr") as caught:
        ep.finish(run, point=best_of(run), lr=1e12, epochs=10, config={"training": {"retrain_optimizer": "sgd"}})
    assert caught.value.hint == "lower lr="


@pytest.mark.slow
def test_finish_refuses_a_run_of_masks(tmp_path):
    ep.run_recipe(TINY, config=MASKS, out=tmp_path / "masks")
    with pytest.raises(UsageError, match="a run of weight masks, which has no front"):
        ep.finish(tmp_path / "masks", point=0)


@pytest.mark.slow
def test_finish_takes_the_problem_of_a_run_that_was_started_from_python(tmp_path):
    problem = tiny_recipe()
    shared = {name: SMALL[name] for name in ("training", "search", "execution")}
    ep.evolve(*problem, config=merge(shared, FRONT), out=tmp_path / "mine")
    number = best_of(tmp_path / "mine")
    with pytest.raises(UsageError, match="started from Python") as caught:
        ep.finish(tmp_path / "mine", point=number)
    assert "evoprune.finish(" in caught.value.hint
    model, task, inputs = problem
    done = ep.finish(tmp_path / "mine", point=number, model=model, task=task, example_inputs=inputs)
    name = "model.safetensors"
    assert (done.directory / name).read_bytes() == (tmp_path / "mine" / "artifact" / name).read_bytes()


def _lines(directory):
    return [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]


def _change_line(directory, number, **values):
    lines = _lines(directory)
    lines[number] |= values
    (directory / "evaluations.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _failed(directory, number):
    _change_line(directory, number, status="failed")


def _cheaper(directory, number):
    _change_line(directory, number, objectives={**_lines(directory)[number]["objectives"], "macs": 5.0})


def _with_weights_of_another(directory, number):
    other = next(one["index"] for one in front_of(directory) if one["index"] != number)
    _change_line(directory, number, state=_lines(directory)[other]["state"])


def _without_orders(directory, number):
    (directory / "orders.safetensors").unlink()


def _of_another_encoding(directory, number):
    settings = directory / "config.yaml"
    settings.write_text(settings.read_text().replace("channel-widths", "channel-bits"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_failed, r"the front in .* is not of the candidates in its evaluations\.jsonl"),
        (_cheaper, r"the front in .* is not of the candidates in its evaluations\.jsonl"),
        (_with_weights_of_another, r"of the trained weights is not of the network that they belong to"),
        (_without_orders, r"can't read the orders in .*orders\.safetensors"),
        (_of_another_encoding, r"has 64 bits, the run's encoding 16"),
    ],
)
def test_finish_refuses_files_of_a_run_that_are_not_of_each_other(run, damage, message):
    number = best_of(run)
    damage(run, number)
    with pytest.raises(StoreCorruptedError, match=message):
        ep.finish(run, point=number, epochs=1)


def test_finish_refuses_fractions_of_what_the_run_does_not_tell(run):
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "dense": {}}))
    with pytest.raises(UsageError, match=r"'macs<=0\.5' is a fraction of the dense network's value, which"):
        ep.finish(run, constraints="macs<=0.5")


def test_a_finished_point_is_no_run_to_make_something_of(run):
    out = ep.finish(run, point=best_of(run), epochs=0).directory
    for make in (lambda: ep.finish(out, point=best_of(run)), lambda: ep.finetune(out, epochs=1, out=run / "more")):
        with pytest.raises(UsageError, match="holds a finished point, not a run") as caught:
            make()
        assert "the run that it was made of" in caught.value.hint


def test_finish_refuses_a_task_that_is_judged_otherwise(run):
    """The run's figures would stand beside those of another measure under one name."""
    model, task, inputs = tiny_recipe()
    other = ep.Task(task.train, task.val, task.test, metric=mean_error)
    with pytest.raises(
        ReplayMismatchError, match=r"was judged by accuracy in %, higher is better, the task now by mean_error"
    ):
        ep.finish(run, point=best_of(run), epochs=0, model=model, task=other, example_inputs=inputs)
    assert not (run / "points" / str(best_of(run)) / "comparison.json").exists()


def mean_error(outputs, targets):
    return float((outputs.argmax(1) != targets).float().mean())


mean_error.maximize = False


def test_finish_refuses_another_loss_of_the_same_metric(tmp_path):
    model, task, example_inputs = tiny_recipe()
    directory = ep.evolve(
        model, task, example_inputs, config=merge({**SMALL, "recipe": None}, FRONT), out=tmp_path / "run"
    ).directory
    other = ep.Task(task.train, task.val, task.test, loss=torch.nn.CrossEntropyLoss(label_smoothing=0.1))
    with pytest.raises(ReplayMismatchError, match=r"was trained by the loss cross_entropy, .* now CrossEntropyLoss"):
        ep.finish(directory, point=best_of(directory), model=model, task=other, example_inputs=example_inputs)


@pytest.mark.parametrize("config", [[], 0, "no.yaml"], ids=repr)
def test_finish_refuses_settings_that_are_none(run, config):
    with pytest.raises(ConfigError, match=r"holds no settings|can't read the configuration"):
        ep.finish(run, point=best_of(run), config=config)


def test_finish_names_the_cheapest_point_where_no_cost_is_low_enough(run):
    costs = {one["index"]: one["macs"] for one in front_of(run)}
    cheapest = min(costs, key=costs.get)
    with pytest.raises(UsageError, match=rf"keeps macs<=0; the nearest is {cheapest}: {costs[cheapest]:,.0f} MACs"):
        ep.finish(run, constraints="macs<=0")
