"""How to reproduce the run: commands, seed, versions, digests."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.sections.base import Section
from evoprune.report.html.wording import shown
from evoprune.store.run_directory import CONFIG

LONGEST_CONFIG: Final = 20_000
"""Characters of the configuration that are shown."""


@dataclass(frozen=True)
class Reproduce:
    """What the section shows."""

    lead: str
    commands: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    config: str


def reproduce_of(facts: RunFacts) -> Section:
    """Commands, and what has to be the same."""
    manifest = facts.manifest
    seed = facts.setting("run.seed")
    known = [] if seed is None else [("seed", str(seed))]
    known.append(("evoprune", manifest.evoprune))
    known += [(str(name), str(value)) for name, value in manifest.versions.items()]
    data = manifest.pinned.get("data")
    digests = data.items() if isinstance(data, dict) else ()
    known += [(f"SHA-256 of the {name} set", str(value)[:16]) for name, value in digests]
    known += [
        (f"digest of the {name}", str(manifest.pinned[name])[:16])
        for name in ("model", "space")
        if name in manifest.pinned
    ]
    if manifest.baseline_sha256 is not None:
        known.append(("SHA-256 of the dense weights", manifest.baseline_sha256[:16]))
    lead = "The same configuration, seed, data and versions write the same journal, bit for bit."
    if manifest.identity and facts.setting("search.asynchronous") is True:
        lead = "The search was asynchronous: its journal repeats itself in this directory alone."
    pairs = tuple((shown(name), shown(value)) for name, value in known)
    return Section(
        "reproduce",
        "How to reproduce",
        Reproduce(lead, _commands(facts), pairs, facts.config[:LONGEST_CONFIG]),
        "reproduce",
    )


def _commands(facts: RunFacts) -> tuple[tuple[str, str], ...]:
    if not facts.config:
        return ()
    config, page = f"{facts.directory}/{CONFIG}", ("This page again", f"evoprune report {facts.path}")
    if facts.recipe:
        return (("The run again", f"evoprune run {shlex.quote(config)} --out runs/again"), page)
    again = f"ep.evolve(model, task, example_inputs, config={config!r}, out='runs/again')"
    return (("The run again, in Python", again), page)
