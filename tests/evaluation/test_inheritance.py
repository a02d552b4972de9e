import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evoprune.channels.analyze import analyze
from evoprune.channels.reference import mask
from evoprune.channels.surgery import prune
from evoprune.evaluation.inheritance import inherit, read_trained, trained_bytes
from evoprune.nn_utils.calling import named_tensors
from evoprune.testing.encoding_suite import network
from evoprune.testing.tiny import SIDE

DENSE, INPUTS = network(), torch.zeros(1, 3, SIDE, SIDE)
SPACE = analyze(DENSE, INPUTS)


def trained(plan, seed=0):
    """A cut whose every number has changed."""
    model = prune(DENSE, plan)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in named_tensors(model).values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand(tensor.shape, generator=generator))
    return model


@given(keep=st.floats(0.2, 1), other=st.floats(0.2, 1), seed=st.integers(0, 50))
def test_child_has_the_parents_values_where_both_keep_and_the_dense_networks_elsewhere(keep, other, seed):
    plans = SPACE.random_plan(keep, seed), SPACE.random_plan(other, seed + 1)
    parent = trained(plans[0])
    child = prune(DENSE, plans[1])
    inherit(child, plans[1], DENSE, read_trained(trained_bytes(parent), plans[0], "a test"))
    for name, dense in named_tensors(DENSE).items():
        whole = dense.detach().clone().numpy()
        kept = [plan.kept.get(name, {}) for plan in plans]
        grid = [np.ix_(*(one.get(dim, np.arange(size)) for dim, size in enumerate(whole.shape))) for one in kept]
        whole[grid[0]] = named_tensors(parent)[name].detach().numpy()
        assert np.array_equal(named_tensors(child)[name].detach().numpy(), whole[grid[1]])


def test_heir_of_its_own_weights_computes_the_same():
    plan = SPACE.random_plan(0.5, 3)
    parent, heir = trained(plan).eval(), prune(DENSE, plan).eval()
    inherit(heir, plan, DENSE, read_trained(trained_bytes(parent), plan, "a test"))
    inputs = torch.ones(4, 3, SIDE, SIDE)
    assert torch.equal(parent(inputs), heir(inputs))


def test_narrower_heir_computes_what_the_masked_parent_does():
    wide = SPACE.plan(np.ones(SPACE.size, bool))
    narrow = SPACE.random_plan(0.5, 1)
    parent, heir = trained(wide).eval(), prune(DENSE, narrow).eval()
    inherit(heir, narrow, DENSE, read_trained(trained_bytes(parent), wide, "a test"))
    inputs = torch.ones(2, 3, SIDE, SIDE)
    assert heir(inputs).detach().numpy() == pytest.approx(mask(parent, narrow)(inputs).detach().numpy(), abs=1e-5)


def test_equal_networks_give_equal_bytes():
    plan = SPACE.random_plan(0.5, 2)
    assert trained_bytes(trained(plan)) == trained_bytes(trained(plan))
