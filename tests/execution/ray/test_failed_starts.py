import time

from evoprune.execution.ray.failed_starts import FailedStarts


def test_three_failures_in_a_row_are_enough_when_there_is_no_patience():
    failed = FailedStarts(0.0)
    assert [failed.add() for _ in range(2)] == [False, False]
    failed.reset()
    assert [failed.add() for _ in range(3)] == [False, False, True]


def test_failures_are_borne_for_a_while_when_there_is_patience():
    failed = FailedStarts(0.03)
    assert [failed.add() for _ in range(5)] == [False] * 5
    time.sleep(0.04)
    assert failed.add()
