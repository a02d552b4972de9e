"""What a section of the page is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from evoprune.report.html.facts import RunFacts


@dataclass(frozen=True)
class Section:
    """A section with something to show.

    Attributes:
        id: Its anchor.
        title: Its heading.
        content: What the template shows.
        template: Name of its template.
        data: JSON that the page's script reads under the section's id; None where it reads none.
    """

    id: str
    title: str
    content: Any
    template: str
    data: Any = None


SectionOf = Callable[[RunFacts], Section | None]
"""Makes a section; None where the run has nothing for it."""
