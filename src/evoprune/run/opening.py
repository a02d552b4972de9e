"""The beginning of every run: data, and the trained dense network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from evoprune.events import Listener
from evoprune.run.assemble import resolve_device, to_device
from evoprune.run.baseline import prepare_baseline
from evoprune.run.config import Config
from evoprune.run.fingerprints import digest_of_model, digests_of_data
from evoprune.run.problem import Problem, ProblemSource
from evoprune.run.stopwatch import stage
from evoprune.run.store import RunStore


def open_problem(
    config: Config,
    source: ProblemSource,
    store: RunStore,
    notify: Listener,
    check: Callable[[Problem], None] = lambda _: None,
) -> tuple[Problem, torch.device]:
    """Load the problem, see that it is the one that the run began with, and give its network the trained weights.

    Args:
        config: The run's settings.
        source: Of the problem.
        store: The run directory.
        notify: Told what goes on.
        check: Raises a `UsageError` where the problem can't be used, before there is any work.

    Returns:
        The problem, its network in eval mode, and its example inputs, on the device that comes second.

    Raises:
        ReplayMismatchError: Data or model are not those that the run began with.
        UsageError: They can't be used.
    """
    device = resolve_device(config.execution.device)
    with stage("data", notify):
        problem = source.load(notify)
        data = pin_problem(store, problem)
        check(problem)
    with stage("baseline", notify, "the dense network, trained now or taken from an earlier run"):
        model = prepare_baseline(problem, config, store, data=data, device=device, notify=notify).eval()
    return replace(problem, model=model, example_inputs=to_device(problem.example_inputs, device)), device


def pin_problem(store: RunStore, problem: Problem) -> dict[str, str]:
    """Keep the digests of data and model, or see that they are those that the run began with; gives the data's."""
    data = digests_of_data(problem.task)
    store.pin("data", data)
    store.pin("model", digest_of_model(problem.model))
    return data
