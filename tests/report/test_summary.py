import json

import pytest

from evoprune.errors import UsageError
from evoprune.report.summary import comparison_rows, layer_rows, method_rows, method_table, text_table
from evoprune.store.comparison import Comparison
from tests.report.mask_runs import MaskRun

BASELINE = {"accuracy": 0.9912, "params": 421_642, "macs": 4_241_152, "size_bytes": 1_690_000, "latency_ms": 0.25}
PRUNED = {"accuracy": 0.9897, "params": 105_410, "macs": 1_060_288, "size_bytes": 422_500, "latency_ms": 0.125}


def compared(baseline=BASELINE, pruned=PRUNED, **more):
    return Comparison.from_json({"baseline": baseline, "pruned": pruned, **more})


def test_rows_show_both_models_and_the_change():
    rows = comparison_rows(compared())
    assert rows[0] == ("test accuracy", "99.12 %", "98.97 %", "-0.15 points")
    assert rows[1] == ("parameters", "421,642", "105,410", "-75.0 %")
    assert rows[3] == ("size on disk", "1,690.0 kB", "422.5 kB", "-75.0 %")
    assert rows[4] == ("latency, one sample", "0.250 ms", "0.125 ms", "-50.0 %")


def test_rows_of_latencies_say_how_they_were_measured():
    names = ("latency_ms@batch=64", "latency_ms@batch=64,threads=2,runtime=onnxruntime")
    rows = comparison_rows(compared({**BASELINE, **dict.fromkeys(names, 2.0)}, {**PRUNED, **dict.fromkeys(names, 1.0)}))
    assert rows[-2:] == [
        ("latency, batch 64", "2.000 ms", "1.000 ms", "-50.0 %"),
        ("latency, batch 64, threads 2, onnxruntime", "2.000 ms", "1.000 ms", "-50.0 %"),
    ]


def test_rows_leave_out_what_was_not_measured():
    pruned = {key: value for key, value in PRUNED.items() if key != "latency_ms"}
    assert "latency, one sample" not in [row[0] for row in comparison_rows(compared(pruned=pruned))]


def test_rows_show_a_dash_when_there_is_nothing_to_compare_with():
    rows = comparison_rows(compared({**BASELINE, "params": 0}, {**PRUNED, "params": 0}))
    assert rows[1] == ("parameters", "0", "0", "-")


def test_table_is_aligned():
    lines = text_table(compared()).splitlines()
    assert lines[0].split() == ["baseline", "pruned", "change"]
    assert lines[1].index("99.12 %") + len("99.12 %") == lines[0].index("baseline") + len("baseline")
    assert all(line == line.rstrip() for line in lines)


def test_rows_of_masked_models_have_sparsity_and_nonzero_parameters():
    rows = comparison_rows(MaskRun({"one": 1000}, mode="layers", goals=(0.9,), generations=1).comparison())
    assert ("nonzero parameters", "1,236", "336", "-72.8 %") in rows
    assert ("sparsity of weights", "0.00 %", "90.00 %", "+90.00 points") in rows


def test_table_compares_any_two_models():
    lines = text_table(compared(finetuned=BASELINE), ("pruned", "finetuned")).splitlines()
    assert lines[0].split() == ["pruned", "finetuned", "change"]
    assert "+0.15 points" in lines[1]


def test_layer_rows_end_with_all_layers_together():
    run = MaskRun({"one": 1000, "two": 3000}, mode="layers", goals=(0.9,), generations=1)
    assert layer_rows(run.comparison()) == [
        ("one", "1,000", "100", "90.00 %"),
        ("two", "3,000", "300", "90.00 %"),
        ("all", "4,000", "400", "90.00 %"),
    ]
    assert layer_rows(compared()) == []


def test_method_table_compares_runs_of_both_kinds(tmp_path):
    masks = MaskRun({"one": 764}, mode="layers", goals=(0.5,), generations=1).write(tmp_path / "masks")
    channels = tmp_path / "channels"
    channels.mkdir()
    (channels / "comparison.json").write_text(json.dumps({"baseline": BASELINE, "pruned": PRUNED, "front": []}))
    lines = method_table(method_rows({"evolved masks": masks, "channels": channels})).splitlines()
    assert lines[2] == "| dense | 98.95 % | 1,000 | 100.00 % | - |"
    assert lines[3] == "| evolved masks | 98.60 % | 618 | 61.80 % | 50.00 % |"
    assert lines[4] == "| channels | 98.97 % | 105,410 | 25.00 % | - |"
    with pytest.raises(UsageError, match="no finished run"):
        method_rows({"nothing": tmp_path})


ERROR = {"name": "mean squared error", "unit": "", "maximize": False}


def test_rows_show_a_metric_by_its_name_with_its_sign_and_unit():
    models = {**BASELINE, "accuracy": 0.12}, {**PRUNED, "accuracy": -6.15}
    assert comparison_rows(compared(*models, metric=ERROR))[0] == ("test mean squared error", "0.12", "-6.15", "-6.27")
    share = {"name": "mean IoU", "unit": "%", "maximize": True}
    assert comparison_rows(compared(*models, metric=share))[0][:2] == ("test mean IoU", "12.00 %")


def write_run(directory, **more):
    directory.mkdir()
    (directory / "comparison.json").write_text(
        json.dumps({"baseline": BASELINE, "pruned": PRUNED, "front": [], **more})
    )
    return directory


def test_methods_are_compared_by_one_metric(tmp_path):
    runs = {"a": write_run(tmp_path / "a", metric=ERROR), "b": write_run(tmp_path / "b", metric=ERROR)}
    assert "test mean squared error" in method_table(method_rows(runs))
    with pytest.raises(UsageError, match="judged by accuracy, the runs before it by mean squared error"):
        method_rows({**runs, "c": write_run(tmp_path / "c")})
