"""From configuration to a run of channels."""

from __future__ import annotations

from evoprune.config.schema import Config
from evoprune.data.used_outputs import UsedOutputs
from evoprune.nn_utils.runtimes.names import ONNXRUNTIME
from evoprune.nn_utils.runtimes.onnx_sessions import check_installed
from evoprune.objectives.latency_names import how_of
from evoprune.run.channel_run import ChannelRun
from evoprune.run.channel_work import ChannelTarget
from evoprune.run.earlier_run import EarlierRun
from evoprune.run.factories.common import (
    bounds_by_setting,
    constraints_of,
    ends_of,
    placement_of,
    search_plan,
)
from evoprune.run.latency_tables import LatencySource
from evoprune.run.seeding_criteria import ALL, Seeding


def channel_run(config: Config, start: EarlierRun | None) -> ChannelRun:
    """What is particular to the run; `start` is the one whose networks it begins with.

    Raises:
        ConfigError: A latency says how it is measured in words that mean nothing.
        MissingDependencyError: A runtime that one names is not installed.
    """
    _check_runtimes(config)
    return ChannelRun(
        target=channel_target(config),
        constraints=constraints_of(config),
        plan=search_plan(config),
        ends=ends_of(config),
        placement=placement_of(config),
        bounds=bounds_by_setting(config),
        seeding=_seeding(config),
        compares=config.search.baselines == "best",
        start=start,
        latency=LatencySource(config.search.latency_table, config.search.round_to),
    )


def _check_runtimes(config: Config) -> None:
    """See that finished networks can be measured, before there is any work."""
    bounded = (one.objective for one in constraints_of(config))
    hows = map(how_of, [*config.search.objectives, *config.search.also_measure, *bounded])
    if any(how is not None and how.runtime == ONNXRUNTIME for how in hows):
        check_installed()


def _seeding(config: Config) -> Seeding:
    """The criteria that the search begins with."""
    search = config.search
    named = search.criteria
    if search.seeding == "none":
        return Seeding(("random",), search.criteria_samples, begins=False)
    return Seeding(named or ALL, search.criteria_samples, says_left_out=named is not None)


def channel_target(config: Config) -> ChannelTarget:
    """Which channels may go, and what a genome means.

    Raises:
        ConfigError: There is no function that is named for the outputs.
    """
    search = config.search
    return ChannelTarget(
        search.encoding,
        config.layers,
        search.exclude,
        search.layer_types,
        search.round_to,
        constraints_of(config),
        UsedOutputs.of(search.outputs),
    )
