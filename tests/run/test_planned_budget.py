"""Budgets in milliseconds that a table sets whose latencies fall now and then as layers get wider."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evoprune.genome import BitGenome
from evoprune.objectives.constraint import Constraint
from evoprune.rng import isolated_rng
from evoprune.run.channel_work import ChannelTarget
from evoprune.space.analysis import trace_space
from evoprune.space.latency_model import LatencyModel
from tests.space.latency_tables import table_of

with isolated_rng(0):
    MODEL = nn.Sequential(
        *(nn.Conv2d(3, 12, 3), nn.ReLU(), nn.Conv2d(12, 20, 3), nn.ReLU()),
        *(nn.Conv2d(20, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 5)),
    )
SPACE = trace_space(MODEL, torch.zeros(1, 3, 8, 8))


def encoding_for(name, seed, share, round_to):
    """An encoding with a bound in milliseconds from a table that falls and rises; with the table's word and the bound."""
    table = table_of(SPACE, seed=seed)
    narrow = np.concatenate([np.arange(group.size) < 2 for group in SPACE.groups])
    least = float(LatencyModel(SPACE.groups, table.rising).predict(narrow))
    limit = least * (1 + share)
    bound = (Constraint("latency_ms", at_most=True, bound=limit, relative=False),)
    target = ChannelTarget(name, None, (), None, round_to, bound)
    return target.encoding(SPACE, latencies={"latency_ms": table}), LatencyModel(SPACE.groups, table), limit


@pytest.mark.parametrize("name", ["channel-widths", "channel-bits"])
@given(
    seed=st.integers(0, 10_000),
    genome_seed=st.integers(0, 100),
    share=st.floats(0.0, 2.0),
    round_to=st.sampled_from([1, 2]),
)
def test_repair_changes_nothing_twice_and_keeps_the_bound_where_latencies_fall(
    name, seed, genome_seed, share, round_to
):
    encoding, truth, limit = encoding_for(name, seed, share, round_to)
    bits = np.random.default_rng(genome_seed).random(encoding.length) < 0.5
    genome = encoding.repair(BitGenome.from_bits(bits))
    assert encoding.repair(genome) == genome
    widths = encoding.widths(genome)
    kept = np.concatenate([np.arange(group.size) < widths[group.name] for group in SPACE.groups])
    assert float(truth.predict(kept)) <= limit * (1 + 1e-9)


@given(seed=st.integers(0, 10_000), row_seed=st.integers(0, 100))
def test_rising_latencies_are_nowhere_below_the_others_and_never_fall(seed, row_seed):
    table = table_of(SPACE, seed=seed)
    rising, truth = (LatencyModel(SPACE.groups, one) for one in (table.rising, table))
    row = np.random.default_rng(row_seed).random(SPACE.size) < 0.5
    wider = np.maximum.accumulate(np.concatenate([row[None], np.eye(SPACE.size, dtype=bool)]), axis=0)
    found = rising.predict(wider)
    assert (np.diff(found) >= -1e-12).all()
    assert (found >= truth.predict(wider) - 1e-12).all()


def test_fractions_are_of_what_the_table_says_of_the_dense_network():
    table = table_of(SPACE, seed=0)
    assert table.rising.predicted_dense_ms > table.predicted_dense_ms
    target = ChannelTarget("channel-widths", None, (), None, 1, (Constraint.parse("latency_ms<=0.9"),))
    assert target.budget(SPACE, {"latency_ms": table}).limits == {
        "latency_ms": pytest.approx(0.9 * table.predicted_dense_ms)
    }
