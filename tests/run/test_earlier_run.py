"""Runs of channels that go on from another: retargeted, with the channels swapped, resumed without it."""

import hashlib
import json
import shutil
from dataclasses import dataclass

import pytest

import evoprune as ep
from evoprune.config.schema import make_config
from evoprune.errors import ConfigError, StoreCorruptedError, UsageError
from evoprune.events import CandidateEvaluated
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.run.factories.channels import channel_target
from evoprune.run.factories.runs import execute
from evoprune.run.factories.stored import stored_config
from evoprune.run.problem import Problem, RecipeSource
from evoprune.run.stored_encoding import stored_encoding
from evoprune.store.journal import read_journal
from evoprune.testing.executor_jobs import TINY
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.conftest import MASKS, SMALL

JOURNAL = "evaluations.jsonl"
SETTINGS = {
    "search": {"constraints": ["macs<=0.6"], "round_to": 1, "criteria_samples": 64, "baselines": "best"},
    "ga": {"pop_size": 8, "num_generations": 3},
    "training": {"finetune_steps": 2, "retrain_epochs": 1},
}
SWAPS = {"search": {"encoding": "channel-bits"}, "ga": {"mutation": "swap", "mutation_rate": 0.5}}


def begin(directory, *sections, listeners=()):
    config = make_config(SMALL, SETTINGS, *sections)
    execute(config, RecipeSource(TINY, None, None, config.run.seed), directory, listeners)
    return directory


@pytest.fixture(scope="module")
def earlier(tmp_path_factory):
    """The directory of one finished run, for tests that only read it."""
    folder = tmp_path_factory.mktemp("earlier")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EVOPRUNE_CACHE", str(folder / "cache"))
        return begin(folder / "run")


@pytest.fixture
def run(tmp_path, earlier):
    """Begin a run that goes on from the earlier one; gives its directory."""

    def start(name="run", *sections, listeners=(), directory=earlier, **search):
        own = {"search": {"start_from": str(directory), **search}}
        return begin(tmp_path / name, *sections, own, listeners=listeners)

    return start


@dataclass(frozen=True)
class Line:
    tags: dict
    generation: int
    plan: ep.PruningPlan
    widths: dict


def lines(directory):
    """All candidates of a run, decoded."""
    config = stored_config(directory)
    model, task, inputs = tiny_recipe(seed=config.run.seed)
    path = directory / "baseline/model.safetensors"
    put_weights(model, read_weights(path), str(path))
    encoding = stored_encoding(directory, channel_target(config), model.eval(), Problem(model, task, inputs))
    return [
        Line(one.tags, one.generation, encoding.decode(one.genome), dict(encoding.widths(one.genome)))
        for one in read_journal(directory / JOURNAL)
    ]


def finished(directory):
    """The last line of the candidate that was finished."""
    genome = json.loads((directory / "comparison.json").read_text())["pruned"]["genome"]
    places = [one.index for one in read_journal(directory / JOURNAL) if one.evaluation.genome == genome]
    return lines(directory)[places[-1]]


def nested(plan, other):
    """Whether of every axis one plan keeps a part of what the other keeps; a group may become wider, to use up a budget."""
    axes = [(name, dim) for name, dims in other.kept.items() for dim in dims if dim in plan.kept.get(name, {})]
    pairs = [(set(plan.kept[name][dim]), set(other.kept[name][dim])) for name, dim in axes]
    return all(one <= two or two <= one for one, two in pairs)


@pytest.mark.parametrize("encoding", ["channel-widths", "channel-bits"])
def test_network_of_the_earlier_run_comes_first_as_it_was_within_the_same_bounds(run, earlier, encoding):
    first = lines(run(encoding=encoding))[0]
    before = finished(earlier)
    assert first.plan == before.plan
    # Equal tensors are one file.
    assert first.tags["start"] == before.tags["state"]


@pytest.mark.parametrize("encoding", ["channel-widths", "channel-bits"])
def test_network_of_the_earlier_run_is_cut_further_for_a_tighter_bound(run, earlier, encoding):
    found = lines(run(encoding=encoding, constraints=["macs<=0.25"]))
    before = finished(earlier)
    assert nested(found[0].plan, before.plan)
    assert found[0].plan != before.plan
    assert "start" in found[0].tags
    criteria = [one for one in found if one.generation == 0 and "start" not in one.tags]
    assert len(criteria) >= 4


def test_front_of_the_earlier_run_is_begun_with_where_there_is_no_bound(tmp_path, run):
    front = begin(tmp_path / "front", {"search": {"constraints": []}, "ga": {"pop_size": 12}})
    found = lines(run("run", {"ga": {"pop_size": 12}}, directory=front, constraints=[]))
    started = [one.plan for one in found if one.generation == 0 and "start" in one.tags]
    points = [one.plan for one in ep.resume(front).front]
    assert len(started) == 3
    assert all(plan in points or plan == finished(front).plan for plan in started)


def test_widths_go_on_from_bits_by_their_widths(tmp_path, run):
    bits = begin(tmp_path / "bits", {"search": {"encoding": "channel-bits"}})
    assert lines(run(directory=bits))[0].widths == finished(bits).widths


def test_search_without_a_ladder_begins_with_the_networks_and_dense_weights(run, earlier):
    found = lines(run(algorithm="genetic"))
    assert found[0].plan == finished(earlier).plan
    assert not any("start" in one.tags for one in found)


def test_best_criterion_is_still_one_of_the_criteria(run):
    compared = json.loads((run() / "comparison.json").read_text())["criterion"]
    assert compared["criterion"].split()[1] in ("global", "uniform")


@pytest.mark.parametrize("sections", [(), (SWAPS,)], ids=["widths", "swaps"])
@pytest.mark.parametrize("stops_at", [2, 11])
def test_run_is_resumed_to_the_byte_when_the_earlier_one_is_gone(tmp_path, earlier, run, sections, stops_at):
    def stop(event):
        if isinstance(event, CandidateEvaluated) and event.index == stops_at:
            raise ZeroDivisionError

    copy = shutil.copytree(earlier, tmp_path / "earlier")
    whole = run("whole", *sections, directory=copy)
    with pytest.raises(ZeroDivisionError):
        run("cut", *sections, directory=copy, listeners=(stop,))
    shutil.rmtree(copy)
    cut = run("cut", *sections, directory=copy)
    for name in (JOURNAL, "start.json", "artifact/model.safetensors"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes()


def test_changed_networks_of_the_start_are_noticed(tmp_path, run):
    directory = run("run", {"run": {"max_candidates": 4}})
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    (directory / "start.json").write_text((directory / "start.json").read_text().replace("0", "1"))
    with pytest.raises(StoreCorruptedError, match="not the file that was written"):
        run("run", {"run": {"max_candidates": 4}})


def test_swaps_keep_the_widths_of_the_earlier_network_in_all_candidates(run, earlier):
    found = lines(run("run", SWAPS))
    before = finished(earlier)
    assert found[0].plan == before.plan
    assert {tuple(one.widths.items()) for one in found} == {tuple(before.widths.items())}
    assert len({one.plan for one in found}) > 8
    assert {one.tags["start"] for one in found if one.generation == 0} == {before.tags["state"]}


def test_swaps_keep_the_widths_that_a_tighter_bound_leaves(run, earlier):
    found = lines(run("run", SWAPS, constraints=["macs<=0.3"]))
    assert len({tuple(one.widths.items()) for one in found}) == 1
    assert nested(found[0].plan, finished(earlier).plan)


@pytest.mark.parametrize("algorithm", ["genetic", "steady-state", "nsga2"])
def test_swaps_keep_widths_in_every_search(run, earlier, algorithm):
    found = lines(run("run", SWAPS, algorithm=algorithm))
    assert {tuple(one.widths.items()) for one in found} == {tuple(finished(earlier).widths.items())}


def test_other_dense_weights_are_refused_until_they_are_those_of_the_earlier_run(run, earlier):
    longer = {"training": {"epochs": 2}}
    with pytest.raises(ConfigError, match="other weights of the dense network") as caught:
        run("other", longer)
    setting = caught.value.hint.split("data.checkpoint=")[1]
    directory = run("same", longer, {"data": {"checkpoint": setting}})
    assert lines(directory)[0].plan == finished(earlier).plan


@pytest.mark.slow
def test_weights_that_saw_other_data_are_left_where_they_are(run, earlier, seeded_torch):
    model, task, inputs = tiny_recipe()
    path = earlier / "baseline/model.safetensors"
    put_weights(model, read_weights(path), str(path))
    _, other, _ = tiny_recipe(select_size=80)
    config = {**SETTINGS, "search": {**SETTINGS["search"], "start_from": str(earlier)}}
    tags = []
    for number, one in enumerate((task, other)):
        directory = earlier.parent / f"live-{number}"
        ep.evolve(model, one, inputs, config=config, out=directory)
        tags.append(read_journal(directory / JOURNAL)[0].tags)
    assert ["start" in one for one in tags] == [True, False]


def test_run_of_another_network_is_refused(tmp_path, earlier, seeded_torch):
    _, task, inputs = tiny_recipe()
    config = {**SETTINGS, "search": {**SETTINGS["search"], "start_from": str(earlier)}}
    with pytest.raises(ConfigError, match="pruned another network"):
        ep.evolve(TinyCNN(width=6), task, inputs, config=config, out=tmp_path / "wide")


def test_run_that_is_not_over_is_refused_before_any_work(tmp_path, run):
    with pytest.raises(ConfigError, match=r"search.start_from: .* is not a run directory"):
        run(directory=tmp_path / "nothing")
    begun = begin(tmp_path / "begun")
    manifest = json.loads((begun / "manifest.json").read_text())
    (begun / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(ConfigError, match="is not over") as caught:
        run(directory=begun)
    assert "evoprune resume" in caught.value.hint
    assert not any((tmp_path / "run").iterdir())


def test_masks_and_channels_do_not_go_on_from_each_other(tmp_path, run, mask_run):
    with pytest.raises(ConfigError, match=r"masks\.warm_start"):
        make_config(MASKS, {"search": {"start_from": str(tmp_path)}})
    with pytest.raises(UsageError, match="prunes single weights"):
        run("channels", directory=mask_run("masks", search={"encoding": "weight-bits"}, masks={"goals": [0.3]}))
    assert not any((tmp_path / "channels").iterdir())


def test_command_line_names_the_run_with_from(earlier, tmp_path):
    from typer.testing import CliRunner

    from evoprune.cli.app import app

    done = CliRunner().invoke(app, ["run", TINY, "--from", str(tmp_path / "none"), "--out", str(tmp_path / "out")])
    assert isinstance(done.exception, ConfigError)
    assert "is not a run directory" in str(done.exception)


def test_networks_that_a_tight_bound_makes_one_are_begun_with_once_as_the_most_important(tmp_path, run):
    front = begin(tmp_path / "front", {"search": {"constraints": []}, "ga": {"pop_size": 12}})
    started = run("run", {"ga": {"pop_size": 12}}, directory=front, constraints=["macs<=0.1"])
    networks = json.loads((started / "start.json").read_text())["networks"]
    assert len({one["bits"] for one in networks}) == len(networks) < 3
    first = [one.tags["start"] for one in lines(started) if one.generation == 0 and "start" in one.tags]
    assert first == [one["state"] for one in networks]


def test_earlier_run_without_its_orders_is_refused(tmp_path, earlier, run):
    """Genomes name criteria by their places in the orders: without them they would mean other units."""
    copy = shutil.copytree(earlier, tmp_path / "copy")
    (copy / "orders.safetensors").unlink()
    with pytest.raises(StoreCorruptedError, match="can't read the orders in"):
        run(directory=copy)


@pytest.mark.parametrize("change", [{"length": 16, "bits": "uf8="}, {"state": 5}])
def test_networks_of_the_start_that_are_none_are_refused(tmp_path, run, change):
    """Whoever edits the file can edit its digest as well."""
    directory = run("run", {"run": {"max_candidates": 1}})
    networks = json.loads((directory / "start.json").read_text())["networks"]
    content = json.dumps({"networks": [networks[0] | change]})
    (directory / "start.json").write_text(content)
    manifest = json.loads((directory / "manifest.json").read_text())
    manifest["pinned"]["start.json"] = hashlib.sha256(content.encode()).hexdigest()
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    with pytest.raises(StoreCorruptedError, match=r"start\.json is damaged"):
        ep.resume(directory)
