from evoprune.report.summary import text_table
from evoprune.report.timing_rows import slow_notes, timing_html, timing_rows, untimed_notes
from evoprune.store.comparison import Comparison
from evoprune.store.timings import PassTimes, TimedPass, Timings
from tests.report.test_summary import BASELINE, PRUNED

FAST = TimedPass(1, "eager", PassTimes(0.2, 0.25, 0.02, 100), PassTimes(0.1, 0.12, 0.01, 100))
SLOW = TimedPass(
    64, "onnxruntime 1.32.0", PassTimes(12, 15, 2, 9), PassTimes(12.24, 15, 2, 9), True, ("launch-bound: 4 times",)
)


def compared(*passes, left_out=None):
    timings = Timings("AMD EPYC", "cpu", 1, passes, left_out or {})
    document = {"baseline": BASELINE, "pruned": PRUNED, "timings": timings.to_json()}
    return Comparison.from_json(document)


def test_rows_have_median_spread_and_percentile_of_both_networks():
    (fast, slow) = timing_rows(compared(FAST, SLOW))
    assert fast == (("1", "eager", "0.200 ±0.010", "0.250", "0.100 ±0.005", "0.120", "-50.0 %"), False)
    assert slow == (("64", "onnxruntime", "12.0 ±1.000", "15.0", "12.2 ±1.000", "15.0", "+2.0 %"), True)


def test_slow_pass_is_told_with_its_causes():
    assert slow_notes(compared(FAST)) == []
    assert slow_notes(compared(FAST, SLOW)) == [
        "batch 64, onnxruntime: fewer MACs, but the time is +2.0 %",
        "- launch-bound: 4 times",
    ]


def test_table_ends_with_the_times_and_what_was_not_timed():
    lines = text_table(compared(FAST, SLOW, left_out={"onnxruntime": "not installed"})).splitlines()
    assert "ms of a forward pass" in lines[-7]
    assert lines[-6].split() == ["batch", "runtime", "baseline", "p95", "pruned", "p95", "change"]
    assert lines[-3:] == [
        "not timed: onnxruntime (not installed)",
        "batch 64, onnxruntime: fewer MACs, but the time is +2.0 %",
        "- launch-bound: 4 times",
    ]
    assert untimed_notes(compared(FAST)) == []


def test_older_comparisons_have_no_times():
    comparison = Comparison.from_json({"baseline": BASELINE, "pruned": PRUNED})
    assert timing_rows(comparison) == []
    assert "forward pass" not in text_table(comparison)


def test_notebooks_have_the_rows_and_the_causes_as_text():
    page = timing_html(compared(FAST, SLOW))
    assert "<td" in page
    assert "0.200 ±0.010" in page
    assert "- launch-bound: 4 times" in page
    assert timing_html(Comparison.from_json({"baseline": BASELINE, "pruned": PRUNED})) == ""
