import pytest

from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.latency_names import LatencyHow, how_of, is_latency

HOWS = [
    LatencyHow(batch=1),
    LatencyHow(batch=256, threads=4),
    LatencyHow(batch=64, threads=2, runtime="onnxruntime"),
    LatencyHow(threads=2),
    LatencyHow(runtime="onnxruntime"),
]


@pytest.mark.parametrize("how", HOWS, ids=str)
def test_names_go_both_ways_and_stand_in_constraints(how):
    assert how_of(how.name) == how
    assert Constraint.parse(f"{how.name}<=3ms") == Constraint(how.name, at_most=True, bound=3.0, relative=False)


def test_names_are_spelled_as_documented():
    assert LatencyHow().name == "latency_ms"
    assert (
        LatencyHow(batch=64, threads=2, runtime="onnxruntime").name
        == "latency_ms@batch=64,threads=2,runtime=onnxruntime"
    )
    assert [is_latency(name) for name in ("latency_ms", "latency_ms@batch=2", "macs")] == [True, True, False]


@pytest.mark.parametrize("name", ["my.module:Thing", "worst_class_accuracy", "latency_ms"])
def test_other_objectives_say_nothing_of_it(name):
    assert how_of(name) is None


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("macs@batch=2", "macs doesn't depend on how it is measured"),
        ("latency_ms@batch=0", "is no latency"),
        ("latency_ms@batch=-1", "is no latency"),
        ("latency_ms@2", "is no latency"),
        ("latency_ms@batch=", "is no latency"),
        ("latency_ms@", "another spelling of 'latency_ms'"),
        ("latency_ms@device=cpu", "is no latency"),
        ("latency_ms@runtime=tvm", "runtime=tvm is unknown"),
        ("latency_ms@runtime=eager", "another spelling of 'latency_ms'"),
        ("latency_ms@batch=2,runtime=eager", "another spelling of 'latency_ms@batch=2'"),
        ("latency_ms@runtime=onnxruntime,batch=2", "is no latency"),
        ("latency_ms@batch=2,", "another spelling of 'latency_ms@batch=2'"),
        ("runtime=onnxruntime", "a comma has cut"),
        ("threads=2", "a comma has cut"),
    ],
)
def test_other_names_are_refused(name, words):
    with pytest.raises(ConfigError, match=words):
        how_of(name)


def test_more_threads_than_a_process_survives_are_refused():
    assert how_of("latency_ms@threads=1024") == LatencyHow(threads=1024)
    with pytest.raises(ConfigError, match="9,999,999 threads can't be measured"):
        how_of("latency_ms@threads=9999999")
