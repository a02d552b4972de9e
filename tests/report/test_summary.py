from evoprune.report.summary import comparison_rows, text_table

BASELINE = {"accuracy": 0.9912, "params": 421_642, "macs": 4_241_152, "size_bytes": 1_690_000, "latency_ms": 0.25}
PRUNED = {"accuracy": 0.9897, "params": 105_410, "macs": 1_060_288, "size_bytes": 422_500, "latency_ms": 0.125}


def test_rows_show_both_models_and_the_change():
    rows = comparison_rows({"baseline": BASELINE, "pruned": PRUNED})
    assert rows[0] == ("test accuracy", "99.12 %", "98.97 %", "-0.15 points")
    assert rows[1] == ("parameters", "421,642", "105,410", "-75.0 %")
    assert rows[3] == ("size on disk", "1,690.0 kB", "422.5 kB", "-75.0 %")
    assert rows[4] == ("latency, one sample", "0.250 ms", "0.125 ms", "-50.0 %")


def test_rows_leave_out_what_was_not_measured():
    pruned = {key: value for key, value in PRUNED.items() if key != "latency_ms"}
    assert "latency, one sample" not in [row[0] for row in comparison_rows({"baseline": BASELINE, "pruned": pruned})]


def test_rows_show_a_dash_when_there_is_nothing_to_compare_with():
    rows = comparison_rows({"baseline": {**BASELINE, "params": 0}, "pruned": {**PRUNED, "params": 0}})
    assert rows[1] == ("parameters", "0", "0", "-")


def test_table_is_aligned():
    lines = text_table({"baseline": BASELINE, "pruned": PRUNED}).splitlines()
    assert lines[0].split() == ["baseline", "pruned", "change"]
    assert lines[1].index("99.12 %") + len("99.12 %") == lines[0].index("baseline") + len("baseline")
    assert all(line == line.rstrip() for line in lines)
