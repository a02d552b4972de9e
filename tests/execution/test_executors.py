import os

import pytest

from evoprune.errors import UsageError
from evoprune.events import ignore
from evoprune.execution.in_process import InProcessExecutor
from evoprune.execution.process_pool import ProcessPoolExecutor
from evoprune.testing.executor_jobs import describe_worker, job, outcomes
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

    def test_factory_that_cannot_travel_is_refused_with_a_way_out(self):
        with pytest.raises(UsageError, match="can't be sent to worker processes") as caught:
            ProcessPoolExecutor(lambda: None, workers=1, threads=1, notify=ignore)
        assert "top level of a module" in caught.value.hint

    def test_submit_after_close_is_refused(self):
        executor = ProcessPoolExecutor(list, workers=1, threads=1, notify=ignore)
        executor.close()
        with pytest.raises(Exception, match="worker processes are gone"):
            executor.submit(job(0))
