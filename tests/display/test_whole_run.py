import pytest

from evoprune.display.whole_run import WholeRun
from evoprune.events import (
    CandidateEvaluated,
    GenerationEnded,
    GenerationStarted,
    StageEnded,
    TrainingProgress,
    WorkPlanned,
)
from evoprune.results import Evaluation, Status

PLAN = WorkPlanned(candidates=8, generations=4, search_share=0.2, trainings=2, epochs=3)


def scored(index):
    evaluation = Evaluation(genome="", rung=0, status=Status.OK, objectives={})
    return CandidateEvaluated(index, 0, evaluation, 1.0, None, replayed=False)


def retraining(epoch, batch):
    return TrainingProgress("retrain", epoch, 3, batch, 10, 0.1)


def done_after(events):
    whole = WholeRun()
    for event in events:
        whole.watch(event)
    return whole.done


def test_search_is_its_share_of_the_work_and_each_retraining_half_of_the_rest():
    begun = [PLAN, GenerationStarted(0, 4, 4), scored(0), scored(1)]
    assert done_after(begun) == pytest.approx(0.2 / 8)
    searched = [*begun, *(GenerationEnded(number, 1.0, 1.0) for number in range(4))]
    assert done_after(searched) == pytest.approx(0.2)
    once = [*searched, retraining(1, 5), StageEnded("retrain", 1.0, 1.0)]
    assert done_after(once) == pytest.approx(0.6)
    assert done_after([*once, retraining(1, 5)]) == pytest.approx(0.8)


def test_rungs_that_are_left_out_count_as_done_when_the_next_one_begins():
    assert done_after([PLAN, GenerationStarted(0, 4, 4), GenerationEnded(0, 1.0, 1.0)]) == pytest.approx(0.05)
    assert done_after([PLAN, GenerationEnded(0, 1.0, 1.0), retraining(0, 0)]) == pytest.approx(0.2)


def test_nothing_is_told_while_the_share_of_the_search_is_not_known():
    whole = WholeRun()
    assert not whole.watch(GenerationStarted(0, 4, 4))
    assert whole.done == 0
    assert whole.watch(PLAN)
    assert whole.title == "whole run, search 20 %"
