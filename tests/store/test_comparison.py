import json

import pytest

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.results import MetricCard
from evoprune.store.comparison import Comparison, ModelFigures, read_comparison

MODEL = {"accuracy": 0.9, "params": 10, "macs": 200}
METRIC = {"name": "mean IoU", "unit": "%", "maximize": True}
POINT = {"index": 4, "genome": "ab", "select_accuracy": 0.8, "macs": 100}
LAYER = {"layer": "fc", "name": "fc.weight", "weights": 8, "kept": 2, "sparsity": 0.75}
STEP = {
    "step": 0, "pass": 0, "goal": None, "between": False, "layers": ["fc"], "layers_pruned": 1, "sparsity": 0.75,
    "layer_sparsity": {"fc": 0.75}, "select_accuracy_before": 0.5, "select_accuracy": 0.8, "worst_class_accuracy": None,
    "start": "a", "state": "b", "evaluations": 3, "generations": 1, "taken": True, "accuracy": 0.7,
}  # fmt: skip
DOCUMENTS = {
    "channels": {
        "baseline": MODEL, "pruned": {"genome": "ab", **MODEL}, "front": [POINT], "metric": METRIC, "uncounted": ["fft"],
    },
    "masks": {"baseline": MODEL, "pruned": MODEL, "layers": [LAYER], "steps": [STEP], "front": [], "metric": METRIC},
    "fine-tuned channels": {"baseline": MODEL, "pruned": MODEL, "finetuned": MODEL, "metric": METRIC},
    "fine-tuned masks": {"baseline": MODEL, "pruned": MODEL, "finetuned": MODEL, "metric": METRIC, "layers": [LAYER]},
}  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_comparison_is_written_as_it_was_read(document):
    assert json.dumps(Comparison.from_json(document).to_json()) == json.dumps(document)


def test_comparison_is_by_accuracy_where_no_metric_is_named():
    assert Comparison.from_json({"baseline": MODEL, "pruned": MODEL}).metric == MetricCard()


def test_model_is_found_by_its_name_and_one_that_is_not_there_is_a_key_error():
    comparison = Comparison.from_json(DOCUMENTS["channels"])
    assert comparison.model("pruned") == ModelFigures(MODEL, "ab")
    with pytest.raises(KeyError, match="finetuned"):
        comparison.model("finetuned")


@pytest.mark.parametrize(
    "change",
    [
        {"pruned": {"accuracy": 0.9}},
        {"finetuned": {"params": 1}},
        {"pruned": {**MODEL, "genome": 3}},
        {"pruned": {**MODEL, "macs": True}},
        {"layers": [{**LAYER, "kept": "2"}]},
        {"steps": [{**STEP, "accuracy": "high"}]},
        {"steps": [{**STEP, "taken": None, "state": None, "evaluations": -1}]},
        {"front": [{**POINT, "macs": None}]},
        {"uncounted": [3]},
        {"metric": {"name": 3}},
    ],
    ids=str,
)
def test_read_comparison_refuses_what_is_of_another_kind(tmp_path, change):
    (tmp_path / "comparison.json").write_text(json.dumps({**DOCUMENTS["masks"], **change}))
    with pytest.raises(StoreCorruptedError, match=r"comparison\.json is damaged"):
        read_comparison(tmp_path)


def test_read_comparison_needs_a_finished_run(tmp_path):
    with pytest.raises(UsageError, match="holds no finished run"):
        read_comparison(tmp_path)
