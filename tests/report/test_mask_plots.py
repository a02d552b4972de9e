"""Figures of mask runs: pictures with something on them, whatever the run; how they look was judged by eye."""

import pytest
from matplotlib.image import imread

from evoprune.report.canvas import save_figure
from evoprune.report.course_plots import MOST_PANELS, course_panels_figure, step_fitness_figure
from evoprune.report.mask_plots import layer_sparsity_figure, sparsity_accuracy_figure
from evoprune.report.writer import MASK_FIGURES, draw_figures, ensure_report
from evoprune.results import MetricCard
from tests.report.mask_runs import RESNET20, MaskRun

RUNS = {
    "whole": lambda: MaskRun(goals=(0.8, 0.9), generations=3, candidates=3, polish=2),
    "layers in passes": lambda: MaskRun(mode="layers", goals=(0.5, 0.9), generations=2, candidates=2),
    "independent": lambda: MaskRun(mode="independent", goals=(0.9,), generations=3),
    "one candidate": lambda: MaskRun({"fc": 40}, goals=(None,), generations=1, candidates=1),
    "nothing scored": lambda: MaskRun(generations=0),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("make", RUNS.values(), ids=RUNS.keys())
def test_figures_of_a_mask_run_are_pictures(tmp_path, make):
    ensure_report(make().write(tmp_path))
    assert {path.name for path in tmp_path.glob("*.png")} == set(MASK_FIGURES)
    for name in MASK_FIGURES:
        picture = imread(tmp_path / name)
        assert 0.001 < float((picture[..., :3].min(axis=2) < 0.9).mean()) < 0.6


def texts(figure):
    figure.canvas.draw()
    return [text.get_text() for axes in figure.axes for text in [axes.title, *axes.texts]]


def test_layer_figure_annotates_sparsity_and_weights():
    run = MaskRun({"conv1": 150, "fc1": 48_000}, goals=(0.9,), mode="layers", generations=1)
    written = texts(layer_sparsity_figure(run.comparison()))
    assert {"90.0 %", "15 of 150", "4,800 of 48,000"} <= set(written)


@pytest.mark.slow
@pytest.mark.parametrize("run", [MaskRun(RESNET20, mode="layers", goals=(0.5, 0.9)), MaskRun(RESNET20)])
def test_no_names_of_layers_run_into_each_other(run):
    figure = layer_sparsity_figure(run.comparison())
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    (axes,) = figure.axes
    boxes = [text.get_window_extent(renderer) for text in [*axes.get_yticklabels(), *axes.texts, axes.title]]
    overlaps = [(one, other) for at, one in enumerate(boxes) for other in boxes[:at] if one.overlaps(other)]
    assert overlaps == []
    assert all(figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1 for box in boxes)


def test_accuracy_figure_counts_layers_and_names_passes():
    run = MaskRun({"one": 10, "two": 20}, mode="layers", goals=(0.5, 0.75), generations=1)
    figure = sparsity_accuracy_figure(run.comparison())
    assert {"pass 1: 50 %", "pass 2: 75 %"} <= set(texts(figure))
    names = [label.get_text() for label in figure.axes[0].get_xticklabels()]
    assert names == ["dense", "1 one", "2 two", "3 one", "4 two"]


def test_accuracy_figure_has_the_goals_where_all_layers_are_pruned_together():
    run = MaskRun(goals=(0.5, 0.75), generations=1)
    steps = run.document()["steps"]
    del steps[0]["accuracy"]
    figure = sparsity_accuracy_figure(run.comparison(steps=steps))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["dense", "50 %", "75 %"]
    assert len(figure.axes[1].lines[1].get_xdata()) == 2


def test_panels_show_the_loss_where_the_sparsity_is_given():
    run = MaskRun(goals=(0.8,), generations=2)
    (key,) = course_panels_figure(run.entries, run.records).legends
    assert "loss (right)" in [text.get_text() for text in key.get_texts()]


def test_panels_number_generations_and_not_the_gaps_between_passes():
    run = MaskRun({"one": 10, "two": 20}, mode="layers", goals=(0.5, 0.6, 0.7), generations=4, candidates=1)
    axes = course_panels_figure(run.entries, run.records).axes[0]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 4]
    numbered = {label.get_text(): at for label, at in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert {name: numbered[name] for name in ("3", "7", "11")} == {
        name: line.get_xdata()[-1] for name, line in zip(("3", "7", "11"), lines, strict=True)
    }


@pytest.mark.slow
def test_panels_are_capped_with_a_note():
    layers = {f"layer{number}": 10 for number in range(MOST_PANELS + 3)}
    run = MaskRun(layers, mode="layers", goals=(0.5,), generations=1, candidates=1)
    figure = course_panels_figure(run.entries, run.records)
    assert figure.get_suptitle().endswith(f"(the first {MOST_PANELS} of {MOST_PANELS + 3})")
    assert len(figure.axes) == 2 * MOST_PANELS


def test_fitness_figure_counts_candidates_and_steps():
    run = MaskRun(goals=(0.8, 0.9), generations=2, candidates=3)
    assert step_fitness_figure(run.entries, run.records).get_suptitle() == "Fitness over 2 steps, 12 candidates"


@pytest.mark.slow
def test_figures_are_the_same_when_drawn_again(tmp_path):
    run = RUNS["whole"]().write(tmp_path / "run")
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        for name, figure in draw_figures(run).items():
            save_figure(figure, tmp_path / folder / name)
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in MASK_FIGURES
    )


def test_finished_network_stands_at_the_step_that_it_comes_from():
    run = MaskRun(goals=(0.5, 0.75), generations=1)
    pruned = {**run.document()["pruned"], "sparsity": run.records[0].sparsity}
    star = sparsity_accuracy_figure(run.comparison(pruned=pruned)).axes[1].lines[-1]
    assert list(star.get_xdata()) == [1]


def test_layer_figure_names_parameters_where_a_layer_has_several():
    run = MaskRun({"one": 10}, goals=(0.5,), generations=1)
    (axes,) = layer_sparsity_figure(run.comparison(layers=2 * run.document()["layers"])).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["one.weight"] * 2


def test_figures_of_masks_name_the_metric():
    run = MaskRun()
    metric = MetricCard("mean squared error", "", False)
    (axes, right), (key,) = (
        (figure := sparsity_accuracy_figure(run.comparison(metric=metric.to_json()))).axes,
        figure.legends,
    )
    (panels,) = course_panels_figure(run.entries, run.records, metric).legends
    assert (axes.get_title(loc="left"), right.get_ylabel()) == (
        "Sparsity and mean squared error",
        "mean squared error on test",
    )
    assert "ccuracy" not in "".join(one.get_text() for legend in (key, panels) for one in legend.get_texts())
