"""All that the page of a finished run is made of, read from its directory."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evoprune.space.latency_files import tables_of
from evoprune.space.latency_table import LatencyTable
from evoprune.store.claim import MANIFEST
from evoprune.store.comparison import Comparison, damage_told, read_comparison
from evoprune.store.event_history import History, read_history
from evoprune.store.journal import JournalEntry, read_journal
from evoprune.store.manifest import Manifest, read_manifest
from evoprune.store.run_directory import COMPARISON, CONFIG, EVENTS, JOURNAL
from evoprune.store.widths import WIDTHS, Widths, read_widths

POINTS = "points"
LATENCY_TABLES = "latency.json"


@dataclass(frozen=True)
class RunFacts:
    """A finished run.

    Attributes:
        directory: The run directory, as it was named.
        comparison: What its models came to.
        manifest: What it was begun with.
        entries: Its journal.
        history: Its events.
        widths: Widths of its networks; None where they were not kept.
        finished: Points of the front that were finished later, by their numbers.
        latency: Latency tables that it predicts by.
        config: Text of its configuration; empty where there is none.
    """

    directory: Path
    comparison: Comparison
    manifest: Manifest
    entries: Sequence[JournalEntry]
    history: History
    widths: Widths | None
    finished: Mapping[int, Comparison]
    latency: tuple[LatencyTable, ...]
    config: str

    def setting(self, path: str, default: Any = None) -> Any:
        """A setting that the run was begun with, such as `search.constraints`."""
        value: Any = self.manifest.identity
        for key in path.split("."):
            value = value.get(key) if isinstance(value, Mapping) else None
        return default if value is None else value

    @property
    def recipe(self) -> str:
        """The recipe; empty for a run that was started from Python with a network in hand."""
        known = self.setting("recipe")
        return known if isinstance(known, str) else ""

    @property
    def name(self) -> str:
        """What the page calls the run's network."""
        return self.recipe or self.directory.resolve().name

    @property
    def path(self) -> str:
        """The directory as a command line takes it."""
        return shlex.quote(str(self.directory))


def read_facts(directory: Path) -> RunFacts:
    """Read a finished run.

    Raises:
        UsageError: There is no finished run in the directory.
        StoreCorruptedError: A file of it is damaged.
    """
    comparison, entries = read_comparison(directory), read_journal(directory / JOURNAL)
    manifest = read_manifest(directory / MANIFEST)
    with damage_told(directory / MANIFEST):
        if manifest is None:
            raise ValueError("it is not one of a run")
    with damage_told(directory / WIDTHS):
        widths = read_widths(directory)
    with damage_told(directory / LATENCY_TABLES):
        tables = directory / LATENCY_TABLES
        latency = tables_of(tables.read_text(encoding="utf-8")) if tables.is_file() else ()
    config = directory / CONFIG
    return RunFacts(
        directory=directory,
        comparison=comparison,
        manifest=manifest,
        entries=entries,
        history=read_history(directory / EVENTS),
        widths=widths,
        finished=_finished(directory / POINTS),
        latency=latency,
        config=config.read_text(encoding="utf-8", errors="replace") if config.is_file() else "",
    )


def _finished(folder: Path) -> dict[int, Comparison]:
    """Points that are finished; of one that was begun there is no comparison yet."""
    found = sorted(folder.glob(f"*/{COMPARISON}")) if folder.is_dir() else []
    return {int(one.parent.name): read_comparison(one.parent) for one in found if one.parent.name.isdecimal()}
