"""`--dry-run` says what the run does, and does nothing."""

import json

import pytest

from evoprune.cli.planned_work import duration
from tests.cli.conftest import TINY, settings

LENET = ["--set", "masks.goals=[0.5]", "--set", "search.encoding=keep-ratios", "--set", "masks.between_epochs=0"]


def planned(evoprune, folder, *arguments):
    done = evoprune("run", TINY, "--out", folder / "run", "--workers", 1, "--dry-run", "--json", *arguments)
    assert done.code == 0, done.err
    assert not (folder / "run").exists()
    return json.loads(done.out)


def test_plan_counts_what_the_run_has(evoprune, tmp_path):
    plan = planned(evoprune, tmp_path, *settings(), "--constraint", "macs<=0.5")
    assert plan["candidates"] == sum(one["candidates"] for one in plan["generations"])
    assert plan["samples"] == {"train": 512, "val": 64, "test": 128}
    assert (plan["parameters"], plan["macs"]) == (956, 23_168)
    assert plan["trainings"] == {"baseline": 1, "retraining": 1, "retraining of the best criterion's network": 1}
    assert set(plan["seconds"]) == {*plan["trainings"], "search"}
    assert plan["total_seconds"] > 0


@pytest.mark.slow
def test_plan_has_the_candidates_that_the_run_then_evaluates(evoprune, tmp_path):
    arguments = [*settings(), "--constraint", "macs<=0.5"]
    plan = planned(evoprune, tmp_path, *arguments)
    assert evoprune("run", TINY, "--out", tmp_path / "run", "--workers", 1, *arguments).code == 0
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").read_text().splitlines()]
    (said,) = [one for one in events if one["event"] == "WorkPlanned"]
    assert (plan["candidates"], len(plan["generations"])) == (said["candidates"], said["generations"])
    assert len((tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()) == plan["candidates"]


def test_plan_ends_where_the_run_is_to_end(evoprune, tmp_path):
    assert planned(evoprune, tmp_path, *settings("run.max_candidates=5"))["candidates"] == 5


def test_plan_of_masks_has_their_weights(evoprune, tmp_path):
    plan = planned(evoprune, tmp_path, *settings(), *LENET)
    assert plan["choice"] == "920 weights in 3 layers"
    assert plan["candidates"] == 8


def test_plan_is_shown_as_a_table(evoprune, tmp_path):
    done = evoprune("run", TINY, "--out", tmp_path / "run", "--workers", 1, "--dry-run", *settings())
    assert "plan of work" in done.out
    assert "nothing was written" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--constraint", "macs<=0.0001"], "no choice of widths keeps"),
        (["--layer", "con1"], "there is no layer 'con1'"),
        (["--set", "search.algorithm=genetik"], "'genetik' is not one of the searches"),
    ],
)
def test_plan_of_a_run_that_would_be_refused_is_refused(evoprune, tmp_path, arguments, message):
    done = evoprune("run", TINY, "--out", tmp_path / "run", "--workers", 1, "--dry-run", *settings(), *arguments)
    assert (done.code, message in done.err) == (2, True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "under a second"), (42.4, "42 s"), (450, "7 min 30 s"), (12_000, "3 h 20 min")],
)
def test_durations_are_written_for_people(seconds, text):
    assert duration(seconds) == text
