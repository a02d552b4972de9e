"""When to stop starting workers that don't come up."""

from __future__ import annotations

import time
from typing import Final

_AT_LEAST: Final = 3


class FailedStarts:
    """Counts workers that were gone before they could do anything, since the last one that could.

    Args:
        patience_s: Seconds that starts may go on failing.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._count, self._since = 0, 0.0

    def reset(self) -> None:
        """One has begun to work."""
        self._count = 0

    def add(self) -> bool:
        """One more has failed: whether it is time to give up."""
        self._count += 1
        if self._count == 1:
            self._since = time.monotonic()
        return self._count >= _AT_LEAST and time.monotonic() - self._since >= self._patience_s
