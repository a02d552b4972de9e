import json

import pytest
from matplotlib.image import imread

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.report.canvas import save_figure
from evoprune.report.front_plots import front_figure
from evoprune.report.generations import by_generation, rank_correlations
from evoprune.report.plots import evolution_figure
from evoprune.report.writer import FIGURES, draw_figures, ensure_report, write_report
from evoprune.store.comparison import Comparison
from evoprune.store.event_log import read_hypervolumes
from tests.report.mask_runs import entries_of

EVOLUTION, FRONT = FIGURES

MODEL = {"accuracy": 0.9, "macs": 2_000_000, "params": 10}
DENSE = {"accuracy": 0.95}


def line(index, generation, status="ok"):
    scored = {"objectives": {"accuracy": 0.5 + index / 50, "macs": 1e6 - 1e4 * index}, "fitness": index / 20}
    return {
        "index": index,
        "rung": 0,
        "genome": str(index),
        "generation": generation,
        "status": status,
        **(scored if status == "ok" else {"objectives": {}}),
    }


def document(evaluations, **more):
    front = [
        {"index": one["index"], "genome": one["genome"], "select_accuracy": one["objectives"]["accuracy"]}
        | {"macs": one["objectives"]["macs"]}
        for one in evaluations
        if one["status"] == "ok"
    ]
    return {"baseline": MODEL, "pruned": {**MODEL, "macs": 500_000, "genome": "1"}, "front": front, **more}


def comparison(evaluations, **more):
    return Comparison.from_json(document(evaluations, **more))


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


@pytest.mark.slow
@pytest.mark.parametrize("journal", JOURNALS.values(), ids=JOURNALS.keys())
def test_figures_are_pictures_of_a_readable_size(tmp_path, journal):
    save_figure(evolution_figure(entries_of(journal)), tmp_path / EVOLUTION)
    save_figure(front_figure(entries_of(journal), comparison(journal), DENSE), tmp_path / FRONT)
    for name in (EVOLUTION, FRONT):
        height, width, _ = imread(tmp_path / name).shape
        assert (width, height) == (1200, 720)
        assert 0.005 < inked(tmp_path / name) < 0.5
    assert {path.name for path in tmp_path.iterdir()} == {EVOLUTION, FRONT}


@pytest.mark.slow
def test_figures_are_the_same_when_drawn_again(tmp_path):
    for name in ("one.png", "two.png"):
        save_figure(evolution_figure(entries_of(JOURNALS["normal"])), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_by_generation_leaves_out_what_was_not_scored():
    generations = by_generation(entries_of(JOURNALS["normal"]))
    assert [(one.number, len(one.fitness)) for one in generations] == [(0, 4), (1, 3), (2, 3)]
    assert by_generation(entries_of(JOURNALS["a generation failed"]))[1].fitness == []


@pytest.fixture
def run(tmp_path):
    journal = JOURNALS["normal"]
    (tmp_path / "evaluations.jsonl").write_text("".join(json.dumps(one) + "\n" for one in journal) + '{"torn')
    (tmp_path / "comparison.json").write_text(json.dumps(document(journal)))
    (tmp_path / "manifest.json").write_text(json.dumps({"format": 1, "identity": {}, "dense": DENSE}))
    return tmp_path


def test_report_is_drawn_from_the_files_when_the_last_line_is_torn(run):
    write_report(run)
    assert {path.name for path in run.glob("*.png")} == {EVOLUTION, FRONT}


@pytest.mark.slow
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


def test_ranks_of_a_generation_are_compared_with_the_latest_scores_before():
    def scored(generation, **fitness):
        return [{"generation": generation, "genome": genome, "fitness": value} for genome, value in fitness.items()]

    rows = [
        *scored(0, a=1, b=2, c=3, d=4),
        *scored(1, a=4, b=3, c=2, d=1, e=9),
        *scored(2, a=4, b=3, c=1, d=2, f=9),
        *scored(3, a=1),
    ]
    entries = entries_of([line(index, row["generation"]) | row for index, row in enumerate(rows)])
    assert rank_correlations(entries) == {1: pytest.approx(-1), 2: pytest.approx(0.8)}
    labels = [tick.get_text() for tick in drawn_axes(evolution_figure(entries)).get_xticklabels()]
    assert "1\n$\\rho$ -1.00" in labels
    assert "0" in labels


def drawn_axes(figure):
    figure.canvas.draw()
    return figure.axes[0]


def test_hypervolume_is_drawn_below_the_fitness_of_a_search_for_a_front(tmp_path):
    figure = evolution_figure(entries_of(JOURNALS["normal"]), hypervolumes={0: 0.5, 1: 0.7, 2: 0.75})
    fitness, volume = figure.axes
    assert list(volume.lines[0].get_xdata()) == [0, 1, 2]
    assert list(volume.lines[0].get_ydata()) == [0.5, 0.7, 0.75]
    assert (fitness.get_xlabel(), volume.get_xlabel()[:10]) == ("", "generation")
    save_figure(figure, tmp_path / EVOLUTION)
    assert imread(tmp_path / EVOLUTION).shape[:2] == (990, 1200)


def test_report_takes_the_hypervolumes_of_the_events_where_there_is_a_front_to_choose_from(run):
    events = [{"event": "GenerationEnded", "generation": number % 3, "hypervolume": number / 10} for number in range(6)]
    lines = [json.dumps(one) for one in [{"event": "StageEnded"}, {"event": "GenerationEnded"}, *events]]
    (run / "events.jsonl").write_text("\n".join([*lines, '{"event": "Generat']))
    assert read_hypervolumes(run / "events.jsonl") == {0: 0.3, 1: 0.4, 2: 0.5}
    assert read_hypervolumes(run / "none.jsonl") == {}
    assert len(draw_figures(run)[EVOLUTION].axes) == 1
    journal = JOURNALS["normal"]
    wide = document(journal, objectives=["accuracy", "macs"])
    wide["front"][0]["macs"] = 1e5
    (run / "comparison.json").write_text(json.dumps(wide))
    assert len(draw_figures(run)[EVOLUTION].axes) == 2
