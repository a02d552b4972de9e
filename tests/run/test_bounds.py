import pytest

from evoprune.config.metric_names import with_metric_named
from evoprune.config.schema import make_config
from evoprune.errors import ConfigError, DataError
from evoprune.results import ACCURACY, MetricCard
from evoprune.run.bounds import check_bounds, check_finite
from evoprune.run.factories.common import bounds_by_setting

MSE = MetricCard("mean squared error", "", False, (0.0, float("inf")))
R2 = MetricCard("R²", "", True, (-float("inf"), 1.0))
DENSE = {"accuracy": 0.9, "macs": 1000.0, "sparsity": 0.0}


def bounded(*constraints, target=None):
    return make_config({"search": {"constraints": list(constraints)}, "run": {"target": target}})


def bounds(*constraints, target=None):
    return bounds_by_setting(bounded(*constraints, target=target))


@pytest.mark.parametrize(
    ("bound", "metric", "said"),
    [
        ("accuracy>=1.5", ACCURACY, "accuracy is 1 at most"),
        ("accuracy<=-0.5", ACCURACY, "accuracy is 0 at least"),
        ("worst_class_accuracy>=2", ACCURACY, "is 1 at most"),
        ("sparsity>=1.2", ACCURACY, "sparsity is 1 at most"),
        ("accuracy>=1.5", R2, "R² is 1 at most"),
        ("accuracy<=-1", MSE, "mean squared error is 0 at least"),
    ],
)
def test_check_bounds_refuses_at_once_what_nothing_can_keep(bound, metric, said):
    with pytest.raises(ConfigError, match=said):
        check_bounds(bounds(bound), metric)
    with pytest.raises(ConfigError, match=f"run.target.*{said}"):
        check_bounds(bounds(target=[bound]), metric)


@pytest.mark.parametrize(
    ("bound", "metric"),
    [
        ("accuracy>=1", ACCURACY),
        ("accuracy>=110%", ACCURACY),
        ("accuracy<=1.5", MSE),
        ("accuracy>=-2", R2),
        ("other>=7", R2),
    ],
)
def test_check_bounds_lets_pass_what_can_be_kept_or_is_not_known_yet(bound, metric):
    check_bounds(bounds(bound), metric)
    check_bounds(bounds(bound), metric, {"accuracy": 0.5, "other": 1.0})


@pytest.mark.parametrize(("bound", "said"), [("accuracy>=120%", "is 1 at most"), ("macs>=2k", "macs is 1000 at most")])
def test_check_bounds_refuses_fractions_of_the_dense_network_that_nothing_can_keep(bound, said):
    with pytest.raises(ConfigError, match=said):
        check_bounds(bounds(bound), ACCURACY, DENSE)


def test_check_bounds_refuses_a_fraction_of_a_value_that_is_not_positive():
    with pytest.raises(ConfigError, match=r"fraction of the dense network's value, which is -0.2"):
        check_bounds(bounds("accuracy>=0.9"), R2, {"accuracy": -0.2})
    check_bounds(bounds("accuracy>=-0.3"), R2, {"accuracy": -0.2})


def test_check_finite_names_what_is_none():
    with pytest.raises(DataError, match="loss of the dense network on select is inf"):
        check_finite({"accuracy": 1.0, "loss": float("inf")})


def test_settings_may_name_the_metric_as_it_is_called():
    config = make_config(
        {
            "search": {"objectives": ["r2", "macs"], "constraints": ["r2>=0.9", "macs<=0.5"]},
            "run": {"target": ["r2>=0.99"]},
        }
    )
    named = with_metric_named(config, R2)
    assert named.search.objectives == ("accuracy", "macs")
    assert (named.search.constraints, named.run.target) == (("accuracy>=0.9", "macs<=0.5"), ("accuracy>=0.99",))
    assert with_metric_named(config, ACCURACY) == config


@pytest.mark.parametrize(
    ("bound", "metric", "better"), [("accuracy<=0.9", ACCURACY, "higher"), ("accuracy>=0.9", MSE, "lower")]
)
def test_check_bounds_refuses_to_hold_the_metric_down(bound, metric, better):
    with pytest.raises(ConfigError, match=f"{better} is better"):
        check_bounds(bounds(bound), metric, DENSE)
    with pytest.raises(ConfigError, match=f"run.target.*{better} is better"):
        check_bounds(bounds(target=[bound]), metric, DENSE)
