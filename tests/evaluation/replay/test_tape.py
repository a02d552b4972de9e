"""What a recorded operation is taken to depend on."""

import pytest
import torch
from torch import nn

from evoprune.evaluation.replay.capture import NotCapturedError, capture
from evoprune.evaluation.replay.program import Program
from evoprune.evaluation.replay.recordings import same_bits
from evoprune.evaluation.replay.tape import Level


class Net(nn.Module):
    """Two linear layers side by side, joined in some way."""

    def __init__(self, join):
        super().__init__()
        self.one, self.two, self.join = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False), join

    def forward(self, x):
        return self.join(self, x)


def recorded(join, name="two.weight"):
    model, x = Net(join), torch.randn(3, 4)
    tape, output = capture(model, [name], x)
    by_name = {}
    for operation, level, live in zip(tape.operations, tape.levels(), tape.live(), strict=True):
        by_name.setdefault(operation.function._schema.name.removeprefix("aten::"), []).append((level, live))
    program = Program(tape, substitutes=True)
    for factor in (1.0, 0.5, 1.0):  # the second use of what was kept sees it as the first did
        model.get_parameter(name).data.mul_(factor)
        assert same_bits(program.finish(program.prepare(x), [model.get_parameter(name).detach()]), model(x).detach())
        kept = program.prepare(x)
        first = program.finish(kept, [model.get_parameter(name).detach()])
        assert same_bits(first, program.finish(kept, [model.get_parameter(name).detach()]))
    del output
    return by_name


def test_levels_follow_what_each_operation_reads(seeded_torch):
    levels = recorded(lambda net, x: net.two(torch.relu(net.one(x))))
    assert levels["t"] == [(Level.CONSTANT, True), (Level.CHOSEN, True)]
    assert levels["mm"] == [(Level.INPUT, True), (Level.CHOSEN, True)]
    assert levels["relu"] == [(Level.INPUT, True)]


def test_levels_make_memory_anew_that_a_candidate_writes_to(seeded_torch):
    levels = recorded(lambda net, x: net.one(x).add_(net.two(x)))
    assert levels["mm"] == [(Level.CHOSEN, True), (Level.CHOSEN, True)]


def test_levels_make_memory_anew_that_is_overwritten_after_a_candidate_read_it(seeded_torch):
    def join(net, x):
        hidden = net.one(x)
        first = net.two(hidden)
        return first + torch.relu_(hidden)

    levels = recorded(join)
    assert levels["relu_"] == [(Level.CHOSEN, True)]
    assert levels["mm"] == [(Level.CHOSEN, True), (Level.CHOSEN, True)]


def test_levels_keep_what_is_overwritten_before_any_candidate_reads_it(seeded_torch):
    levels = recorded(lambda net, x: net.two(torch.relu_(net.one(x))))
    assert levels["relu_"] == [(Level.INPUT, True)]


def test_levels_follow_writes_through_views_of_fresh_memory(seeded_torch):
    def join(net, x):
        buffer = torch.zeros(3, 8)
        buffer[:, :4] = net.one(x)
        buffer[:, 4:] = net.two(x)
        return buffer

    levels = recorded(join)
    assert levels["zeros"] == [(Level.CHOSEN, True)]
    assert levels["copy_"] == [(Level.CHOSEN, True), (Level.CHOSEN, True)]


def test_live_leaves_out_what_does_not_reach_the_output(seeded_torch):
    def join(net, x):
        torch.tanh(net.two(x))
        return net.two(x) + torch.sigmoid(net.one(x))

    levels = recorded(join)
    assert levels["tanh"] == [(Level.CHOSEN, False)]
    assert levels["sigmoid"] == [(Level.INPUT, True)]


@pytest.mark.parametrize(
    ("join", "reason"),
    [
        (lambda net, x: net.two(x.relu_()), "writes to an input"),
        (lambda net, x: net.two(x) if net.two(x).sum() > 0 else x, "depend on data"),
        (lambda net, x: net.two(torch.rand_like(x)), "chance"),
        (lambda net, x: net.two(x).gather(7, x), "does not run"),
    ],
)
def test_capture_says_what_it_cannot_record(seeded_torch, join, reason):
    with pytest.raises(NotCapturedError, match=reason):
        recorded(join)
