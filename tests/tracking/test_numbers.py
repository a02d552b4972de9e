import json
from math import nan

import pytest

from evoprune.events import CandidateEvaluated, EpochEnded, GenerationEnded, RunEnded, TaskOpened, TrainingProgress
from evoprune.results import Evaluation, Status
from evoprune.tracking.numbers import Reader, figures, files, settings


@pytest.fixture
def reader():
    reader = Reader()
    reader.numbers(TaskOpened("mean IoU", "%", True, ("loss",)))
    return reader


def candidate(values, fitness):
    return CandidateEvaluated(7, 1, Evaluation("g", 0, Status.OK, values), fitness, None, replayed=False)


def test_numbers_of_events_have_their_own_steps_and_the_metric_its_own_name(reader):
    found = reader.numbers(TrainingProgress("retrain", 2, 4, 3, 10, 0.5))
    assert (found.step, found.values) == (23, {"retrain/loss": 0.5})
    found = reader.numbers(EpochEnded("baseline", 1, 4, 0.25, 0.75))
    assert (found.step, found.values) == (1, {"baseline/epoch_loss": 0.25, "baseline/select_mean_iou": 0.75})
    found = reader.numbers(candidate({"accuracy": 0.5, "latency_ms@batch=4": 2.0}, 0.1))
    assert found.values == {
        "candidates/mean_iou": 0.5,
        "candidates/latency_ms_at_batch=4": 2.0,
        "candidates/fitness": 0.1,
    }


def test_what_is_not_there_or_not_finite_is_left_out(reader):
    assert reader.numbers(candidate({}, None)) is None
    found = reader.numbers(GenerationEnded(3, 0.5, nan, {"loss": 0.25}, hypervolume=None))
    assert (found.step, found.values) == (3, {"search/best_fitness": 0.5, "search/best_loss": 0.25})
    assert reader.numbers(RunEnded("x", 1.0, 1.0)) is None


def test_settings_are_flat_and_figures_are_those_of_the_comparison(tmp_path):
    (tmp_path / "config.yaml").write_text("recipe: null\nga: {pop_size: 4}\nsearch: {constraints: [macs<=0.5]}\n")
    assert settings(tmp_path) == {"recipe": "null", "ga.pop_size": "4", "search.constraints": "['macs<=0.5']"}
    models = {"baseline": {"macs": 10, "genome": None}, "pruned": {"macs": 5, "accuracy": 0.5, "genome": "a"}}
    (tmp_path / "comparison.json").write_text(json.dumps({**models, "front": []}))
    assert figures(tmp_path) == {"baseline/macs": 10.0, "pruned/macs": 5.0, "pruned/accuracy": 0.5}
    assert [path.name for path in files(tmp_path)] == ["comparison.json", "config.yaml"]


def test_directory_without_files_has_neither(tmp_path):
    assert (settings(tmp_path), figures(tmp_path), files(tmp_path)) == ({}, {}, [])
