import json

from evoprune.events import BatchHalved, Caution, Decision, RunEnded, RunStarted, StageEnded, StageStarted
from evoprune.store.event_history import StageTime, read_history
from evoprune.store.event_log import EventLog


def history_of(path, *events):
    with EventLog(path) as log:
        for event in events:
            log(event)
    return read_history(path)


def test_stages_add_up_without_those_within_them(tmp_path):
    history = history_of(
        tmp_path / "events.jsonl",
        StageStarted("analysis"),
        StageStarted("criteria"),
        StageEnded("criteria", 2.0, 1.5),
        StageEnded("analysis", 5.0, 4.0),
        StageStarted("retrain"),
        StageEnded("retrain", 3.0, 2.0),
        StageStarted("retrain"),
        StageEnded("retrain", 4.0, 2.0),
    )
    assert history.stages == (
        StageTime("criteria", 2.0, 1.5, 1),
        StageTime("analysis", 3.0, 2.5, 1),
        StageTime("retrain", 7.0, 4.0, 2),
    )


def test_a_stage_that_was_killed_holds_nothing_of_the_next_process(tmp_path):
    history = history_of(
        tmp_path / "events.jsonl",
        RunStarted("runs/a", 0),
        StageStarted("search"),
        RunStarted("runs/a", 3),
        StageStarted("search"),
        StageEnded("search", 4.0, 3.0),
        RunEnded("runs/a", 9.0, 8.0),
    )
    assert history.stages == (StageTime("search", 4.0, 3.0, 1),)
    assert (history.starts, history.wall_s, history.cpu_s) == (2, 9.0, 8.0)


def test_troubles_and_decisions_are_told_once(tmp_path):
    caution, halved, decision = Caution("metric", "says little"), BatchHalved("retrain", 8), Decision("layout", "plain")
    history = history_of(tmp_path / "events.jsonl", caution, caution, halved, decision, decision)
    assert [one.text for one in history.troubles] == [
        "metric: says little",
        "retrain: out of memory, went on with 8 samples per pass",
    ]
    assert history.decisions == ("layout: plain",)


def test_damaged_lines_say_nothing(tmp_path):
    path = tmp_path / "events.jsonl"
    lines = [
        {"event": "StageEnded", "stage": "data", "wall_s": "long", "cpu_s": 1},
        {"event": "GenerationEnded", "generation": "first"},
        {"event": "GenerationEnded", "generation": 2, "hypervolume": None, "noise": 0.5},
        {"event": "CandidateEvaluated", "cost": {"wall_s": 2.5}, "replayed": False},
        {"event": "CandidateEvaluated", "cost": {"wall_s": 9.5}, "replayed": True},
        {"event": "CandidateEvaluated", "cost": 3, "replayed": False},
        ["no object"],
        {"event": [], "what": 1},
    ]
    path.write_text("\n".join(map(json.dumps, lines)) + '\n{"event": "StageEn')
    history = read_history(path)
    assert (history.stages, history.troubles, history.candidate_s) == ((), (), (2.5,))
    assert {number: one.noise for number, one in history.generations.items()} == {2: 0.5}


def test_history_is_empty_without_the_file(tmp_path):
    assert read_history(tmp_path / "events.jsonl").starts == 0
