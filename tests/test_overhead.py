"""The benchmark of the engine's overhead measures whole searches, and a search takes no time to speak of."""

import sys
from argparse import Namespace
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks/scaling"


@pytest.fixture
def overhead(monkeypatch, tmp_path):
    """The benchmark's module, writing to a folder of the test's."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as the module does where it isn't set
    yield __import__("overhead")
    sys.modules.pop("overhead")


def test_overhead_is_measured_per_candidate_and_leaves_nothing_behind(overhead, tmp_path):
    figures = overhead.measure("in-process:1", Namespace(repeats=2, generations=2, population=5))
    assert 0 < figures["wall"] <= figures["wall_worst"] < 1000
    assert list(tmp_path.iterdir()) == []


def test_executors_have_goals_and_are_measured_by_name(overhead):
    assert {name.partition(":")[0] for name in overhead.everything()} >= overhead.GOALS_MS.keys()
