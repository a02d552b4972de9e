"""Text of a run, made safe for a terminal: names and reasons may hold anything."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""`text` with its control characters written as `\x1b` and the like.

    They could move the cursor, set the window's title or turn the direction of writing, and half of a surrogate pair can't be
    written at all. Line breaks and tabs stay.
    """
    return "".join(one if one.isprintable() or one in "\n\t" else _escaped(one) for one in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
