"""What a program reads: JSON alone on standard output."""

import json

import pytest

from tests.cli.conftest import TINY, settings


def test_recipes_are_written_as_json(evoprune):
    assert json.loads(evoprune("recipes", "--json").out)["mnist-cnn"].startswith("evoprune.recipes")


@pytest.mark.slow
def test_run_writes_its_comparison_and_tells_the_rest_on_standard_error(evoprune, tmp_path):
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "run", "--json", "--verbose", *settings())
    document = json.loads(done.out)
    assert document["directory"] == str(tmp_path / "run")
    assert document["comparison"] == json.loads((tmp_path / "run" / "comparison.json").read_text())
    assert "candidate 0: fitness" in done.err


@pytest.mark.slow
def test_run_is_quiet_but_for_cautions_and_the_table(evoprune, tmp_path):
    done = evoprune("run", TINY, "--workers", 1, "--out", tmp_path / "run", "-q", *settings())
    assert "generation 0" not in done.out
    assert "baseline against pruned" in done.out


@pytest.mark.slow
def test_front_and_comparison_of_runs_are_written_as_json(evoprune, finished):
    known = json.loads((finished / "comparison.json").read_text())
    assert json.loads(evoprune("front", finished, "--json").out)["front"] == known["front"]
    found = json.loads(evoprune("compare", finished, "--json").out)
    assert found["runs"][str(finished)]["pruned"] == known["pruned"]
    assert "gain" in found
