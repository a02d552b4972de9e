import pytest

from evoprune.errors import ConfigError
from evoprune.objectives.batch_names import batch_of, is_latency, name_at


def test_names_and_batches_go_both_ways():
    assert [batch_of(name_at(batch)) for batch in (None, 1, 256)] == [None, 1, 256]
    assert name_at(256) == "latency_ms@batch=256"
    assert [is_latency(name) for name in ("latency_ms", "latency_ms@batch=2", "macs")] == [True, True, False]


def test_objectives_of_the_users_own_have_no_batch():
    assert batch_of("my.module:Thing") is None
    assert batch_of("worst_class_accuracy") is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("macs@batch=2", "macs doesn't depend on the batch"),
        ("latency_ms@batch=0", "no objective at a batch"),
        ("latency_ms@batch=-1", "no objective at a batch"),
        ("latency_ms@2", "no objective at a batch"),
        ("latency_ms@batch=", "no objective at a batch"),
    ],
)
def test_other_names_are_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        batch_of(name)
