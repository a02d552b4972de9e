import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint, total_violation


@pytest.mark.parametrize(
    ("text", "bound", "relative"),
    [
        ("macs<=0.5", 0.5, True),
        ("macs<=.5", 0.5, True),
        ("macs<=1", 1, True),
        ("macs<=0", 0, True),
        ("macs<=5e-1", 0.5, True),
        ("macs<=50%", 0.5, True),
        ("macs<=150%", 1.5, True),
        ("macs <= 12.5 %", 0.125, True),
        ("macs<=1.5", 1.5, False),
        ("macs<=100000", 1e5, False),
        ("macs<=1e6", 1e6, False),
        ("macs<=100k", 1e5, False),
        ("macs<=0.5M", 5e5, False),
        ("macs<=2G", 2e9, False),
        ("macs<=2g", 2e9, False),
    ],
)
def test_parse_reads_bounds_with_every_unit(text, bound, relative):
    constraint = Constraint.parse(f"  {text} ")
    assert constraint == Constraint("macs", at_most=True, bound=pytest.approx(bound), relative=relative)


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("size_bytes<=1B", 1),
        ("size_bytes<=0.3kB", 300),
        ("size_bytes<=4 mb", 4e6),
        ("peak_activation_bytes<=1GB", 1e9),
        ("size_bytes<=300k", 3e5),
        ("latency_ms@batch=4<=0.7ms", 0.7),
        ("my_objective<=2kB", 2000),
    ],
)
def test_parse_reads_the_units_of_bytes_and_times(text, bound):
    constraint = Constraint.parse(text)
    assert (constraint.bound, constraint.relative) == (pytest.approx(bound), False)


@pytest.mark.parametrize(
    ("text", "accepted"),
    [
        ("macs<=20kb", "kb is no unit of macs, which takes k, M, G or %"),
        ("params<=1B", "B is no unit of params"),
        ("macs<=3ms", "ms is no unit of macs"),
        ("size_bytes<=3ms", "ms is no unit of size_bytes, which takes B, kB, MB, GB, k, M, G or %"),
        ("latency_ms<=3k", "k is no unit of latency_ms, which takes ms or %"),
    ],
)
def test_parse_refuses_units_of_something_else(text, accepted):
    with pytest.raises(ConfigError, match=accepted):
        Constraint.parse(text)


def test_parse_reads_name_and_direction():
    assert Constraint.parse("my_measure_2>=0.99") == Constraint("my_measure_2", False, 0.99, True)
    assert Constraint.parse("latency_ms<=3ms").objective == "latency_ms"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "macs",
        "macs<0.5",
        "macs=0.5",
        "macs==0.5",
        "macs=<0.5",
        "<=0.5",
        "macs<=",
        "macs<=-1",
        "latency_ms<=-3ms",
        "latency_ms@batch=2<=-3",
        "macs<=0.5<=1",
        "macs<=0,5",
        "macs<=nan",
        "macs<=inf",
        "macs<=5.",
        "macs<=1k2",
        "2macs<=1",
        "macs<=0.5;",
        "macs<=½",
    ],
)
def test_parse_refuses_other_forms(text):
    with pytest.raises(ConfigError, match=r"macs<=0\.5, params<=100k or accuracy>=0\.99") as caught:
        Constraint.parse(text)
    assert repr(text) in caught.value.message


@pytest.mark.parametrize("unit", ["T", "kms", "mms", "s", "bb", "kk", "kib", "k%", "%%", "x"])
def test_parse_refuses_unknown_units(unit):
    with pytest.raises(ConfigError, match=f"unknown unit '{unit}'; accepted are %, k, M"):
        Constraint.parse(f"macs<=3{unit}")


def test_parse_refuses_a_bound_too_large_to_mean_anything():
    with pytest.raises(ConfigError, match="1e999"):
        Constraint.parse("macs<=1e999")


@given(st.text(max_size=20))
def test_parse_raises_nothing_but_config_errors(text):
    with pytest.raises(ConfigError):
        Constraint.parse(text + "!")


BASELINE = {"macs": 200.0, "accuracy": 0.8}


@pytest.mark.parametrize(
    ("text", "value", "violation"),
    [
        ("macs<=0.5", 100, 0),
        ("macs<=0.5", 60, 0),
        ("macs<=0.5", 150, 0.5),
        ("macs<=100.0", 150, 0.5),
        ("macs>=0.5", 60, 0.4),
        ("macs>=0.5", 100, 0),
        ("macs<=150%", 330, 0.1),
    ],
)
def test_violation_is_the_fraction_of_the_bound_on_the_wrong_side(text, value, violation):
    assert Constraint.parse(text).violation({"macs": value}, BASELINE) == pytest.approx(violation)


def test_violation_forgives_rounding_alone():
    third = Constraint("macs", True, 1 / 3, True)
    assert third.violation({"macs": 1.0}, {"macs": 3.0}) == 0
    assert 3 * 0.1 > 0.3
    assert Constraint("macs", True, 0.3, False).violation({"macs": 3 * 0.1}, {}) == 0
    assert third.violation({"macs": 1.000001}, {"macs": 3.0}) > 0


@pytest.mark.parametrize(("bound", "baseline"), [(0.0, 200.0), (0.5, 0.0)])
def test_violation_of_a_bound_of_zero_stays_below_that_of_a_failed_candidate(bound, baseline):
    constraint = Constraint("macs", True, bound, True)
    assert 0 < constraint.violation({"macs": 2e9}, {"macs": baseline}) < 1e9
    assert constraint.violation({"macs": 0.0}, {"macs": baseline}) == 0


def test_total_violation_sums_over_what_was_measured():
    constraints = tuple(map(Constraint.parse, ("macs<=0.5", "macs>=0.9", "accuracy>=1")))
    assert total_violation(constraints, {"macs": 150.0}, BASELINE) == pytest.approx(0.5 + 30 / 180)
    assert total_violation(constraints, {"macs": 150.0, "accuracy": 0.4}, BASELINE) == pytest.approx(
        0.5 + 30 / 180 + 0.5
    )
    assert total_violation(constraints, {}, BASELINE) == 0


def test_parse_takes_a_bound_with_a_plus_as_it_stands():
    assert Constraint.parse("loss<=+0.3") == Constraint("loss", at_most=True, bound=0.3, relative=False)
    assert Constraint.parse("loss<=0.3").relative


@pytest.mark.parametrize("text", ["sparsity>=0.5", "layer_sparsity>=0.5", "sparsity>=50%"])
def test_parse_takes_a_sparsity_as_it_stands(text):
    one = Constraint.parse(text)
    assert (one.bound, one.relative) == (0.5, False)


def test_parse_takes_a_bound_with_a_minus_as_it_stands():
    assert Constraint.parse("negative_loss>=-0.3") == Constraint(
        "negative_loss", at_most=False, bound=-0.3, relative=False
    )
    one = Constraint.parse("r2 >= -2e-1")
    assert one.violation({"r2": -0.3}, {}) == pytest.approx(0.5)
    assert one.violation({"r2": -0.1}, {}) == 0.0


@pytest.mark.parametrize(
    ("text", "bound", "relative"),
    [
        ("latency_ms@batch=256<=9", 9, False),
        ("latency_ms@batch=1 <= 0.5", 0.5, True),
        ("latency_ms@batch=8<=0.5ms", 0.5, False),
    ],
)
def test_constraints_take_a_batch(text, bound, relative):
    found = Constraint.parse(text)
    assert found.objective == text.partition("<")[0].strip()
    assert (found.bound, found.relative) == (bound, relative)


@pytest.mark.parametrize("text", ["latency_ms@batch=0<=9", "latency_ms@batch<=9", "macs@batch=4<=0.5"])
def test_constraints_on_other_names_are_refused(text):
    with pytest.raises(ConfigError, match=r"constraint|batch"):
        Constraint.parse(text)
