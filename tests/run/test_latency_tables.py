"""Runs that know milliseconds: the table is measured once, belongs to the run, or comes from elsewhere."""

import json
import shutil
from dataclasses import replace
from functools import partial

import pytest
import torch

from evoprune.channels.analyze import analyze
from evoprune.channels.latency.measure import Effort, measure_latency
from evoprune.errors import ConfigError, MissingDependencyError, ReplayMismatchError, StoreCorruptedError, UsageError
from evoprune.nn_utils.runtimes import onnx_sessions
from evoprune.run import latency_tables
from evoprune.run.factories import channels
from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from evoprune.space.latency_files import tables_of, tables_text
from evoprune.testing.tiny import TinyCNN, tiny_recipe
from tests.run.conftest import TINY
from tests.run.mask_directories import events, journal

pytestmark = pytest.mark.usefixtures("seeded_torch")

LITTLE = Effort(rounds=1, layers_s=0.0, networks_s=0.0, fitted=3, held_out=1)
BOUND = {"constraints": ["latency_ms@batch=4<=0.9"]}
MEASURED = {"constraints": ["latency_ms@batch=4<=1000ms", "latency_ms<=1000ms"]}


@pytest.fixture(scope="module")
def made_elsewhere(tmp_path_factory):
    """A file with a table for batch 4, in which a layer takes as many milliseconds as it has weights."""
    model, _, example_inputs = tiny_recipe()
    (file,) = [tmp_path_factory.mktemp("table") / "latency.json"]
    file.write_text(tables_text([measured(model, example_inputs, 4)]))
    document = json.loads(file.read_text())
    (table,) = document["tables"]
    table["overhead"] = {"fixed_ms": 0.0, "per_layer_ms": 1.0, "per_million_ms": 0.0}
    table["conditions"]["processor"] = "another processor"
    for grid in table["grids"]:
        *_, last = grid["nodes"]
        first = grid["nodes"][0] if len(grid["nodes"]) > 1 else [1]
        grid["ms"] = [float(one * other) for one in first for other in last]
    table["dense_ms"] = sum(grid["ms"][-1] for grid in (table["grids"][one["grid"]] for one in table["layers"]))
    file.write_text(json.dumps(document))
    return file


def measured(model, example_inputs, batch):
    space = analyze(model.eval(), example_inputs)
    return measure_latency(
        model, space, example_inputs, batch=batch, device=torch.device("cpu"), threads=1, effort=LITTLE
    )


@pytest.fixture
def started(tmp_path, small_config, monkeypatch):
    """Runs the tiny recipe with some settings; gives the directory."""
    monkeypatch.setattr(latency_tables, "measure_latency", partial(measure_latency, effort=LITTLE))

    def start(name="run", **sections):
        config = small_config({"training": {"finetune_steps": 0}}, sections)
        execute(config, RecipeSource(TINY, None, None, config.run.seed), tmp_path / name)
        return tmp_path / name

    return start


def widths(directory):
    plan = json.loads((directory / "artifact/plan.json").read_text())["attributes"]
    return {name: values["out_channels"] for name, values in plan.items() if "out_channels" in values}


def test_table_is_measured_once_and_kept(started):
    directory = started(search=MEASURED)
    tables = tables_of((directory / "latency.json").read_text())
    assert [one.conditions.batch for one in tables] == [1, 4]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert manifest["pinned"]["latency"] == {str(one.conditions.batch): one.digest for one in tables}
    assert manifest["dense"]["latency_ms@batch=4"] == tables[1].predicted_dense_ms
    figures = json.loads((directory / "comparison.json").read_text())
    assert {"latency_ms", "latency_ms@batch=4"} <= figures["pruned"].keys()


@pytest.mark.slow
def test_search_for_a_table_gives_the_same_whatever_the_workers(started, made_elsewhere):
    search = {**BOUND, "latency_table": str(made_elsewhere)}
    alone = started("alone", search=search)
    pool = started("pool", search=search, execution={"workers": 2, "executor": "process-pool"})
    assert (pool / "evaluations.jsonl").read_bytes() == (alone / "evaluations.jsonl").read_bytes()
    (table,) = tables_of(made_elsewhere.read_text())
    ok = [line for line in journal(alone) if line["status"] == "ok"]
    assert all(line["objectives"]["latency_ms@batch=4"] <= 0.9 * table.predicted_dense_ms for line in ok)


def test_candidates_have_the_latency_of_the_table_and_other_machines_are_said(started, made_elsewhere):
    directory = started(search={"objectives": ["accuracy", "latency_ms@batch=4"], "latency_table": str(made_elsewhere)})
    best = max(journal(directory), key=lambda line: (line["fitness"] or 0.0, -line["index"]))
    kept = {"conv1": 8, "conv2": 8, **widths(directory)}
    assert best["objectives"]["latency_ms@batch=4"] == pytest.approx(
        kept["conv1"] + kept["conv1"] * kept["conv2"] + 4 * kept["conv2"]
    )
    said = [line["detail"] for line in events(directory, "Decision") if line["what"] == "latency"]
    assert "made elsewhere: another processor" in said[0]


def test_resumed_run_takes_its_own_table_though_the_file_it_came_from_is_gone(started, made_elsewhere, tmp_path):
    file = shutil.copy(made_elsewhere, tmp_path / "table.json")
    search = {**BOUND, "latency_table": str(file)}
    directory = started(search=search)
    lines = (directory / "evaluations.jsonl").read_text().splitlines(keepends=True)
    reopen(directory, keep=lines[:3])
    (tmp_path / "table.json").unlink()
    started(search=search)
    assert (directory / "evaluations.jsonl").read_text() == "".join(lines)


def reopen(directory, *, keep):
    (directory / "evaluations.jsonl").write_text("".join(keep))
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))


def test_changed_or_missing_table_of_a_run_is_refused(started, made_elsewhere):
    search = {**BOUND, "latency_table": str(made_elsewhere)}
    directory = started(search=search)
    reopen(directory, keep=[])
    text = (directory / "latency.json").read_text()
    (directory / "latency.json").write_text(text.replace('"repeats": ', '"repeats": 1'))
    with pytest.raises(ReplayMismatchError, match="another latency"):
        started(search=search)
    (directory / "latency.json").unlink()
    with pytest.raises(StoreCorruptedError, match=r"can't read .*latency.json"):
        started(search=search)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fingerprint": "0" * 32}, "measured for another network"),
        ({"groups": ["conv1"]}, "measured while conv2 stayed as it is"),
        ({"conditions": {"batch": 64}}, "has no table for a batch of 4, it has 64"),
        ({"conditions": {"inputs": [[4, 3, 16, 16]]}}, "inputs of 4x3x16x16, the run's are 4x3x8x8"),
        (
            {"conditions": {"runtime": "onnxruntime 1.32.0"}},
            "no table for a batch of 4, it has 4 with 1 threads in onnxruntime",
        ),
        ({"grids": None}, "is no latency table"),
    ],
)
def test_table_of_another_network_or_batch_is_refused(started, made_elsewhere, tmp_path, change, said):
    document = json.loads(made_elsewhere.read_text())
    (table,) = document["tables"]
    for key, value in change.items():
        table[key] = {**table[key], **value} if isinstance(value, dict) else value
    (tmp_path / "table.json").write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=said):
        started(search={**BOUND, "latency_table": str(tmp_path / "table.json")})


def test_table_for_a_runtime_or_threads_is_told_apart(started, made_elsewhere, monkeypatch):
    monkeypatch.setattr(channels, "check_installed", lambda: None)
    for how, option in (("runtime=onnxruntime", "--runtime onnxruntime"), ("threads=2", "--threads 2")):
        search = {"constraints": [f"latency_ms@batch=4,{how}<=0.9"], "latency_table": str(made_elsewhere)}
        with pytest.raises(ConfigError, match="it has 4 with 1 threads") as caught:
            started(how, search=search)
        assert f"--batch 4 {option}" in caught.value.hint


def test_runtime_that_is_not_installed_is_refused_before_any_work(started, monkeypatch, tmp_path):
    monkeypatch.setattr(onnx_sessions.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="needs onnx and onnxruntime") as caught:
        started(search={"constraints": ["latency_ms@batch=4,runtime=onnxruntime<=0.9"]})
    assert caught.value.hint == "pip install 'evoprune[onnx]'"
    assert not (tmp_path / "run").exists()


def test_name_that_a_comma_has_cut_is_told(started):
    with pytest.raises(ConfigError, match="a comma has cut"):
        started(search={"objectives": ["accuracy", "latency_ms@batch=4", "runtime=onnxruntime"]})


def test_latency_of_other_threads_has_a_table_of_its_own(started, monkeypatch):
    def quickly(*given, threads, **more):
        table = measure_latency(*given, threads=1, effort=LITTLE, **more)
        return replace(table, conditions=replace(table.conditions, threads=threads))

    monkeypatch.setattr(latency_tables, "measure_latency", quickly)
    directory = started(search={"constraints": ["latency_ms@batch=4<=1000ms", "latency_ms@batch=4,threads=2<=1000ms"]})
    tables = tables_of((directory / "latency.json").read_text())
    assert [one.conditions.threads for one in tables] == [1, 2]
    manifest = json.loads((directory / "manifest.json").read_text())
    assert list(manifest["pinned"]["latency"]) == ["4", "4,threads=2"]


@pytest.mark.usefixtures("onnx_installed")
def test_finished_network_is_measured_in_the_runtime_that_it_was_pruned_for(started):
    name = "latency_ms@batch=4,runtime=onnxruntime"
    directory = started(search={"constraints": [f"{name}<=0.9"], "objectives": ["accuracy", name]})
    (table,) = tables_of((directory / "latency.json").read_text())
    assert table.conditions.runtime_name == "onnxruntime"
    figures = json.loads((directory / "comparison.json").read_text())
    assert figures["pruned"][name] > 0
    assert figures["baseline"][name] != figures["baseline"]["latency_ms"]
    said = [
        line["detail"] for kind in ("Decision", "Caution") for line in events(directory, kind) if line["what"] == name
    ]
    assert "were predicted for the finished network" in said[0]


def test_missing_table_is_refused(started, tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere.json is no latency table"):
        started(search={**BOUND, "latency_table": str(tmp_path / "nowhere.json")})


def test_wider_network_has_another_fingerprint():
    _, _, example_inputs = tiny_recipe()
    spaces = [analyze(TinyCNN(width=width), example_inputs, self_check=False) for width in (8, 12)]
    assert spaces[0].fingerprint != spaces[1].fingerprint


def test_candidates_keep_a_budget_in_milliseconds_by_construction(started, made_elsewhere):
    search = {"constraints": ["latency_ms@batch=4<=0.5", "macs<=0.9"], "latency_table": str(made_elsewhere)}
    directory = started(search=search)
    (table,) = tables_of(made_elsewhere.read_text())
    lines = journal(directory)
    assert {line["status"] for line in lines} == {"ok"}
    used = [line["objectives"]["latency_ms@batch=4"] / table.predicted_dense_ms for line in lines]
    assert 0.3 < max(used) <= 0.5


def test_bound_that_no_network_can_keep_is_refused_with_what_can_be_reached(started, made_elsewhere):
    search = {"constraints": ["latency_ms@batch=4<=1.5"], "latency_table": str(made_elsewhere)}
    with pytest.raises(UsageError, match=r"latency_ms@batch=4<=1.5 \([0-9.]+ at least\)"):
        started(search=search)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda axis: ["gone.weight", axis[1]], "of gone.weight, which the network does not have"),
        (lambda axis: [axis[0], 9], r"is dimension 9 of .*, whose shape here is"),
    ],
    ids=["tensor", "dimension"],
)
def test_table_of_tensors_that_are_not_there_is_refused_before_any_candidate(
    started, made_elsewhere, tmp_path, change, said
):
    document = json.loads(made_elsewhere.read_text())
    layer = document["tables"][0]["layers"][0]
    layer["axes"] = [change(axis) for axis in layer["axes"]]
    file = tmp_path / "edited.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigError, match=said):
        started(search={**BOUND, "latency_table": str(file)})
    journal_file = tmp_path / "run" / "evaluations.jsonl"
    assert not journal_file.exists() or journal_file.read_text() == ""
