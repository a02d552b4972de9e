"""A small run with a tracker, and what it came to."""

import json

import pytest

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe

SMALL = {
    "ga": {"pop_size": 4, "num_generations": 2},
    "training": {"epochs": 1, "retrain_epochs": 1, "finetune_steps": 2, "batch_size": 64},
    "execution": {"training_threads": 1, "isolation": "none"},
}


@pytest.fixture
def tracked(tmp_path, monkeypatch):
    """Run with a listener; gives the comparison, and the lines of the journal."""
    monkeypatch.setenv("EVOPRUNE_CACHE", str(tmp_path / "cache"))

    def run(listener):
        ep.evolve(
            *tiny_recipe(),
            config=SMALL,
            constraints="macs<=0.5",
            out=tmp_path / "run",
            listeners=[listener],
            progress=False,
        )
        comparison = json.loads((tmp_path / "run" / "comparison.json").read_text())
        journal = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
        return comparison, journal

    return run
