"""What workers on other machines are given: no path of this one."""

import pickle
from dataclasses import replace

import pytest

from evoprune.execution.in_process import InProcessExecutor
from evoprune.run.factories.runs import execute
from evoprune.run.placement import SettledPlacement


class Ferry:
    """An in-process executor that takes jobs across as a cluster does: a portable factory, files along with the job."""

    def __init__(self, factory, workers, notify):
        self._factory = factory
        self._beyond = InProcessExecutor(taken_along(factory), workers=workers, threads=1, notify=notify)
        self.slots = 1

    def submit(self, job):
        files = {name: path.read_bytes() for name, path in self._factory.files(job).items()}
        self._beyond.submit(replace(job, files=files))

    def wait(self):
        return self._beyond.wait()

    def close(self):
        self._beyond.close()


def ferry(placement, factory, notify, *, apart=False):
    del apart
    return Ferry(factory, placement.workers, notify)


def taken_along(factory):
    return pickle.loads(pickle.dumps(factory.portable()))


@pytest.fixture
def across(monkeypatch):
    """A function after which candidates are evaluated beyond the ferry."""

    def switch():
        monkeypatch.setattr(SettledPlacement, "build", ferry)

    return switch


def journal(directory):
    return (directory / "evaluations.jsonl").read_bytes()


def test_channel_run_gives_the_same_when_candidates_are_far_away(small_config, tiny_source, tmp_path, across):
    execute(small_config(), tiny_source, tmp_path / "here")
    across()
    execute(small_config(), tiny_source, tmp_path / "there")
    assert journal(tmp_path / "there") == journal(tmp_path / "here")


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["whole", "independent"])
def test_mask_run_gives_the_same_when_candidates_are_far_away(mask_run, across, mode):
    here = mask_run("here", masks={"mode": mode})
    across()
    assert journal(mask_run("there", masks={"mode": mode})) == journal(here)


@pytest.mark.slow
def test_solutions_to_begin_with_travel_along(mask_run, across):
    first = mask_run("first")
    warm = {"goals": [0.3, 0.6], "mode": "independent", "warm_start": str(first)}
    here = mask_run("here", masks=warm)
    across()
    assert journal(mask_run("there", masks=warm)) == journal(here)
