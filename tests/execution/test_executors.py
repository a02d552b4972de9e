import os

import pytest

from evoprune.events import ignore
from evoprune.execution.in_process import InProcessExecutor
from evoprune.execution.process_pool import ProcessPoolExecutor
from evoprune.testing.executor_jobs import describe_worker, outcomes
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


class TestProcessPoolExecutor(ProcessExecutorSuite):
    @pytest.fixture
    def make_executor(self):
        return ProcessPoolExecutor
