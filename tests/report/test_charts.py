import math

from hypothesis import given
from hypothesis import strategies as st

from evoprune.report.html.charts.plot import Axis, Plot, Point, Rule, Series, chart_of
from evoprune.report.html.charts.scale import Scale, span_of

numbers = st.floats(-1e9, 1e9).filter(lambda value: value == 0 or abs(value) > 1e-6)


@given(st.lists(numbers, min_size=1, max_size=8), st.integers(2, 9), st.booleans())
def test_ticks_are_few_round_and_on_the_scale(values, most, whole):
    low, high = span_of(values)
    scale = Scale(low, high, 100.0, 500.0)
    ticks = scale.ticks(most, repr, whole=whole)
    assert len(ticks) <= most + 1
    assert all(100 <= tick.at <= 500 for tick in ticks)
    if whole:
        assert all(float(tick.text).is_integer() for tick in ticks)


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=8), st.integers(2, 9))
def test_ticks_of_logarithmic_scales_are_round(values, most):
    low, high = span_of(values, log=True)
    ticks = Scale(low, high, 0.0, 300.0, log=True).ticks(most, repr)
    assert len(ticks) <= most
    assert all(f"{float(tick.text):e}"[0] in "1235" for tick in ticks)


@given(st.lists(numbers, min_size=1, max_size=8))
def test_every_value_is_within_the_span(values):
    low, high = span_of(values)
    assert low <= min(values)
    assert high >= max(values)
    assert high > low


def test_floor_keeps_the_scale_of_costs_above_zero():
    assert span_of([0.1, 10.0], floor=0.0)[0] == 0.0
    assert span_of([-1.0, 10.0], floor=0.0)[0] < -1.0


def test_places_follow_the_values_on_both_scales():
    assert Scale(0, 10, 50, 150).at(5) == 100
    assert Scale(1, 100, 0, 100, log=True).at(10) == 50
    assert Scale(0, 10, 300, 100).at(2.5) == 250  # upwards


def test_drawing_has_the_points_where_the_scales_have_the_values():
    plot = Plot(
        "label",
        x=Axis("x", str, span=(0, 10)),
        y=Axis("y", str, span=(0, 1)),
        series=[Series("front", "front", [Point(0, 0), Point(5, 0.5, "tip", 7), Point(20, 0.5)], line="step")],
        rules=[Rule("dense", "dense", 1.0)],
    )
    chart = chart_of(plot)
    assert [one.frame.name for one in chart.drawings] == ["wide", "narrow"]
    assert [key.label for key in chart.keys] == ["front", "dense"]
    for one in chart.drawings:
        first, middle = one.series[0].marks  # the one beyond the scale is left out
        assert (first.x, first.y) == (one.frame.left, one.floor)
        assert math.isclose(middle.x, (one.frame.left + one.frame.width - one.frame.right) / 2)
        assert (middle.tip, middle.chosen, one.has_choice) == ("tip", 7, True)
        assert one.series[0].path == f"M{first.x:g} {first.y:g}H{middle.x:g}V{middle.y:g}"
        assert one.rules == (("dense", one.frame.top),)
