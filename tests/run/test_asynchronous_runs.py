"""Whole runs whose search waits for no generation: what is in the journal is repeated exactly, and nothing is evaluated twice."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from evoprune.errors import ConfigError
from evoprune.events import CandidateEvaluated
from evoprune.run.factories.runs import execute
from evoprune.run.mask_search import MaskSearches
from tests.run.mask_directories import contents, journal

ASYNCHRONOUS = {"search": {"algorithm": "steady-state", "asynchronous": True}}
PATIENCE_S = 120


class StoppedError(Exception):
    pass


def stop_at(candidate):
    def listen(event):
        if isinstance(event, CandidateEvaluated) and event.index == candidate:
            raise StoppedError

    return listen


def decided_by_seed(directory):
    paths = [directory / "evaluations.jsonl", *sorted((directory / "artifact").iterdir())]
    return {path.name: path.read_bytes() for path in paths}


def make_unfinished(directory, lines=None):
    """As if the process had died before the artifact, and after so many lines of the journal."""
    manifest = json.loads((directory / "manifest.json").read_text())
    (directory / "manifest.json").write_text(json.dumps({**manifest, "status": "running"}))
    for path in (directory / "artifact").iterdir():
        path.unlink()
    if lines is not None:
        path = directory / "evaluations.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


@pytest.mark.slow
@pytest.mark.parametrize("candidate", [0, 2, 4, 7])
def test_run_with_one_worker_ends_as_ever_when_it_was_stopped(tmp_path, small_config, tiny_source, candidate):
    config = small_config(ASYNCHRONOUS)
    execute(config, tiny_source, tmp_path / "whole")
    with pytest.raises(StoppedError):
        execute(config, tiny_source, tmp_path / "stopped", (stop_at(candidate),))
    execute(config, tiny_source, tmp_path / "stopped")
    assert decided_by_seed(tmp_path / "stopped") == decided_by_seed(tmp_path / "whole")
    assert [line["generation"] for line in journal(tmp_path / "whole")] == [0] * 4 + [1] * 4


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "layers"])
def test_mask_run_with_one_worker_ends_as_ever_when_it_was_stopped(mask_run, mode):
    sections = {**ASYNCHRONOUS, "masks": {"mode": mode}}
    whole = mask_run("whole", **sections)
    with pytest.raises(StoppedError):
        mask_run("stopped", listeners=(stop_at(len(journal(whole)) - 3),), **sections)
    assert contents(mask_run("stopped", **sections)) == contents(whole)


def test_best_masks_are_compared_with_those_that_the_search_began_with(mask_run, monkeypatch):
    """With the candidate asked for first, that is, which need not be in the first line."""
    compared, known = [], MaskSearches._clearly_better

    def spy(searches, best, begun):
        compared.append((best, begun))
        return known(searches, best, begun)

    monkeypatch.setattr(MaskSearches, "_clearly_better", spy)
    lines = journal(mask_run(**ASYNCHRONOUS, execution={"executor": "tests.run.last_first:LastFirstExecutor"}))
    assert lines[0]["ask"] == 1
    assert len(compared) == 2
    for step, (best, begun) in enumerate(compared):
        mine = [line for line in lines if line["step"] == step]
        assert begun.index == next(line["index"] for line in mine if line["ask"] == 0)
        assert best.fitness == max(line["fitness"] for line in mine)


@pytest.mark.slow
def test_run_of_several_workers_keeps_its_journal_and_result_when_it_is_killed_and_replayed(
    tmp_path, small_config, tiny_source
):
    config = small_config(ASYNCHRONOUS, {"ga": {"num_generations": 6}, "execution": {"workers": 2}})
    path, directory = tmp_path / "config.yaml", tmp_path / "run"
    path.write_text(config.to_yaml())
    code = "from evoprune.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(path), "--out", str(directory)],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    lines = directory / "evaluations.jsonl"
    patience = time.monotonic() + PATIENCE_S
    while not lines.exists() or lines.read_bytes().count(b"\n") < 7:
        assert process.poll() is None
        assert time.monotonic() < patience
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = lines.read_bytes().rpartition(b"\n")[0] + b"\n"
    seen = []
    execute(config, tiny_source, directory, (seen.append,))
    assert lines.read_bytes().startswith(before)
    after = journal(directory)
    assert len({line["genome"] for line in after}) == len(after) == 24
    evaluated = [one.index for one in seen if isinstance(one, CandidateEvaluated) and not one.replayed]
    assert evaluated == list(range(before.count(b"\n"), 24))
    # Its order is this machine's, and whoever has the journal gets the same from it.
    first = decided_by_seed(directory)
    make_unfinished(directory)
    again = []
    execute(config, tiny_source, directory, (again.append,))
    assert all(one.replayed for one in again if isinstance(one, CandidateEvaluated))
    assert decided_by_seed(directory) == first
    # With another number of workers, it goes on from any line.
    make_unfinished(directory, lines=9)
    execute(small_config(config.model_dump(), {"execution": {"workers": 1}}), tiny_source, directory)
    assert journal(directory)[:9] == after[:9]
    assert len({line["genome"] for line in journal(directory)}) == 24


@pytest.mark.parametrize("algorithm", ["genetic", "nsga2"])
def test_search_that_learns_from_generations_is_refused(tmp_path, small_config, tiny_source, algorithm):
    config = small_config({"search": {"algorithm": algorithm, "asynchronous": True}})
    with pytest.raises(ConfigError, match=f"{algorithm} learns from whole generations") as caught:
        execute(config, tiny_source, tmp_path / "run")
    assert "steady-state" in caught.value.hint
    assert not (tmp_path / "run").exists()


def test_layers_that_do_not_wait_for_each_other_are_not_made_asynchronous(mask_run, tmp_path):
    with pytest.raises(ConfigError, match="has nothing to do with masks"):
        mask_run(**ASYNCHRONOUS, masks={"mode": "independent"})
    assert not (tmp_path / "run").exists()


def test_preset_whose_generations_are_single_children_is_not_made_asynchronous(mask_run):
    with pytest.raises(ConfigError, match="does not go with search"):
        mask_run(search={"preset": "reference", "encoding": "weight-bits", "asynchronous": True})
