"""The figure of the front: what was searched for, costs as shares of the dense network's, and who is who in it."""

import pytest

from evoprune.report.front_plots import front_figure
from evoprune.report.front_table import has_wide_front
from evoprune.store.comparison import Comparison
from tests.report.mask_runs import entries_of
from tests.report.test_plots import DENSE, JOURNALS, MODEL, comparison, line


@pytest.mark.parametrize(
    ("metric", "label", "tick"),
    [
        ({"name": "R²", "unit": "", "maximize": True}, "R² on select", "0.5"),
        ({"name": "mean IoU", "unit": "%", "maximize": True}, "mean IoU on select", "50 %"),
        ({"name": "PSNR", "unit": "dB", "maximize": True}, "PSNR [dB] on select", "0.5"),
    ],
    ids=["number", "share", "unit"],
)
def test_front_names_the_metric_and_its_unit(metric, label, tick):
    lines = JOURNALS["normal"]
    axes = front_figure(entries_of(lines), comparison(lines, metric=metric), DENSE).axes[0]
    axes.figure.draw_without_rendering()
    assert axes.get_ylabel() == label
    assert tick in [one.get_text() for one in axes.get_yticklabels()]
    assert "ccuracy" not in axes.get_title(loc="left") + "".join(
        one.get_text() for one in axes.get_legend().get_texts()
    )


def drawn(objectives, **dense):
    """The front of a run for `objectives`, whose candidates have a loss, parameters and a latency."""
    lines = [
        {**line(index, 0), "objectives": {"loss": 1 / (1 + index), "params": 100.0 + index, "latency_ms": 2.0 + index}}
        for index in range(4)
    ]
    front = [{"index": one["index"], "genome": one["genome"], **one["objectives"]} for one in lines]
    found = Comparison.from_json(
        {"baseline": MODEL, "pruned": {**MODEL, "genome": "1"}, "front": front, "objectives": objectives}
    )
    axes = front_figure(entries_of(lines), found, dense).axes[0]
    axes.figure.draw_without_rendering()
    return axes


def test_front_is_drawn_of_what_was_searched_for():
    axes = drawn(["loss", "params", "latency_ms"], loss=0.9, params=1000.0, latency_ms=3.0)
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("loss on select", "params, in % of the dense network's 1,000")
    assert axes.get_title(loc="left") == "Loss against params: 4 points to choose from"
    assert [float(x) for x in axes.lines[1].get_xdata()] == pytest.approx([10, 10.1, 10.2, 10.3])
    assert [float(y) for y in axes.lines[1].get_ydata()] == pytest.approx([1, 1 / 2, 1 / 3, 1 / 4])


def test_milliseconds_stay_milliseconds():
    axes = drawn(["loss", "latency_ms"], loss=0.9, latency_ms=3.0)
    assert axes.get_xlabel() == "latency_ms (dense: 3)"
    assert list(axes.lines[1].get_xdata()) == [2, 3, 4, 5]


def test_front_of_one_objective_is_drawn_over_the_candidates():
    axes = drawn(["latency_ms"], latency_ms=3.0)
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("latency_ms", "candidate")
    assert list(axes.lines[0].get_xdata()) == [0, 1, 2, 3]


def ladder_lines():
    """Two rungs: a criterion's cut and a random one, then five on a front, each for half the MACs and twice as bad."""
    first = [
        {**line(0, 0), "objectives": {"loss": 2.0, "macs": 500.0}, "criterion": "taylor global 50 %"},
        {**line(1, 0), "objectives": {"loss": 2.5, "macs": 700.0}},
    ]
    last = [
        {**line(2 + n, 1), "rung": 1, "objectives": {"loss": 0.05 * 2.0**n, "macs": 1000 / 2.0**n}} for n in range(5)
    ]
    return [*first, *last]


def drawn_ladder():
    lines = ladder_lines()
    front = [{"index": one["index"], "genome": one["genome"], **one["objectives"]} for one in lines[2:]]
    found = Comparison.from_json(
        {"baseline": MODEL, "pruned": {**MODEL, "genome": "4"}, "front": front, "objectives": ["loss", "macs"]}
    )
    return found, front_figure(entries_of(lines), found, {"loss": 0.04, "macs": 2000.0}).axes[0]


def test_who_is_who_in_the_figure_of_a_front():
    _, axes = drawn_ladder()
    shown = {one.get_label(): [tuple(map(float, point)) for point in one.get_xydata()] for one in axes.lines}
    assert shown["criterion's cut, in generation 0"] == [(25, 2)]
    assert shown["candidate of an earlier generation"] == [(35, 2.5)]
    assert shown["front"] == [(50 / 2**n, 0.05 * 2**n) for n in (4, 3, 2, 1, 0)]
    assert shown["chosen, then retrained"] == [(12.5, 0.2)]
    assert shown["dense network"] == [(100, 0.04)]


def test_scales_over_several_magnitudes_are_logarithmic_and_others_are_not():
    _, axes = drawn_ladder()
    axes.figure.draw_without_rendering()
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    assert "20 %" in [one.get_text() for one in axes.get_xticklabels()]
    assert "0.5" in [one.get_text() for one in axes.get_yticklabels()]


def test_front_is_wide_where_its_points_differ_in_cost():
    found, _ = drawn_ladder()
    assert has_wide_front(found)
    assert not has_wide_front(comparison(JOURNALS["normal"], objectives=["accuracy", "macs"]))  # within a tenth
    assert not has_wide_front(comparison(JOURNALS["one candidate"], objectives=["accuracy", "macs"]))
    assert not has_wide_front(comparison(JOURNALS["normal"], objectives=["accuracy"]))
