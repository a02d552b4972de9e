import json

import pytest
from scipy.stats import ttest_1samp

from evoprune.errors import UsageError
from evoprune.report.front_table import front_columns, front_rows
from evoprune.report.seeds import gain_text, mean_gain, read_runs, run_rows
from evoprune.store.comparison import Comparison

METRIC = {"name": "accuracy", "unit": "%", "maximize": True}
GAINS = [0.012, 0.007, -0.001]


def document(gain=None, **more):
    pruned = {"accuracy": 0.9, "params": 50, "macs": 200}
    rival = {"criterion": "taylor global", "gain": gain, **pruned, "accuracy": 0.9 - gain} if gain is not None else None
    found = {"baseline": {"accuracy": 0.92, "params": 100, "macs": 1000}, "pruned": pruned, "metric": METRIC, **more}
    return {**found, "front": [], **({} if rival is None else {"criterion": rival})}


@pytest.fixture
def runs(tmp_path):
    def write(*documents):
        folders = [tmp_path / f"seed{number}" for number, _ in enumerate(documents)]
        for folder, one in zip(folders, documents, strict=True):
            folder.mkdir()
            (folder / "comparison.json").write_text(json.dumps(one))
        return folders

    return write


def test_mean_gain_has_students_interval_over_the_runs(runs):
    gain = mean_gain(read_runs(runs(*map(document, GAINS))))
    interval = ttest_1samp(GAINS, 0).confidence_interval(0.95)
    assert (gain.mean - gain.half_width, gain.mean + gain.half_width) == pytest.approx((interval.low, interval.high))
    assert gain_text(gain, Comparison.from_json(document(0.1)).metric).startswith(
        "evolved - best criterion = +0.60 points ± "
    )


def test_single_run_has_a_gain_without_an_interval_and_others_none(runs):
    assert mean_gain(read_runs(runs(document(0.01)))).half_width is None


def test_runs_that_compared_nothing_have_no_gain(runs):
    assert mean_gain(read_runs(runs(document(), document()))) is None


def test_rows_name_run_criterion_and_gain(runs):
    rows = run_rows(read_runs(runs(document(0.012), document())))
    assert rows[0] == ["seed0", "92.00 %", "90.00 %", "20.0 %", "taylor global", "88.80 %", "+1.20 points"]
    assert rows[1][-3:] == ["-", "-", "-"]


def test_runs_of_different_metrics_are_refused(runs):
    other = document(0.01) | {"metric": {"name": "PSNR", "unit": "dB", "maximize": True}}
    with pytest.raises(UsageError, match="different metrics: PSNR, accuracy"):
        read_runs(runs(document(0.01), other))


def test_front_has_a_row_for_each_point_with_shares_of_the_dense_network():
    points = [{"index": 3, "genome": "a" * 32, "loss": 0.25, "macs": 100, "select_accuracy": 0.8}]
    comparison = Comparison.from_json(document() | {"front": points, "objectives": ["loss", "macs"]})
    assert front_columns(comparison) == ["point", "loss", "macs", "select_accuracy"]
    assert front_rows(comparison) == [["3", "0.25", "100 (10.0 %)", "80.00 %"]]


def test_front_of_a_search_for_the_metric_shows_it_by_its_name():
    points = [{"index": 3, "genome": "a" * 32, "select_accuracy": 1.5, "macs": 100}]
    metric = {"name": "mse", "unit": "", "maximize": False}
    changed = {"front": points, "objectives": ["accuracy", "macs"], "metric": metric}
    comparison = Comparison.from_json(document() | changed)
    assert front_columns(comparison) == ["point", "select_mse", "macs"]
    assert front_rows(comparison) == [["3", "1.5", "100 (10.0 %)"]]


def test_run_without_a_front_is_refused():
    with pytest.raises(UsageError, match="has no front"):
        front_rows(Comparison.from_json(document()))
