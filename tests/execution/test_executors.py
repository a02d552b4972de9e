import os
from contextlib import closing
from functools import partial

import pytest

from evoprune.events import ignore
from evoprune.execution.forked import ForkedExecutor
from evoprune.execution.in_process import InProcessExecutor
from evoprune.execution.pool.executor import ProcessPoolExecutor
from evoprune.results import Status
from evoprune.testing.executor_jobs import KILLER, Deaths, Jobs, describe_worker, kill_the_worker, outcomes
from evoprune.testing.executor_suite import ExecutorSuite, ProcessExecutorSuite


class TestInProcessExecutor(ExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return InProcessExecutor

    def test_job_function_is_built_once_when_jobs_follow(self):
        built = []

        def factory():
            built.append(None)
            return lambda job: describe_worker(None, job)

        received = outcomes(InProcessExecutor(factory, workers=4, threads=1, notify=ignore), 3)
        assert len(built) == 1
        assert {one.cost.worker for one in received.values()} == {os.getpid()}

    def test_slots_are_one_whatever_is_asked(self):
        executor = InProcessExecutor(lambda: None, workers=4, threads=1, notify=ignore)
        assert executor.slots == 1


@pytest.mark.slow
class TestProcessPoolExecutor(ProcessExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return ProcessPoolExecutor


class TestForkedExecutor(ExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return ForkedExecutor

    def test_jobs_run_in_one_child_whatever_the_factory_holds(self):
        with closing(
            ForkedExecutor(lambda: partial(describe_worker, None), workers=4, threads=1, notify=ignore)
        ) as one:
            workers = {outcome.cost.worker for outcome in outcomes(one, 3).values()}
        assert len(workers) == 1
        assert os.getpid() not in workers

    def test_killer_is_quarantined_and_the_others_are_not(self, tmp_path):
        deaths = Deaths()
        with closing(ForkedExecutor(Jobs(kill_the_worker, tmp_path), workers=1, threads=1, notify=deaths)) as one:
            received = outcomes(one, 3)
        assert [outcome.evaluation.status for _, outcome in sorted(received.items())] == [
            Status.FAILED if index == KILLER else Status.OK for index in range(3)
        ]
        assert [event.retried for event in deaths.seen] == [True, False]
