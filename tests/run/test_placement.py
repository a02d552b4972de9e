import os
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from evoprune.config.schema import make_config
from evoprune.errors import ConfigError
from evoprune.events import ignore
from evoprune.execution.in_process import InProcessExecutor
from evoprune.execution.pool.executor import ProcessPoolExecutor
from evoprune.run.factories.common import placement_of
from evoprune.run.factories.runs import check_names
from evoprune.run.placement import ELASTIC, SettledPlacement


def executor_without_options(factory, *, workers, threads, notify):
    """A third party's, written before there was anything else to take."""
    return InProcessExecutor(factory, workers=workers, threads=threads, notify=notify)


class NeedsAnAddress:
    """An executor that asks for an address before there is any work."""

    @staticmethod
    def check_address(address):
        if address is None:
            raise ConfigError("no cluster is named")


SIMPLE = f"{__name__}:executor_without_options"


@pytest.fixture
def gpus(monkeypatch):
    """Have torch see so many CUDA devices."""

    def pretend(count, visible=None):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    yield pretend
    monkeypatch.undo()


def execution(**settings):
    return make_config({"execution": settings})


def placement(**settings):
    return placement_of(execution(**settings))


def workers(**settings):
    return placement(**settings).settled(None, ignore).workers


def check_executor(**settings):
    placement(**settings).check()


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 4),
        ({"gpus_per_candidate": 0.25}, 16),
        ({"gpus_per_candidate": 0.3}, 12),
        ({"gpus_per_candidate": 0}, 4),
        ({"devices": [1, 3]}, 2),
        ({"devices": [1, 3], "gpus_per_candidate": 0.5}, 4),
        ({"device": "cuda:1"}, 1),
        ({"device": "cuda:1", "gpus_per_candidate": 0.5}, 2),
        ({"workers": 3}, 3),
        ({"executor": "in-process"}, 1),
    ],
    ids=str,
)
def test_workers_are_as_many_as_the_gpus_take(gpus, settings, count):
    gpus(4)
    assert workers(**settings) == count


def test_workers_are_one_per_core_where_the_system_has_no_affinities(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert workers(device="cpu") == 3
    monkeypatch.setattr(os, "cpu_count", lambda: None)  # as where it can't be found out
    assert workers(device="cpu") == 1


@pytest.mark.parametrize("settings", [{"executor": "ray"}, {"address": "10.0.0.1:6379"}], ids=str)
def test_workers_are_all_that_a_cluster_takes_where_no_number_is_given(settings):
    assert workers(**settings) == ELASTIC
    assert workers(**settings, workers=3) == 3


def test_check_asks_the_executor_whether_it_can_do_without_an_address():
    with pytest.raises(ConfigError, match="no cluster is named"):
        check_executor(executor=f"{__name__}:NeedsAnAddress")


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, ("4", "5", "7")),
        ({"device": "cuda"}, ("4", "5", "7")),
        ({"devices": [2, 0]}, ("7", "4")),
        ({"device": "cuda:1"}, ()),
        ({"device": "cpu"}, ()),
    ],
    ids=str,
)
def test_worker_devices_are_those_that_the_user_lets_us_see(gpus, settings, names):
    gpus(3, visible="4,5,7")
    assert placement(**settings).worker_devices() == names


def test_worker_devices_are_none_where_there_is_no_gpu(gpus):
    gpus(0)
    assert placement().worker_devices() == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"devices": [0, 5]}, "names 5, but torch sees 3 CUDA devices"),
        ({"devices": [0], "device": "cpu"}, r"devices is \[0\], but candidates run on cpu"),
        ({"devices": [0], "device": "cuda:1"}, "run on cuda:1"),
        ({"devices": [0], "executor": "in-process"}, "executor in-process takes none"),
        ({"gpus_per_candidate": 2}, "gives a candidate one at most"),
    ],
    ids=str,
)
def test_devices_that_do_not_fit_the_rest_are_refused(gpus, settings, message):
    gpus(3)
    with pytest.raises(ConfigError, match=message):
        check_executor(**settings)


def test_executor_that_takes_no_time_limit_is_refused_one():
    with pytest.raises(ConfigError, match=r"candidate_time_limit is 90 s, and executor .* takes none"):
        check_executor(executor=SIMPLE, candidate_time_limit="90s")
    check_executor(executor=SIMPLE)


def test_time_limit_in_this_process_is_refused_outside_its_main_thread():
    with ThreadPoolExecutor(1) as threads:
        for settings in ({"workers": 1}, {"executor": "in-process"}):
            with pytest.raises(ConfigError, match="only from its main thread"):
                threads.submit(check_executor, candidate_time_limit=5, **settings).result()
        threads.submit(check_executor, candidate_time_limit=5, workers=2).result()
    check_executor(candidate_time_limit=5, workers=1)


def test_searches_that_are_one_job_are_refused_a_time_limit():
    masks = {"search": {"encoding": "weight-bits"}, "masks": {"mode": "independent"}}
    limited = {"execution": {"candidate_time_limit": 5}}
    with pytest.raises(ConfigError, match=r"masks\.mode independent evaluates whole searches"):
        check_names(make_config(masks, limited))
    check_names(make_config(masks))


def test_executor_is_built_with_what_it_takes():
    settled = SettledPlacement(placement(executor=SIMPLE, gpus_per_candidate=0.5), 1)
    assert isinstance(settled.build(list, ignore), InProcessExecutor)


@pytest.mark.slow
def test_executor_auto_is_a_pool_when_devices_are_named(gpus):
    gpus(2)
    executor = SettledPlacement(placement(devices=[1]), 1).build(list, ignore)
    try:
        assert isinstance(executor, ProcessPoolExecutor)
    finally:
        executor.close()


def test_where_a_run_is_done_is_no_part_of_what_it_is(gpus):
    gpus(2)
    assert execution(devices=[1], gpus_per_candidate=0.5).identity() == execution().identity()
    assert execution(candidate_time_limit=5).identity() != execution().identity()
