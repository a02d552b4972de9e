"""kill -9 at random moments and at every write: each resumed run ends as if nothing had been. `make soak` does it all."""

import json
import logging
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evoprune.run.factories.runs import execute
from evoprune.run.problem import RecipeSource
from tests.run.conftest import TINY
from tests.run.resumed import check_resumed, done, evaluated_since_the_last_start, journal_lines, left_over

FULL = "EVOPRUNE_SOAK_KILLS" in os.environ
KILLS = int(os.environ.get("EVOPRUNE_SOAK_KILLS", "6"))
"""Over all kinds of runs."""
SEED = int(os.environ.get("EVOPRUNE_SOAK_SEED", "0"))
CODE = "from evoprune.cli.app import main; main()"
PATIENCE_S = 120

# Long enough that no part of a run is over between two looks at it.
APART = {"execution": {"isolation": "auto"}}  # as runs of people are, though slower in small ones
CHANNELS = {
    **APART,
    "ga": {"pop_size": 6, "num_generations": 4},
    "training": {"finetune_steps": 12, "epochs": 6, "retrain_epochs": 3},
}
MASKS = {
    **APART,
    "masks": {"goals": [0.3, 0.5, 0.7], "retrain_epochs": 2},
    "ga": {"num_generations": 4},
    "training": {"epochs": 6},
}
STEADY = {"search": {"algorithm": "steady-state", "asynchronous": True}}
ASYNCHRONOUS = {**CHANNELS, **STEADY}
KINDS = {
    "channels": (CHANNELS, 1),
    "channels in processes": (CHANNELS, 2),
    "masks": (MASKS, 1),
    "asynchronous": (ASYNCHRONOUS, 1),
}  # fmt: skip
_logger = logging.getLogger(__name__)


class Runs:
    """Runs of one kind, each in a process group and with a cache of its own."""

    def __init__(self, folder, config):
        self.folder, self.config = folder, folder / "config.yaml"
        self.config.write_text(config.to_yaml())

    def start(self, name):
        """A process that has just begun to write its directory."""
        directory = self.folder / name
        process = subprocess.Popen(
            [sys.executable, "-c", CODE, "run", str(self.config), "--out", str(directory)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env={**os.environ, "EVOPRUNE_CACHE": str(self.folder / f"cache of {name}")},
        )
        wait_until((directory / "manifest.json").exists, process)
        return process, directory

    def measure(self):
        """Seconds from the first file to the last and journal lines of a run that nothing disturbs; it stays in `whole`."""
        process, directory = self.start("whole")
        started = time.monotonic()
        wait_until(lambda: json.loads((directory / "manifest.json").read_text())["status"] == "done", process)
        length_s = time.monotonic() - started
        assert process.wait(timeout=PATIENCE_S) == 0
        return length_s, journal_lines(directory)

    def kill(self, name, after_s, after_lines=0):
        """A run killed so long after so many lines; its first process alone, as a system does that is out of memory."""
        process, directory = self.start(name)
        wait_until(lambda: journal_lines(directory) >= after_lines, process)
        time.sleep(after_s)
        process.kill()
        process.wait()
        wait_until(lambda: not left_in_group(process.pid), None)
        return directory


def wait_until(holds, process):
    patience = time.monotonic() + PATIENCE_S
    while not holds():
        assert process is None or process.poll() is None, "the run ended before it had begun"
        assert time.monotonic() < patience
        time.sleep(0.002)


def left_in_group(group):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if fields[2] == str(group) and fields[0] != "Z":
            found.append(path.parent.name)
    return found


@pytest.fixture
def build_config(small_config, mask_config):
    def build(kind):
        sections, workers = KINDS[kind]
        return (mask_config if "masks" in sections else small_config)(sections, {"execution": {"workers": workers}})

    return build


def resume(config, directory, monkeypatch):
    monkeypatch.setenv("EVOPRUNE_CACHE", str(directory.parent / f"cache of {directory.name}"))
    execute(config, RecipeSource(TINY, None, None, config.run.seed), directory)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("kind", KINDS)
def test_run_that_is_killed_at_any_moment_resumes_to_the_same_end(kind, tmp_path, build_config, monkeypatch):
    config = build_config(kind)
    runs = Runs(tmp_path, config)
    (length_s, last), random = runs.measure(), np.random.default_rng([SEED, list(KINDS).index(kind)])
    for number in range(math.ceil(KILLS / len(KINDS))):
        # Every other one in the search, which is short beside training and the start of processes.
        moment = (random.uniform(0, 0.03), random.integers(1, last)) if number % 2 else (random.uniform(0, length_s), 0)
        directory = runs.kill(f"killed-{number}", *moment)
        lines = journal_lines(directory)
        event = (directory / "events.jsonl").read_text().splitlines()[-1:]
        _logger.warning("%s, kill %d: %d lines in the journal, last event %s", kind, number, lines, event)
        was_done = done(directory)
        resume(config, directory, monkeypatch)
        check_resumed(directory, tmp_path / "whole", None if was_done else lines)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_asynchronous_run_in_processes_that_is_killed_keeps_every_line(tmp_path, small_config, monkeypatch):
    """Its end depends on which candidate is ready first; what stands in the journal stays, and none of it is evaluated again."""
    config = small_config(ASYNCHRONOUS, {"execution": {"workers": 2}})
    runs, random = Runs(tmp_path, config), np.random.default_rng(SEED)
    for number in range(math.ceil(KILLS / len(KINDS))):
        directory = runs.kill(f"killed-{number}", random.uniform(0, 0.03), random.integers(1, 23))
        before = (directory / "evaluations.jsonl").read_bytes()
        lines = before.count(b"\n")
        resume(config, directory, monkeypatch)
        after = (directory / "evaluations.jsonl").read_bytes()
        assert after.startswith(before[: before.rfind(b"\n") + 1])
        assert evaluated_since_the_last_start(directory) == list(range(lines, journal_lines(directory)))
        assert (done(directory), left_over(directory), journal_lines(directory)) == (True, [], 24)


@pytest.mark.slow
def test_run_that_is_killed_again_and_again_comes_to_the_same_end(tmp_path, build_config, monkeypatch):
    config = build_config("channels")
    runs = Runs(tmp_path, config)
    (length_s, _), random = runs.measure(), np.random.default_rng(SEED)
    for _ in range(3):
        runs.kill("killed", random.uniform(0, length_s / 3))
    lines = journal_lines(tmp_path / "killed")
    resume(config, tmp_path / "killed", monkeypatch)
    check_resumed(tmp_path / "killed", tmp_path / "whole", lines)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks for the names of open files in /proc")
@pytest.mark.parametrize("kind", ["channels", "masks", "asynchronous"])
def test_run_that_dies_at_any_of_its_writes_resumes_to_the_same_end(
    kind, tmp_path, small_config, mask_config, monkeypatch
):
    """At half a line, before and after it, and around each file that is put in its place. Slow tests: at most twice a file."""
    config = {"masks": mask_config(), "channels": small_config(), "asynchronous": small_config(STEADY)}[kind]
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    which = "all" if FULL else "some"
    command = [sys.executable, "-m", "tests.run.dying_runs", tmp_path, which, tmp_path / "config.yaml"]
    subprocess.run(command, check=True)
    steps = json.loads((tmp_path / "steps.json").read_text())
    for folder in sorted(tmp_path.glob("killed-*")):
        lines, was_done = journal_lines(folder / "run"), done(folder / "run")
        resume(config, folder / "run", monkeypatch)
        moment = f"killed before: {steps[int(folder.name.removeprefix('killed-'))]}"
        check_resumed(folder / "run", tmp_path / "whole" / "run", None if was_done else lines, moment)
