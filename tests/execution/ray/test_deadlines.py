import time

from evoprune.execution.ray.deadlines import Deadlines


def test_jobs_are_overdue_in_order_when_they_take_longer_than_the_limit():
    deadlines = Deadlines(0.02)
    deadlines.begin("first")
    deadlines.begin("second")
    assert deadlines.overdue() == []
    assert 0 < deadlines.soonest(60) <= 0.02
    time.sleep(0.03)
    assert deadlines.overdue() == ["first", "second"]
    assert deadlines.soonest(60) == 0


def test_job_is_never_overdue_when_it_is_dropped_or_unlimited():
    dropped, unlimited = Deadlines(0), Deadlines(None)
    for deadlines in (dropped, unlimited):
        deadlines.begin("job")
    dropped.drop("job")
    dropped.drop("job")
    assert [deadlines.overdue() for deadlines in (dropped, unlimited)] == [[], []]
    assert [deadlines.soonest(60) for deadlines in (dropped, unlimited)] == [60, 60]
