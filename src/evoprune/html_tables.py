"""Tables as a notebook shows them: HTML without scripts, styles of its own sheet, or anything from elsewhere."""

from __future__ import annotations

import html
from collections.abc import Sequence


def html_table(
    title: str, headings: Sequence[str], rows: Sequence[Sequence[str]], notes: Sequence[str] = (), *, most: int = 40
) -> str:
    """A table whose first column is text and whose others are numbers; every cell is text alone.

    Args:
        title: Words above it.
        headings: One for each column.
        rows: Cells of each row.
        notes: Lines below it.
        most: Rows that are shown; how many there are besides is said.
    """
    more = [f"and {len(rows) - most} more"] if len(rows) > most else []
    body = "".join(f"<tr>{_cells(row, 'td')}</tr>" for row in rows[:most])
    below = "".join(f'<div style="font-size:0.9em">{html.escape(note)}</div>' for note in [*more, *notes])
    head = f"<thead><tr>{_cells(headings, 'th')}</tr></thead>"
    return f"<div><strong>{html.escape(title)}</strong><table>{head}<tbody>{body}</tbody></table>{below}</div>"


def _cells(row: Sequence[str], tag: str) -> str:
    return "".join(
        f'<{tag} style="padding:0.1em 0.6em;text-align:{"right" if number else "left"}">{html.escape(cell)}</{tag}>'
        for number, cell in enumerate(row)
    )
