import json
import os
import signal
import time
from pathlib import Path

import pytest
import yaml

from tests.cli.conftest import SMALL, TINY, settings, start

TABLE = ("test accuracy", "parameters", "MACs", "size on disk", "peak activation memory", "latency")


def missing(words, text):
    return [word for word in words if word not in text]


@pytest.mark.slow
def test_run_shows_progress_and_the_table(evoprune, tmp_path):
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "run", *settings())
    assert (done.code, done.err) == (0, "")
    assert missing([*TABLE, "baseline epoch 1/1", "generation 0: best fitness", "retrain epoch 1/1"], done.out) == []
    figures = [tmp_path / "run" / name for name in ("ga_fitness_evolution.png", "pareto_front.png")]
    assert [figure.read_bytes()[:4] for figure in figures] == [b"\x89PNG"] * 2


@pytest.mark.slow
def test_run_writes_plain_lines_when_there_is_no_terminal(evoprune, tmp_path):
    out = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "run", *settings()).out
    assert "\x1b" not in out
    assert "\r" not in out
    assert out.startswith("[   0.")


@pytest.mark.slow
def test_run_says_it_is_done_when_called_again(evoprune, finished):
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    done = evoprune("run", TINY, "--workers", 2, "--out", finished, *settings())
    assert (done.code, done.err) == (0, "")
    assert "already done" in done.out
    assert missing(TABLE, done.out) == []
    assert {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()} == before


@pytest.mark.slow
def test_run_refuses_the_directory_of_another_run(evoprune, finished):
    done = evoprune("run", TINY, "--workers", 1, "--out", finished, "--seed", 5, *settings())
    assert done.code == 2
    assert "run.seed: 0 there, 5 here" in done.err
    assert "nothing was changed" in done.err


def test_run_refuses_a_directory_of_something_else(evoprune, tmp_path):
    (tmp_path / "thesis.tex").write_text("precious")
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path, *settings())
    assert done.code == 2
    assert "it holds thesis.tex" in done.err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.slow
def test_run_takes_a_yaml_file_and_flags_over_it(evoprune, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(
        yaml.safe_dump({"recipe": TINY, "run": {"seed": 3}, "ga": {"pop_size": 8}, "execution": {"workers": 1}})
    )
    flags = ["--seed", 4, "--constraint", "macs<=0.9", "--time-budget", "1h"]
    assert evoprune("run", file, "--out", tmp_path / "run", *flags, *settings()).code == 0
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (resolved["run"]["seed"], resolved["run"]["time_budget"]) == (4, 3600)
    assert (resolved["ga"]["pop_size"], resolved["search"]["constraints"]) == (4, ["macs<=0.9"])


@pytest.mark.slow
def test_run_prunes_the_named_layer_of_a_channel_run_alone(evoprune, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"recipe": TINY, "masks": {"layers": ["conv2"]}, "execution": {"workers": 1}}))
    flags = ["--layer", "conv1", "--exclude", "fc", "--constraint", "macs<=0.9"]
    assert evoprune("run", file, "--out", tmp_path / "run", *flags, *settings()).code == 0
    resolved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert (resolved["search"]["layers"], resolved["search"]["exclude"]) == (["conv1"], ["fc"])
    kept = json.loads((tmp_path / "run" / "artifact" / "plan.json").read_text())["kept"]
    assert {name for name, axes in kept.items() if "0" in axes} <= {"conv1.weight", "conv1.bias", *BN1}
    assert list(kept["conv2.weight"]) == ["1"]


BN1 = ("bn1.weight", "bn1.bias", "bn1.running_mean", "bn1.running_var")


@pytest.mark.slow
def test_run_goes_to_a_directory_named_after_the_recipe_when_none_is_given(evoprune, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert evoprune("run", TINY, "--workers", 1, *settings()).code == 0
    assert [path.name for path in Path("runs").iterdir()] == ["evoprune.testing.tiny-tiny_recipe"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["mnist"], ["'mnist' is not one of the recipes: ", "mnist-cnn", "package.module:attribute"]),
        (["no_such_package:recipe"], ["there is no module 'no_such_package'"]),
        (["evoprune.testing.tiny:CLASSES"], ["is a int, not a function"]),
        (["evoprune.caching:cache_directory"], ["must return (model, evoprune.Task, example_inputs)"]),
        (["missing.yaml"], ["can't read the configuration missing.yaml"]),
        ([TINY, "--set", "traning.lr=1"], ["traning is not a setting", "training"]),
        ([TINY, "--set", "ga.pop_size"], ["key.path=value"]),
        ([TINY, "--set", "fitness.w_loss=0", "--set", "fitness.w_macs=0"], ["weights can't all be 0"]),
        ([TINY, "--workers", "0"], ["execution.workers"]),
        ([TINY, "--workers", "many"], ["execution.workers", "'auto'"]),
        ([TINY, "--seed", "-1"], ["run.seed", "greater than or equal to 0"]),
        ([TINY, "--time-budget", "soon"], ["run.time_budget", "30m"]),
        ([TINY, "--constraint", "macs<0.5"], ["search.constraints", "macs<=0.5"]),
        ([TINY, "--executor", "threads"], ["'threads' is not one of the executors", "process-pool"]),
        ([TINY, "--set", "execution.device=cuda:99"], ["execution.device is cuda:99", "use auto or cpu"]),
        ([TINY, "--set", "data.checkpoint=gone.pth"], ["gone.pth does not exist"]),
        ([TINY, "--set", "data.dir=/data"], ["takes no data_dir"]),
        ([TINY, "--layer", "cnov1"], ["there is no layer 'cnov1'", "layers that can: conv1"]),
        ([TINY, "--layer", "fc"], ["'fc' can't be pruned", "reaches the model's output"]),
        ([TINY, "--exclude", "head"], ["exclude 'head' names nothing", "layers with weights: "]),
        ([TINY, "--exclude", "conv1", "--exclude", "fc"], ["nothing can be pruned", "is excluded by"]),
    ],
    ids=lambda value: " ".join(value)[:60],
)
def test_run_says_what_to_fix_in_two_lines_when_the_input_is_bad(evoprune, tmp_path, arguments, words):
    done = evoprune("run", *arguments, "--out", tmp_path / "run")
    lines = done.err.splitlines()
    assert done.code == 2
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert len(lines) <= 2
    assert missing(words, done.err) == []


def test_run_lists_every_setting_that_is_wrong(evoprune, tmp_path):
    wrong = ["--set", "ga.pop_size=1", "--set", "traning.lr=1", "--seed", "-1"]
    done = evoprune("run", TINY, *wrong, "--out", tmp_path / "run")
    assert done.code == 2
    assert [line.split()[0] for line in done.err.splitlines()] == ["error:", "ga.pop_size:", "run.seed:", "traning"]


@pytest.mark.parametrize("text", ["ga: {pop_size: 4", "- a list", "a: b: c\n", "ga:\n  pop_size: [}\n"])
def test_run_says_what_to_fix_in_two_lines_when_the_yaml_is_bad(evoprune, tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    done = evoprune("run", tmp_path / "bad.yaml", "--out", tmp_path / "run")
    assert done.code == 2
    assert "bad.yaml" in done.err
    assert len(done.err.splitlines()) <= 2
    assert not (tmp_path / "run").exists()


def test_run_names_the_known_recipes_when_the_file_names_none(evoprune, tmp_path):
    (tmp_path / "empty.yaml").write_text("")
    done = evoprune("run", tmp_path / "empty.yaml")
    assert done.code == 2
    assert "no recipe is named" in done.err


def test_run_exits_with_one_and_a_way_on_when_the_run_stops(evoprune, tmp_path):
    impossible = ["--constraint", "peak_activation_bytes<=1B", "--set", "search.algorithm=genetic"]
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "run", *impossible, *settings())
    assert done.code == 1
    assert done.err.startswith("error: none of 8 candidates keeps the constraints\nhint: ")


def test_run_shows_no_traceback_when_a_recipe_raises(evoprune, tmp_path, monkeypatch):
    (tmp_path / "my_broken_recipe.py").write_text("def recipe():\n    raise ValueError('my\\nown mistake')\n")
    monkeypatch.syspath_prepend(tmp_path)
    done = evoprune("run", "my_broken_recipe:recipe", "--out", tmp_path / "run")
    assert done.code == 1
    assert done.err.splitlines()[0] == "error: ValueError: my own mistake"
    assert "--debug" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("position", [0, 1, 3])
def test_run_shows_the_traceback_when_asked_for_it(evoprune, tmp_path, position):
    arguments = ["run", "mnist", "--out", str(tmp_path / "run")]
    arguments.insert(position if position != 3 else 4, "--debug")
    done = evoprune(*arguments)
    assert done.code == 2
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-2].startswith("error: 'mnist' is not one of the recipes")


SLOW = [one for one in SMALL if not one.startswith(("training.finetune_steps", "ga.num_generations"))]
SLOW += ["training.finetune_steps=100", "ga.num_generations=4"]


SECONDS_TO_STOP = 15
"""On a machine that does other things as well; alone it is one or two."""


def interrupted(directory, *arguments, stop):
    """A slow run, stopped by `stop(process)` once it has journalled a few candidates; its exit code and standard error."""
    options = [part for assignment in SLOW for part in ("--set", assignment)]
    process = start("run", TINY, "--out", directory, *arguments, *options, start_new_session=True)
    journal, patience = directory / "evaluations.jsonl", time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < patience, "the run has journalled nothing"
        time.sleep(0.005)
    stop(process)
    _, err = process.communicate(timeout=SECONDS_TO_STOP)
    return process.returncode, err


def left_in_group(group):
    """Processes of the group that are still there when those on their way out have had their time."""
    patience = time.monotonic() + 10
    while (left := in_group(group)) and time.monotonic() < patience:
        time.sleep(0.02)
    return left


def in_group(group):
    return [
        stat.parent.name
        for stat in Path("/proc").glob("[0-9]*/stat")
        if (fields := stat.read_text().rpartition(")")[2].split())[2] == str(group) and fields[0] != "Z"
    ]


def twice(process):
    """Ctrl-C by someone impatient."""
    os.killpg(process.pid, signal.SIGINT)
    time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "stop"),
    [
        (1, lambda process: process.terminate()),
        pytest.param(1, lambda process: process.send_signal(signal.SIGHUP), marks=pytest.mark.slow),
        pytest.param(2, lambda process: process.terminate(), marks=pytest.mark.slow),
        pytest.param(2, lambda process: os.killpg(process.pid, signal.SIGTERM), marks=pytest.mark.slow),
        pytest.param(2, twice, marks=pytest.mark.slow),
    ],
    ids=["SIGTERM", "closed terminal", "SIGTERM alone with workers", "SIGTERM to all", "Ctrl-C twice with workers"],
)
def test_run_says_how_to_resume_when_it_is_stopped_and_resume_does(evoprune, tmp_path, workers, stop):
    directory, pids = tmp_path / "my run", []

    def stop_it(process):
        pids.append(process.pid)
        stop(process)

    code, err = interrupted(directory, "--workers", workers, stop=stop_it)
    assert (code, err) == (1, f"stopped; go on with: evoprune resume '{directory}'\n")
    assert left_in_group(pids[0]) == []
    before = (directory / "evaluations.jsonl").read_bytes()
    assert before.count(b"\n") < 16
    resumed = evoprune("resume", directory)
    assert (resumed.code, missing(TABLE, resumed.out)) == (0, [])
    assert (directory / "evaluations.jsonl").read_bytes().startswith(before)
    assert json.loads((directory / "manifest.json").read_text())["status"] == "done"


def test_run_leaves_no_directory_where_a_layer_is_misspelt_so_that_it_can_be_corrected(evoprune, tmp_path):
    arguments = ["run", TINY, "--workers", 1, "--out", tmp_path / "run", *settings("training.epochs=0")]
    done = evoprune(*arguments, "--layer", "con1")
    assert (done.code, "there is no layer 'con1'" in done.err) == (2, True)
    assert not list((tmp_path / "run").iterdir())


def test_run_refuses_trackers_that_there_are_not(evoprune, tmp_path):
    done = evoprune("run", TINY, "--out", tmp_path / "run", "--track", "tensorbord", *settings())
    assert (done.code, "'tensorbord' is not one of the trackers: tensorboard" in done.err) == (2, True)
    assert not (tmp_path / "run").exists()
