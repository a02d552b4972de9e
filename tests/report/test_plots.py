import json

import pytest
from matplotlib.image import imread

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.report.canvas import save_figure
from evoprune.report.plots import by_generation, evolution_figure, front_figure
from evoprune.report.writer import FIGURES, ensure_report, write_report

EVOLUTION, FRONT = FIGURES

MODEL = {"accuracy": 0.9, "macs": 2_000_000, "params": 10}
DENSE_ACCURACY = 0.95


def line(index, generation, status="ok"):
    scored = {"objectives": {"accuracy": 0.5 + index / 50, "macs": 1e6 - 1e4 * index}, "fitness": index / 20}
    return {
        "index": index,
        "genome": str(index),
        "generation": generation,
        "status": status,
        **(scored if status == "ok" else {"objectives": {}}),
    }


def comparison(evaluations):
    front = [
        {"index": one["index"], "select_accuracy": one["objectives"]["accuracy"], "macs": one["objectives"]["macs"]}
        for one in evaluations
        if one["status"] == "ok"
    ]
    return {"baseline": MODEL, "pruned": {**MODEL, "macs": 500_000, "genome": "1"}, "front": front}


JOURNALS = {
    "normal": [line(index, index // 4, "failed" if index % 5 == 4 else "ok") for index in range(12)],
    "one generation": [line(index, 0) for index in range(4)],
    "one candidate": [line(0, 0)],
    "all infeasible": [line(index, index // 2, "infeasible") for index in range(4)],
    "a generation failed": [line(0, 0), line(1, 1, "failed"), line(2, 2)],
    "empty": [],
}


def inked(path):
    """Share of the picture that is not background."""
    return float((imread(path)[..., :3].min(axis=2) < 0.9).mean())


@pytest.mark.parametrize("journal", JOURNALS.values(), ids=JOURNALS.keys())
def test_figures_are_pictures_of_a_readable_size(tmp_path, journal):
    save_figure(evolution_figure(journal), tmp_path / EVOLUTION)
    save_figure(front_figure(journal, comparison(journal), DENSE_ACCURACY), tmp_path / FRONT)
    for name in (EVOLUTION, FRONT):
        height, width, _ = imread(tmp_path / name).shape
        assert (width, height) == (1200, 720)
        assert 0.005 < inked(tmp_path / name) < 0.5
    assert {path.name for path in tmp_path.iterdir()} == {EVOLUTION, FRONT}


def test_figures_are_the_same_when_drawn_again(tmp_path):
    for name in ("one.png", "two.png"):
        save_figure(evolution_figure(JOURNALS["normal"]), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_by_generation_leaves_out_what_was_not_scored():
    generations = by_generation(JOURNALS["normal"])
    assert [(one.number, len(one.fitness)) for one in generations] == [(0, 4), (1, 3), (2, 3)]
    assert by_generation(JOURNALS["a generation failed"])[1].fitness == []


@pytest.fixture
def run(tmp_path):
    journal = JOURNALS["normal"]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in journal) + '{"torn')
    (tmp_path / "comparison.json").write_text(json.dumps(comparison(journal)))
    (tmp_path / "manifest.json").write_text(json.dumps({"dense": {"accuracy": DENSE_ACCURACY}}))
    return tmp_path


def test_report_is_drawn_from_the_files_when_the_last_line_is_torn(run):
    write_report(run)
    assert {path.name for path in run.glob("*.png")} == {EVOLUTION, FRONT}


def test_report_is_drawn_again_only_where_a_figure_is_missing(run):
    ensure_report(run)
    drawn = {path.name: path.stat().st_mtime_ns for path in run.glob("*.png")}
    ensure_report(run)
    assert {path.name: path.stat().st_mtime_ns for path in run.glob("*.png")} == drawn
    (run / FRONT).unlink()
    ensure_report(run)
    assert (run / FRONT).is_file()


def test_report_refuses_what_is_no_finished_run(run):
    (run / "evaluations.jsonl").write_text("{\n")
    with pytest.raises(StoreCorruptedError, match="evaluations"):
        write_report(run)
    (run / "comparison.json").unlink()
    with pytest.raises(UsageError, match="no finished run"):
        write_report(run)
