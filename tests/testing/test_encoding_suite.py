import numpy as np
import pytest

from evoprune.channels.channel_bits import ChannelBits
from evoprune.genome import BitGenome, Segment
from evoprune.testing.encoding_suite import EncodingSuite


class TestChannelBits(EncodingSuite):
    def encoding(self, space):
        return ChannelBits(space)


class TestChannelBitsInSteps(EncodingSuite):
    def encoding(self, space):
        return ChannelBits(space, round_to=4)


class TestChannelBitsOfConvolutions(EncodingSuite):
    def encoding(self, space):
        return ChannelBits(space, layer_types=("conv",))


class Deaf(ChannelBits):
    """Hears nothing: every genome names the same plan."""

    def decode(self, genome):
        return super().decode(BitGenome.from_bits(np.ones(self.length, dtype=bool)))


class Restless(ChannelBits):
    """Repairs what needs no repair."""

    def repair(self, genome):
        return super().repair(BitGenome.from_bits(np.roll(genome.bits, 1)))


class Short(ChannelBits):
    """Leaves its last position to nobody."""

    def __init__(self, space):
        super().__init__(space)
        last = self.segments[-1]
        self.segments = (*self.segments[:-1], Segment(last.name, last.start, last.size - 1))


@pytest.mark.parametrize(
    ("kind", "test", "message"),
    [
        (Deaf, "test_bits_make_a_difference", "name the same plan"),
        (Restless, "test_repair_is_pure_and_changes_nothing_twice", "not left alone"),
        (Short, "test_segments_cover_the_genome_without_gaps", "ends elsewhere"),
    ],
)
def test_suite_fails_an_encoding_that_breaks_the_contract(kind, test, message):
    class Suite(EncodingSuite):
        def encoding(self, space):
            return kind(space)

    with pytest.raises(AssertionError, match=message):
        getattr(Suite(), test)()
