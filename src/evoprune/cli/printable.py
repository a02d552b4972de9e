"""Text of a run, made safe for a terminal, under the name that commands know."""

from evoprune.display.printable import printable

__all__ = ["printable"]
