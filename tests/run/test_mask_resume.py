import json
import os
import signal
import subprocess
import sys
import time

import pytest
from torch import nn

from evoprune.errors import ReplayMismatchError, RunError, StoreCorruptedError
from evoprune.rng import isolated_rng
from evoprune.store.journal import MAX_INLINE_BYTES
from evoprune.store.states import StateFolder
from tests.run.mask_directories import comparison, contents, events, journal, live, masks, steps

MODES = ("whole", "layers", "independent")


class Stopped(BaseException):
    """Ends a run as a signal would: nothing catches it."""


class Stop:
    """A listener that ends the run at its n-th event."""

    def __init__(self, at):
        self.left = at

    def __call__(self, event):
        self.left -= 1
        if self.left == 0:
            raise Stopped


def count_events(directory):
    return len((directory / "events.jsonl").read_text().splitlines())


def mark_running(directory):
    """Undo the last word of a finished run, so that it is resumed."""
    path = directory / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "status": "running"}))


def check_stops(mask_run, moments, **sections):
    whole = mask_run("whole", **sections)
    last = count_events(whole)
    for moment in moments(last):
        name = f"stopped-{moment}"
        with pytest.raises(Stopped):
            mask_run(name, listeners=(Stop(moment),), **sections)
        resumed = mask_run(name, **sections)
        assert contents(resumed) == contents(whole), f"stopped at event {moment} of {last}"
        assert comparison(resumed) == comparison(whole)
        evaluated = [line["index"] for line in events(resumed, "CandidateEvaluated") if not line["replayed"]]
        # Of a candidate whose line is written, but whose event was the last, nothing is in the log twice.
        assert len(set(evaluated)) >= len(evaluated) - 1


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_resume_gives_the_same_when_a_run_was_stopped_half_way(mask_run, mode):
    check_stops(mask_run, lambda last: [last // 3, 2 * last // 3], masks={"mode": mode, "goals": [0.4, 0.6]})


@pytest.mark.slow
@pytest.mark.parametrize("mode", MODES)
def test_resume_gives_the_same_wherever_a_run_was_stopped(mask_run, mode):
    check_stops(
        mask_run,
        lambda last: range(2, last, 2),
        masks={"mode": mode, "goals": [0.4, 0.6], "polish_generations": 1},
        search={"encoding": "keep-ratios"},
    )


@pytest.mark.slow
def test_resume_gives_the_same_when_a_run_was_stopped_after_a_step_that_was_not_taken(mask_run):
    sections = {
        "masks": {"goals": [0.1, 0.97], "max_accuracy_drop": 0.2, "retrain_epochs": 0},
        "training": {"epochs": 3},
    }
    check_stops(mask_run, lambda last: [last - 5], **sections)
    whole = mask_run("whole", **sections)
    assert [step["taken"] for step in steps(whole)] == [True, False]


def test_resume_says_again_that_the_first_step_costs_too_much(mask_run):
    sections = {"masks": {"goals": [0.97], "max_accuracy_drop": 0.1, "retrain_epochs": 0}, "training": {"epochs": 3}}
    messages = []
    for _ in range(2):
        with pytest.raises(RunError, match="the first step already costs too much: accuracy on select has") as caught:
            mask_run(**sections)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_resume_gives_the_same_when_a_run_was_stopped_again_and_again(mask_run):
    whole = mask_run("whole")
    for moment in range(6, 60, 9):
        try:
            mask_run("stopped", listeners=(Stop(moment),))
        except Stopped:
            continue
        break
    assert contents(mask_run("stopped")) == contents(whole)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "workers"), [("whole", 1), ("layers", 2), ("independent", 2)])
@pytest.mark.parametrize("moment", ["search", "retraining", "between"])
def test_resume_gives_the_same_when_a_run_was_killed(mask_run, tmp_path, mask_config, mode, workers, moment):
    sections = {
        "masks": {"mode": mode, "goals": [0.3, 0.5, 0.6], "retrain_epochs": 30},
        "ga": {"num_generations": 8},
        "execution": {"workers": workers},
    }
    config = tmp_path / "killed.yaml"
    config.write_text(mask_config(sections).to_yaml())
    code = "from evoprune.cli.app import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", str(config), "--out", tmp_path / "killed"],
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    wait_for(process, tmp_path / "killed", moment)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert json.loads((tmp_path / "killed" / "manifest.json").read_text()).get("status") != "done"
    killed, whole = mask_run("killed", **sections), mask_run("whole", **sections)
    assert contents(killed) == contents(whole)
    assert comparison(killed) == comparison(whole)


def wait_for(process, directory, moment):
    """Return in the second step's search, in a retraining after the first, or when a step's record has just appeared."""
    seen = {
        "search": lambda: any('"step":1' in line for line in text(directory / "evaluations.jsonl")),
        "retraining": lambda: (
            sum('"EpochEnded"' in line and "retrain" in line for line in text(directory / "events.jsonl")) >= 33
        ),
        "between": (directory / "steps.json").exists,
    }[moment]
    patience = time.monotonic() + 90
    while not seen():
        assert process.poll() is None, "the run ended before it could be stopped"
        assert time.monotonic() < patience, f"{moment} was not reached"
        time.sleep(0.002)


def text(path):
    return path.read_text().splitlines() if path.exists() else []


@pytest.mark.slow
def test_resume_gives_the_same_when_the_last_line_of_the_journal_is_torn(mask_run):
    whole = mask_run("whole")
    with pytest.raises(Stopped):
        mask_run("torn", listeners=(Stop(18),))
    path = whole.parent / "torn" / "evaluations.jsonl"
    assert path.read_bytes().count(b"\n") > 1
    path.write_bytes(path.read_bytes()[:-10])
    assert contents(mask_run("torn")) == contents(whole)


@pytest.fixture
def half_run(mask_run, tmp_path):
    """A directory, named half, of a run that has one step behind it and candidates of the next."""
    stop = StopInStep(1)
    with pytest.raises(Stopped):
        mask_run("half", listeners=(stop,))
    assert len(steps(tmp_path / "half")) == 1
    return tmp_path / "half"


class StopInStep:
    """Ends the run at the second candidate of a step."""

    def __init__(self, step, *, generations=2):
        self.left = 2 + step * 4 * generations

    def __call__(self, event):
        self.left -= type(event).__name__ == "CandidateEvaluated"
        if self.left == 0:
            raise Stopped


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_resume_refuses_a_damaged_state_after_a_step(mask_run, half_run, damage):
    path = StateFolder(half_run).path(steps(half_run)[0]["state"])
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    with pytest.raises(StoreCorruptedError, match=r"the state .*\.safetensors"):
        mask_run("half")
    path.write_bytes(content)
    assert contents(mask_run("half")) == contents(mask_run("whole"))


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_resume_makes_the_state_that_a_search_began_with_again(mask_run, half_run, damage):
    after = steps(half_run)[0]["state"]
    (path,) = [one for one in (half_run / "states").glob("*.safetensors") if one.stem != after]
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    assert contents(mask_run("half")) == contents(mask_run("whole"))


def test_resume_refuses_a_journal_that_lacks_lines_of_a_finished_step(mask_run, half_run):
    path = half_run / "evaluations.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:3]))
    with pytest.raises(StoreCorruptedError, match="the journal has 3 lines, steps that are over took 8"):
        mask_run("half")


@pytest.mark.parametrize("content", ["{", "[]", '{"steps": [{"step": 0}]}', '{"steps": 3}'])
def test_resume_refuses_damaged_step_records(mask_run, half_run, content):
    (half_run / "steps.json").write_text(content)
    with pytest.raises(StoreCorruptedError, match=r"steps\.json"):
        mask_run("half")


def test_resume_refuses_a_journal_of_other_genomes(mask_run, half_run):
    path = half_run / "evaluations.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[-1] |= {key: lines[0][key] for key in ("genome", "bits", "length")}
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(ReplayMismatchError, match=f"evaluation {len(lines) - 1} of the journal is of genome"):
        mask_run("half")


def test_resume_refuses_a_journal_of_another_layer(mask_run, tmp_path):
    with pytest.raises(Stopped):
        mask_run("half", listeners=(StopInStep(0),), masks={"mode": "independent"})
    path = tmp_path / "half" / "evaluations.jsonl"
    path.write_text(path.read_text().replace('"layer":"conv1"', '"layer":"conv2"'))
    with pytest.raises(ReplayMismatchError, match="is of layer conv2, conv1 comes next"):
        mask_run("half", masks={"mode": "independent"})


@pytest.mark.slow
def test_resume_repeats_the_end_of_a_time_budget(mask_run):
    sections = {"run": {"time_budget": 0.001}, "ga": {"num_generations": 50}}
    whole = mask_run("whole", **sections)
    with pytest.raises(Stopped):
        mask_run("stopped", listeners=(Stop(count_events(whole) - 4),), **sections)
    assert contents(mask_run("stopped", **sections)) == contents(whole)


@pytest.mark.slow
def test_resume_refuses_other_masks_to_begin_with(mask_run):
    other, another = (mask_run(f"other-{goal}", masks={"goals": [goal]}) for goal in (0.3, 0.5))
    sections = {"masks": {"warm_start": str(other)}}
    with pytest.raises(Stopped):
        mask_run("run", listeners=(Stop(15),), **sections)
    for path in (another / "solutions").iterdir():
        (other / "solutions" / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ReplayMismatchError, match="was begun with another warm_start"):
        mask_run("run", **sections)


class Wide(nn.Module):
    """A layer of more than half a million weights, whose genome is larger than a journal line holds."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(192, 3000)
        self.last = nn.Linear(3000, 4)

    def forward(self, images):
        return self.last(self.first(images.flatten(1)).relu())


def wide():
    with isolated_rng(0):
        return live(model=Wide())


@pytest.mark.slow
def test_resume_reads_genomes_that_are_too_large_for_the_journal(mask_run, tmp_path):
    sections = {
        "masks": {"mode": "independent", "goals": [0.5], "criteria": ["magnitude"]},
        "ga": {"num_generations": 1},
        "training": {"epochs": 0},
    }
    whole = mask_run("whole", source=wide(), **sections)
    first, last = journal(whole)
    assert 192 * 3000 > 8 * MAX_INLINE_BYTES > 0
    assert ("bits" in first, "bits" in last) == (False, True)
    assert [path.stem for path in (whole / "states").glob("*.bits")] == [first["genome"]]
    with pytest.raises(Stopped):
        mask_run("stopped", listeners=(Stop(count_events(whole) - 8),), source=wide(), **sections)
    directory = tmp_path / "stopped"
    assert len(journal(directory)) >= 1
    StateFolder(directory).genome_path(first["genome"]).write_bytes(b"damaged")
    (directory / "steps.json").unlink(missing_ok=True)
    with pytest.raises(StoreCorruptedError, match=rf"the genome .*{first['genome']}\.bits"):
        mask_run("stopped", source=wide(), **sections)
    content = StateFolder(whole).genome_path(first["genome"]).read_bytes()
    StateFolder(directory).genome_path(first["genome"]).write_bytes(content)
    assert contents(mask_run("stopped", source=wide(), **sections)) == contents(whole)


class Deadly(nn.Module):
    """Kills the process that scores it, while a file is there to be removed first, or always."""

    def __init__(self, path, always):
        super().__init__()
        self.bomb, self.always, self.parent = path, always, os.getpid()
        self.fc = nn.Linear(192, 4)

    def forward(self, images):
        if os.getpid() != self.parent and (self.always or self.bomb.exists()):
            self.bomb.unlink(missing_ok=True)
            os.kill(os.getpid(), signal.SIGKILL)
        return self.fc(images.flatten(1))


INDEPENDENT = {
    "masks": {"mode": "independent", "goals": [0.5], "criteria": ["magnitude"]},
    "training": {"epochs": 0},
    "execution": {"workers": 2, "executor": "process-pool"},
    "ga": {"num_generations": 1},
}


@pytest.mark.slow
def test_layer_whose_worker_is_killed_is_searched_again(mask_run, tmp_path, seeded_torch):
    bomb = tmp_path / "bomb"
    bomb.touch()
    directory = mask_run(source=live(model=Deadly(bomb, always=False)), **INDEPENDENT)
    assert [line["retried"] for line in events(directory, "WorkerDied")] == [True]
    assert masks(directory)["fc.weight"].sum() == 384


@pytest.mark.slow
def test_run_says_which_layer_kills_its_workers(mask_run, tmp_path, seeded_torch):
    with pytest.raises(RunError, match="the search of layer fc failed: killed its worker 2 times") as caught:
        mask_run(source=live(model=Deadly(tmp_path / "bomb", always=True)), **INDEPENDENT)
    assert "resume" in caught.value.hint
