import pytest

from evoprune.errors import ConfigError
from evoprune.results import ACCURACY, MetricCard
from evoprune.run.measures import Wanted, choose_measures

OWN = "tests.run.own_objectives"
WEIGHTS = {"accuracy": 1.0, "macs": 0.1, "loss": 0.0}


def measures(*searched, bounded=(), weights=WEIGHTS, masks=False, metric=ACCURACY):
    return choose_measures(Wanted(searched, bounded, (), weights, masks), metric)


def test_measures_are_what_is_searched_for_bounded_or_has_a_weight():
    assert measures("accuracy", "macs").names == ("accuracy", "macs")
    assert measures("accuracy", "params", bounded=("size_bytes",)).names == ("accuracy", "params", "size_bytes")
    assert measures("loss", "params").names == ("loss", "params")


def test_weights_count_where_the_first_that_has_one_is_searched_for():
    assert measures("accuracy", "macs").weights == {"accuracy": 1.0, "macs": 0.1}
    assert measures("accuracy", "params").weights == measures("loss", "macs").weights == {}
    assert measures("loss", "macs", weights={"accuracy": 0, "macs": 0.1, "loss": 1.0}).names == ("macs", "loss")


def test_masks_are_always_told_by_accuracy_sparsity_and_the_worst_class():
    weights = {"accuracy": 0, "layer_sparsity": 0, "loss": 1.0}
    found = measures("loss", "sparsity", weights=weights, masks=True)
    assert found.names == ("sparsity", "layer_sparsity", "accuracy", "loss", "worst_class_accuracy")
    assert "worst_class_accuracy" not in found.required
    assert [one.name for one in found.known_to({"accuracy": 1.0, "loss": 0.1})] == ["accuracy", "loss"]


def test_metric_says_which_way_its_objectives_are_better():
    error = MetricCard("error", "", maximize=False)
    found = measures("accuracy", "worst_class_accuracy", metric=error)
    assert [one.maximize for one in found.searched] == [False, False]


def test_latencies_are_told_from_what_needs_no_clock():
    found = measures("latency_ms@batch=256", "params", "latency_ms")
    assert [one.name for one in found.latencies] == ["latency_ms@batch=256", "latency_ms"]
    assert found.without_latencies().names == ("params",)
    assert [one.how.batch for one in found.latencies] == [256, None]


@pytest.mark.parametrize(
    ("searched", "words"),
    [
        (("loss", "params", "loss"), "'loss' twice"),
        ((f"{OWN}:Accuracy", "macs"), "named 'accuracy', as another"),
        ((f"{OWN}:WidestLayer", f"{OWN}:OtherWidest"), "named 'widest_layer', as another"),
        ((f"{OWN}:Nameless",), "Nameless has no name, no maximize"),
    ],
)
def test_objectives_that_could_not_be_told_apart_or_are_none_are_refused(searched, words):
    with pytest.raises(ConfigError, match=words):
        measures(*searched)
