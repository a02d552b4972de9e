import json

import pytest

from evoprune.errors import StoreCorruptedError, UsageError
from evoprune.report.model_card import write_model_card
from tests.report.test_summary import BASELINE, PRUNED
from tests.report.test_timing_rows import FAST, SLOW, compared

CARD = {
    "network": "Net<script>",
    "evoprune": "0.1.0",
    "inputs": [{"name": "images", "shape": [1, 1, 28, 28], "dtype": "float32"}],
    "preprocessing": {"mean": [0.1307], "std": [0.3081]},
    "class_names": ["cat", "dog|*x*"],
    "data_licence": "CC BY-SA 3.0",
}


@pytest.fixture
def artifact(tmp_path):
    (tmp_path / "artifact").mkdir()
    (tmp_path / "artifact/model.json").write_text(json.dumps(CARD))
    document = compared(FAST, SLOW).to_json()
    (tmp_path / "comparison.json").write_text(json.dumps(document))
    return tmp_path / "artifact"


def test_card_has_the_table_the_times_and_what_the_network_expects(artifact):
    text = write_model_card(artifact, artifact.parent).read_text()
    assert "| test accuracy | 99.12 % | 98.97 % | -0.15 points |" in text
    assert "| 1 | eager | 0.200 ±0.010 | 0.250 | 0.100 ±0.005 | 0.120 | -50.0 % |" in text
    assert "fewer MACs, but the time is +2.0 %" in text
    assert "mean \\[0.1307\\], std \\[0.3081\\]" in text
    assert "licence of the data: CC BY-SA 3.0" in text
    assert 'evoprune.load("this folder")' in text


def test_names_are_text_in_the_card(artifact):
    text = write_model_card(artifact, artifact.parent).read_text()
    assert "# Net&lt;script&gt;, pruned by evoprune 0.1.0" in text
    assert "cat, dog\\|\\*x\\*" in text


def test_card_of_a_fine_tuned_network_compares_with_the_one_before(artifact):
    document = {"baseline": BASELINE, "pruned": PRUNED, "finetuned": {**PRUNED, "accuracy": 0.99}}
    (artifact / "comparison.json").write_text(json.dumps(document))
    text = write_model_card(artifact).read_text()
    assert "|  | pruned | finetuned | change |" in text
    assert "98.97 % | 99.00 %" in text


def test_card_of_an_older_artifact_says_what_it_knows(artifact):
    (artifact / "model.json").write_text(json.dumps({"format": 1}))
    assert "licence of the data: not stated" in write_model_card(artifact, artifact.parent).read_text()


def test_card_needs_a_comparison_and_sound_files(artifact):
    with pytest.raises(UsageError, match="holds no finished run"):
        write_model_card(artifact)
    (artifact / "model.json").write_text(json.dumps({**CARD, "inputs": [3]}))
    with pytest.raises(StoreCorruptedError, match=r"model\.json is damaged"):
        write_model_card(artifact, artifact.parent)
