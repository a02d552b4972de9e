"""How many forward passes an analysis takes, and how many it may take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

ALLOWED: Final = 12
"""Forward passes of an analysis in which no group fails."""

PER_FROZEN: Final = 2
"""What each group that the self-check freezes adds."""


@dataclass
class Passes:
    """A count of forward passes of the whole network: dense, masked or pruned, in any mode.

    Attributes:
        used: Passes so far.
        frozen: Groups that the self-check has frozen so far.
    """

    used: int = 0
    frozen: int = 0

    def spend(self, number: int = 1) -> None:
        """Passes that run now."""
        self.used += number

    @property
    def left(self) -> int:
        """What may still be spent."""
        return ALLOWED + PER_FROZEN * self.frozen - self.used
