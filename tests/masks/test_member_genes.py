import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evoprune.genome import BitGenome
from evoprune.masks.member_genes import MemberGenes, MemberSpace
from evoprune.masks.member_keys import member_keys

SPACE = MemberSpace(("conv.weight", "fc.weight"), may_distill=True, may_regrow=True)


@given(st.lists(st.booleans(), min_size=SPACE.length, max_size=SPACE.length))
def test_encode_gives_back_the_genome_that_was_decoded(bits):
    genome = BitGenome.from_bits(np.array(bits))
    assert SPACE.encode(SPACE.decode(genome)) == genome


def test_first_members_are_the_fixed_rule_and_a_faster_one():
    plain, faster = (MemberSpace(SPACE.names, False).decode(one) for one in MemberSpace(SPACE.names, False).first())
    assert plain == MemberGenes((1.0, 1.0), 0.5, 1.0, False)
    assert (faster.exponent, faster.rate) == (0.25, 2.0)


@pytest.mark.parametrize(("may_distill", "may_regrow"), [(False, False), (True, False), (False, True), (True, True)])
def test_mutants_distill_and_regrow_where_that_is_a_choice_and_nowhere_else(may_distill, may_regrow):
    space, generator = MemberSpace(SPACE.names, may_distill, may_regrow), np.random.default_rng(0)
    operators = space.variation(None)
    mutants = [operators.mutate(space.first()[0], generator) for _ in range(200)]
    assert any(space.decode(one).distills for one in mutants) == may_distill
    assert any(space.decode(one).regrows for one in mutants) == may_regrow
    assert len(set(mutants)) > 190


def test_member_keys_are_the_formula_in_any_order_of_magnitude():
    generator = torch.Generator().manual_seed(0)
    weights = {name: torch.randn(4, 3, generator=generator) for name in SPACE.names}
    fisher = {name: 1e-20 * torch.rand(4, 3, generator=generator) for name in SPACE.names}
    keys = member_keys(weights, fisher, MemberGenes((1.0, 4.0), 0.25, 1.0, False))
    wanted = {name: weights[name].double() ** 2 * fisher[name].double() ** 0.25 for name in SPACE.names}
    ratios = [(torch.from_numpy(keys[name]).double() / wanted[name]).numpy() for name in SPACE.names]
    assert ratios[0] == pytest.approx(np.full((4, 3), ratios[0][0, 0]), rel=1e-5)
    assert ratios[1] == pytest.approx(4 * ratios[0], rel=1e-5)
