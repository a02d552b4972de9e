"""What failed and why, and what makes the result worth less than it seems."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import shown
from evoprune.results import Status
from evoprune.store.journal import JournalEntry

MOST: Final = 30
"""Reasons that are listed."""
TITLES: Final = {
    "Caution": "Caution",
    "BatchHalved": "Out of memory",
    "WorkerDied": "A worker died",
    "CandidateTimedOut": "Time limit",
}


@dataclass(frozen=True)
class Reason:
    """Candidates that ended in the same way."""

    status: str
    reason: str
    count: int
    candidates: str


@dataclass(frozen=True)
class Failures:
    """What the section shows."""

    lead: str
    reasons: tuple[Reason, ...]
    more: int
    troubles: tuple[tuple[str, str], ...]


def failures_of(facts: RunFacts) -> Section | None:
    """Candidates without a usable score by reason, and the warnings of the run."""
    lost = [one for one in facts.entries if one.evaluation.status is not Status.OK]
    troubles = [(TITLES.get(one.kind, one.kind), shown(one.text, 400)) for one in facts.history.troubles]
    if not lost and not troubles:
        return None
    reasons = sorted(_reasons(lost), key=lambda one: -one.count)
    lead = f"{len(lost):,} of {len(facts.entries):,} candidates have no usable score." if lost else (
        f"None of {len(facts.entries):,} candidates failed."
    )  # fmt: skip
    shown_reasons = tuple(reasons[:MOST])
    return Section(
        "failures",
        "Failures and cautions",
        Failures(lead, shown_reasons, max(0, len(reasons) - MOST), tuple(troubles[:MOST])),
        "failures",
    )


def _reasons(lost: Sequence[JournalEntry]) -> list[Reason]:
    grouped: dict[tuple[str, str], list[int]] = defaultdict(list)
    for one in lost:
        grouped[one.evaluation.status.value, one.evaluation.reason or "no reason was given"].append(one.index)
    return [
        Reason(
            status,
            shown(reason, 400),
            len(numbers),
            ", ".join(map(str, numbers[:8])) + (" …" if len(numbers) > 8 else ""),
        )
        for (status, reason), numbers in grouped.items()
    ]
