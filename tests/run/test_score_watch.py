import pytest

from evoprune.evaluation.reference import Reference
from evoprune.events import CandidateEvaluated, Caution, GenerationEnded
from evoprune.results import ACCURACY, Evaluation, MetricCard, Status
from evoprune.run.score_watch import ScoreWatch
from evoprune.store.event_log import describe

TRAINED = Reference(ACCURACY, dense=0.9, chance=0.25, error=0.03, samples=100)
ERROR = Reference(MetricCard("error", "", maximize=False), dense=1.0, chance=4.0, error=0.1, samples=100)


def said(reference, *generations, bred_by_metric=True, status=Status.OK):
    events = []
    watch = ScoreWatch(reference, bred_by_metric=bred_by_metric, notify=events.append)
    watch.begin()
    for number, scores in enumerate(generations):
        for index, score in enumerate(scores):
            evaluation = Evaluation(str(index), 0, status, {"accuracy": score})
            watch.watch(CandidateEvaluated(index, number, evaluation, score, None, replayed=False))
        watch.watch(GenerationEnded(number, None, None))
    assert all(isinstance(event, Caution) for event in events)
    return [event.what for event in events]


@pytest.mark.parametrize(
    ("reference", "scores", "wanted"),
    [
        (TRAINED, [0.25, 0.3, 0.26, 0.31, 0.7], ["scores near chance"]),
        (TRAINED, [0.4, 0.5, 0.6, 0.8], []),
        (TRAINED, [0.80, 0.81, 0.79, 0.80], ["scores close together"]),
        (ERROR, [3.9, 4.5, 5.0, 3.0], ["scores near chance"]),
        (ERROR, [1.5, 1.55, 1.52, 1.5], ["scores close together"]),
        (ERROR, [1.5, 2.5, 2.0, 3.0], []),
        (TRAINED, [0.25, 0.25], []),
    ],
)
def test_watch_warns_of_a_generation_that_says_little(reference, scores, wanted):
    assert said(reference, scores) == wanted


def test_watch_says_each_thing_once_and_lets_populations_converge():
    assert said(TRAINED, *[[0.25] * 4] * 3) == ["scores near chance"]
    assert said(TRAINED, [0.4, 0.5, 0.6, 0.8], [0.80, 0.81, 0.80, 0.80]) == []


def test_watch_leaves_alone_what_it_can_not_judge():
    assert said(TRAINED, [0.8] * 4, bred_by_metric=False) == []
    assert said(TRAINED, [0.25] * 4, status=Status.INFEASIBLE) == []
    assert said(Reference(ACCURACY, 0.9, None, None, 100), [0.25] * 4) == []


def test_watch_says_that_the_dense_network_itself_is_no_better_than_chance():
    untrained = Reference(ACCURACY, dense=0.27, chance=0.25, error=0.04, samples=100)
    assert said(untrained, [0.25] * 4) == ["the dense network"]


def test_cautions_say_in_one_line_what_to_do():
    events = []
    watch = ScoreWatch(TRAINED, bred_by_metric=True, notify=events.append)
    for index in range(4):
        evaluation = Evaluation(str(index), 0, Status.OK, {"accuracy": 0.8})
        watch.watch(CandidateEvaluated(index, 0, evaluation, 0.8, None, replayed=False))
    watch.watch(GenerationEnded(0, None, None, None, None))
    (event,) = events
    line = describe(event)
    assert line is not None
    assert "\n" not in line
    assert "4.00 % from 100 samples" in line
    assert "select_samples" in line
