import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field

import pytest
import torch

import evoprune as ep
from evoprune.data.task import Task
from evoprune.errors import ReplayMismatchError, RunError, UsageError
from evoprune.objectives.accuracy import score
from evoprune.run.factories.runs import execute
from evoprune.run.problem import LiveSource, Problem, RecipeSource
from evoprune.run.time_budget import TimeBudget
from evoprune.store.run_directory import RunStore
from evoprune.testing.tiny import TinyCNN, tiny_recipe

TIMED = ("latency_ms",)
FILES = ("evaluations.jsonl", "artifact/model.safetensors", "artifact/plan.json", "artifact/model.json")


def contents(directory):
    return {name: (directory / name).read_bytes() for name in FILES}


def comparison(directory):
    document = json.loads((directory / "comparison.json").read_text())
    document.pop("timings", None)
    for model in ("baseline", "pruned"):
        document[model] = {key: value for key, value in document[model].items() if key not in TIMED}
    return document


def events(directory, kind):
    lines = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


@pytest.fixture
def run(tmp_path, small_config):
    """Run a source, the tiny recipe if none is given, into a directory under `tmp_path`; gives the directory."""

    def start(name="run", *, source=None, **sections):
        config = small_config({"recipe": None} if source else {}, sections)
        execute(config, source or RecipeSource(config.recipe, None, None, config.run.seed), tmp_path / name)
        return tmp_path / name

    return start


def live(*, model=None, **sets):
    """The tiny problem with another model or other sets."""
    dense, task, example_inputs = tiny_recipe()
    known = {"train": task.train, "val": task.val, "test": task.test}
    return LiveSource(Problem(model or dense, Task(**{**known, **sets}), example_inputs))


def test_run_gives_the_same_with_one_worker_here_and_two_in_processes(run):
    alone = run("alone")
    pool = run("pool", execution={"workers": 2, "executor": "process-pool"})
    assert contents(pool) == contents(alone)
    assert comparison(pool) == comparison(alone)
    workers = {line["cost"]["worker"] for line in events(pool, "CandidateEvaluated")}
    assert os.getpid() not in workers


def test_run_gives_the_same_when_the_seed_is_the_same(run, monkeypatch, tmp_path):
    first = run("first")
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "empty"))
    assert contents(run("second")) == contents(first)


@pytest.mark.slow
def test_run_gives_something_else_when_the_seed_is_another(run):
    first, other = contents(run("first")), contents(run("other", run={"seed": 1}))
    assert [name for name in FILES if first[name] == other[name]] == []


def test_run_directory_holds_what_the_design_promises(run):
    directory = run()
    names = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
    promised = {
        "config.yaml",
        "manifest.json",
        "events.jsonl",
        "baseline/model.safetensors",
        "comparison.json",
        "run.log",
    }
    assert promised | set(FILES) <= names
    assert not [name for name in names if name.endswith((".pkl", ".pt", ".pth", ".tmp"))]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["channel-widths", "channel-bits"])
def test_run_says_how_many_units_there_are_and_not_how_long_genomes_are(run, encoding):
    directory = run(encoding, search={"encoding": encoding}, ga={"num_generations": 1})
    units = ep.analyze(*tiny_recipe()[::2]).size
    assert [(event["units"], event["groups"]) for event in events(directory, "SpaceAnalyzed")] == [(units, 2)]


def test_run_evaluates_no_genome_twice(run):
    lines = [
        json.loads(line) for line in (run(ga={"num_generations": 4}) / "evaluations.jsonl").read_text().splitlines()
    ]
    assert len(lines) == 16
    assert len({(line["genome"], line["rung"]) for line in lines}) == 16


def test_run_leaves_a_finished_directory_as_it_is(run):
    directory = run()
    kept = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
    run()
    assert {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()} == kept


def test_comparison_is_reproduced_exactly_by_loading_the_artifact(run):
    directory = run()
    reported = comparison(directory)["pruned"]
    model, (_, task, example_inputs) = ep.load(directory / "artifact"), tiny_recipe()
    counted = ep.count(model, example_inputs)
    assert score(model, task.test, task.metric, device=torch.device("cpu"), batch_size=17) == reported["accuracy"]
    assert (counted.params, counted.macs) == (reported["params"], reported["macs"])
    assert counted.size_bytes == reported["size_bytes"] == (directory / "artifact" / "model.safetensors").stat().st_size
    assert counted.peak_activation_bytes == reported["peak_activation_bytes"]


def test_front_holds_what_no_other_candidate_beats(run):
    directory = run(ga={"num_generations": 3})
    lines = [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["rung"] == 2]
    points = [(-line["objectives"]["loss"], -line["objectives"]["macs"]) for line in lines]
    worth = {line["index"]: point for line, point in zip(lines, points, strict=True)}
    front = {
        line["index"]
        for line, point in zip(lines, points, strict=True)
        if not any(other != point and other[0] >= point[0] and other[1] >= point[1] for other in points)
    }
    assert {point["index"] for point in comparison(directory)["front"]} <= front
    assert {worth[point["index"]] for point in comparison(directory)["front"]} == {worth[index] for index in front}


@dataclass
class CountedSource:
    """Counts the passes over a source that reach its end."""

    source: object
    passes: list = field(default_factory=list)

    def __len__(self):
        return len(self.source)

    def batches(self, batch_size, *, device, seed=None):
        yield from self.source.batches(batch_size, device=device, seed=seed)
        self.passes.append(batch_size)

    def batch_count(self, batch_size):
        return self.source.batch_count(batch_size)

    def joined(self, other):
        raise AssertionError("the test set was joined with another")

    def head(self, size):
        raise AssertionError("a part of the test set was taken")


def test_test_set_is_read_once_for_each_finished_model(run):
    counted = CountedSource(tiny_recipe()[1].test)
    directory = run(source=live(test=counted))
    assert len(counted.passes) == 2
    assert json.loads((directory / "manifest.json").read_text())["test_set_reads"] == 2


class Fragile(TinyCNN):
    """Learns nothing but nan once it has fewer than five channels in front, from batches larger than that of the analysis."""

    def forward(self, images):
        logits = super().forward(images)
        broken = self.training and len(images) > 1 and self.conv1.out_channels < 5
        return logits * float("nan") if broken else logits


@pytest.mark.slow
def test_run_goes_on_when_some_candidates_diverge(run, seeded_torch):
    directory = run(source=live(model=Fragile()), ga={"pop_size": 8})
    lines = [json.loads(line) for line in (directory / "evaluations.jsonl").read_text().splitlines()]
    failed = [line for line in lines if line["status"] == "failed"]
    assert 0 < len(failed) < len(lines)
    assert {line["reason"].split(" after")[0] for line in failed} == {"the loss is not finite"}
    assert not any("fitness" in line or line["objectives"] for line in failed)
    assert (directory / "comparison.json").exists()


class Hopeless(TinyCNN):
    def forward(self, images):
        logits = super().forward(images)
        broken = self.training and len(images) > 1 and self.conv1.out_channels < 8
        return logits * float("nan") if broken else logits


def test_run_stops_with_the_reason_when_all_candidates_diverge(run, seeded_torch):
    with pytest.raises(RunError, match=r"all 4 candidates of generation 0 failed.* the loss is not finite"):
        run(source=live(model=Hopeless()), training={"epochs": 0}, ga={"initial_keep": [0.2, 0.5]})


def test_run_stops_and_finishes_when_the_time_budget_is_spent(run):
    directory = run(ga={"num_generations": 50}, run={"time_budget": 0.001})
    assert (directory / "evaluations.jsonl").read_text().count("\n") == 4
    manifest = json.loads((directory / "manifest.json").read_text())
    assert (manifest["status"], manifest["stopped_before_generation"]) == ("done", 1)
    assert events(directory, "Decision")[0]["what"] == "time budget"


def test_time_budget_repeats_its_decision_at_a_resume(tmp_path):
    with RunStore(tmp_path, {}, "") as store:
        spent = TimeBudget(1.0, time.perf_counter() - 100, store, lambda event: None)
        assert [spent(0), spent(1)] == [True, False]
    with RunStore(tmp_path, {}, "") as store:
        fresh = TimeBudget(1e9, time.perf_counter(), store, lambda event: None)
        assert [fresh(0), fresh(1), fresh(2)] == [True, False, False]


def test_constraint_is_kept_by_the_result(run):
    document = comparison(run(search={"constraints": ["macs<=0.5"]}, ga={"pop_size": 8}))
    assert document["pruned"]["macs"] <= 0.5 * document["baseline"]["macs"]


def test_run_says_so_when_no_candidate_keeps_the_constraints(run):
    with pytest.raises(RunError, match=r"none of \d+ candidates keeps the constraints"):
        run(search={"constraints": ["accuracy>=99.9%", "peak_activation_bytes<=1B"]})


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"search": {"algorithm": "genetics"}}, "'genetics' is not one of the searches: genetic, "),
        ({"search": {"encoding": "bits"}}, "'bits' is not one of the encodings: channel-bits"),
        ({"search": {"objectives": ["accuracy", "speed"]}}, "'speed' is not one of the objectives: accuracy"),
        ({"search": {"constraints": ["latency<=5ms"]}}, "'latency' is not one of the objectives: "),
        ({"search": {"criteria": ["l1", "taylr"]}}, "'taylr' is not one of the criteria: taylor, "),
        ({"execution": {"executor": "threads"}}, "'threads' is not one of the executors: "),
        ({"recipe": "mnist"}, "'mnist' is not one of the recipes: mnist-cnn, "),
        ({"recipe": "no_such_package:recipe"}, "there is no module"),
    ],
    ids=str,
)
def test_run_refuses_an_unknown_name_before_there_is_a_directory(run, tmp_path, sections, message):
    with pytest.raises(UsageError, match=message):
        run(**sections)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("sections", [{"data": {"dir": "/data"}}, {"data": {"select_size": 640}}], ids=str)
def test_run_leaves_no_trace_when_the_recipe_refuses(tmp_path, small_config, sections):
    config = small_config(sections)
    source = RecipeSource(config.recipe, config.data.dir, config.data.select_size, 0)
    with pytest.raises(UsageError):
        execute(config, source, tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.slow
def test_resume_refuses_other_data(run):
    directory = run(source=live())
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    before = contents(directory)
    _, task, _ = tiny_recipe()
    with pytest.raises(UsageError, match="was begun with another data"):
        run(source=live(train=task.train, val=task.val.head(32), test=task.test))
    assert contents(directory) == before


SLOW = {"training": {"finetune_steps": 60}, "ga": {"pop_size": 6, "num_generations": 3}}


def start_slowly(directory, small_config):
    """A process that runs the tiny recipe with long fine-tuning; returned once it has journalled a few candidates."""
    config = directory.parent / "slow.yaml"
    config.write_text(small_config(SLOW).to_yaml())
    code = "from evoprune.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(config), "--out", directory], stdout=subprocess.DEVNULL
    )
    journal, patience = directory / "evaluations.jsonl", time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 4:
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < patience, "the run has journalled nothing"
        time.sleep(0.005)
    return process


@pytest.mark.slow
def test_resume_gives_the_same_when_the_run_was_killed_in_mid_search(run, tmp_path, small_config):
    process = start_slowly(tmp_path / "killed", small_config)
    process.send_signal(signal.SIGKILL)
    process.wait()
    done = (tmp_path / "killed" / "evaluations.jsonl").read_bytes().count(b"\n")
    killed, whole = run("killed", **SLOW), run("whole", **SLOW)
    assert 4 <= done < 18
    assert contents(killed) == contents(whole)
    assert comparison(killed) == comparison(whole)
    evaluated = [line["index"] for line in events(killed, "CandidateEvaluated") if not line["replayed"]]
    assert evaluated == sorted(set(evaluated))
    assert len([line for line in events(killed, "CandidateEvaluated") if line["replayed"]]) == done


@pytest.mark.slow
def test_finished_run_is_refused_to_another_live_model(run):
    run(source=live())
    with pytest.raises(ReplayMismatchError, match="another model"):
        run(source=live(model=tiny_recipe(seed=1)[0]))
