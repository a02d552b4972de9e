"""What `events.jsonl` says of a run that is over: stages, generations, warnings. Lines that are damaged say nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from evoprune.events import (
    BatchHalved,
    CandidateEvaluated,
    CandidateTimedOut,
    Caution,
    Decision,
    GenerationEnded,
    RunEnded,
    RunStarted,
    WorkerDied,
)

TROUBLES: Final = (Caution, BatchHalved, WorkerDied, CandidateTimedOut)


@dataclass(frozen=True)
class StageTime:
    """What a stage took, without the stages within it; of one that ran several times, all together.

    Attributes:
        name: Name of the stage.
        wall_s: Seconds on the clock.
        cpu_s: CPU seconds of all processes.
        times: Number of times that it ran.
    """

    name: str
    wall_s: float
    cpu_s: float
    times: int = 1


@dataclass(frozen=True)
class GenerationFigures:
    """What is known of a generation besides its candidates' scores; None where it was not measured.

    Attributes:
        number: Number of the generation.
        hypervolume: Hypervolume of the front, as a multiple of the box around the first generation.
        noise: Standard error of differences in fitness.
        rank_correlation: With the ranks of the same candidates on the rung before.
        diversity: Mean distance of genomes.
    """

    number: int
    hypervolume: float | None
    noise: float | None
    rank_correlation: float | None
    diversity: float | None


@dataclass(frozen=True)
class Trouble:
    """Something that went wrong, or that makes the result worth less than it seems.

    Attributes:
        kind: Name of the event.
        text: What happened, in words.
    """

    kind: str
    text: str


@dataclass(frozen=True)
class History:
    """The events of a run, all its processes together.

    Attributes:
        stages: Stages in the order in which they first ended.
        generations: By their numbers; empty for runs with several searches.
        candidate_s: Seconds on the clock that each candidate took, without those read from the journal.
        troubles: In their order, each once.
        decisions: What the run chose by a clock or by the machine, in words.
        starts: Number of times that the run was started.
        wall_s: Seconds of the process that ended the run; None where none did.
        cpu_s: Its CPU seconds; None likewise.
    """

    stages: tuple[StageTime, ...]
    generations: Mapping[int, GenerationFigures]
    candidate_s: tuple[float, ...]
    troubles: tuple[Trouble, ...]
    decisions: tuple[str, ...]
    starts: int
    wall_s: float | None
    cpu_s: float | None


def read_history(path: Path) -> History:
    """The history of a run; an empty one without the file."""
    lines = list(_lines(path))
    ended = [(one["wall_s"], one["cpu_s"]) for one in _of(lines, RunEnded) if _numbers(one, "wall_s", "cpu_s")]
    return History(
        stages=_stages(lines),
        generations=_generations(lines),
        candidate_s=tuple(_candidate_seconds(lines)),
        troubles=tuple(dict.fromkeys(_troubles(lines))),
        decisions=tuple(dict.fromkeys(f"{one.get('what')}: {one.get('detail')}" for one in _of(lines, Decision))),
        starts=sum(1 for _ in _of(lines, RunStarted)),
        wall_s=float(ended[-1][0]) if ended else None,
        cpu_s=float(ended[-1][1]) if ended else None,
    )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_bytes().splitlines() if path.is_file() else []:
        with suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict) and isinstance(document.get("event"), str):
                yield document


def _of(lines: list[dict[str, Any]], kind: type) -> Iterator[dict[str, Any]]:
    return (one for one in lines if one.get("event") == kind.__name__)


def _numbers(document: Mapping[str, Any], *names: str) -> bool:
    return all(_number(document.get(name)) is not None for name in names)


def _number(value: Any) -> float | None:
    return float(value) if type(value) in (int, float) and math.isfinite(value) else None


def _stages(lines: list[dict[str, Any]]) -> tuple[StageTime, ...]:
    """Time of each stage without that of the stages within it, so that they add up."""
    found: dict[str, StageTime] = {}
    open_stages: list[list[Any]] = []  # name, wall and CPU seconds of what has ended within it
    for one in lines:
        match one.get("event"):
            case "RunStarted":
                open_stages = []
            case "StageStarted":
                open_stages.append([one.get("stage"), 0.0, 0.0])
            case "StageEnded" if _numbers(one, "wall_s", "cpu_s"):
                name, wall_s, cpu_s = str(one.get("stage")), one["wall_s"], one["cpu_s"]
                _, inner_wall_s, inner_cpu_s = open_stages.pop() if open_stages else ("", 0.0, 0.0)
                if open_stages:
                    open_stages[-1][1:] = [open_stages[-1][1] + wall_s, open_stages[-1][2] + cpu_s]
                known = found.get(name, StageTime(name, 0.0, 0.0, 0))
                found[name] = StageTime(
                    name,
                    known.wall_s + max(0.0, wall_s - inner_wall_s),
                    known.cpu_s + max(0.0, cpu_s - inner_cpu_s),
                    known.times + 1,
                )
    return tuple(found.values())


def _generations(lines: list[dict[str, Any]]) -> dict[int, GenerationFigures]:
    found: dict[int, GenerationFigures] = {}
    for one in _of(lines, GenerationEnded):
        number = one.get("generation")
        if type(number) is int:
            names = ("hypervolume", "noise", "rank_correlation", "diversity")
            found[number] = GenerationFigures(number, *(_number(one.get(name)) for name in names))
    return dict(sorted(found.items()))


def _candidate_seconds(lines: list[dict[str, Any]]) -> Iterator[float]:
    for one in _of(lines, CandidateEvaluated):
        cost = one.get("cost")
        seconds = _number(cost.get("wall_s")) if isinstance(cost, dict) else None
        if seconds is not None and one.get("replayed") is False:
            yield seconds


def _troubles(lines: list[dict[str, Any]]) -> Iterator[Trouble]:
    names = {kind.__name__ for kind in TROUBLES}
    for one in lines:
        kind = one.get("event")
        if kind in names:
            yield Trouble(str(kind), _told(one))


def _told(one: Mapping[str, Any]) -> str:
    match one["event"]:
        case "BatchHalved":
            return f"{one.get('stage')}: out of memory, went on with {one.get('micro_batch')} samples per pass"
        case "WorkerDied":
            return f"{one.get('reason')}; its candidate was {'tried again' if one.get('retried') else 'given up'}"
        case "CandidateTimedOut":
            return f"a candidate took longer than {one.get('limit_s')} s and was given up"
        case _:
            return f"{one.get('what')}: {one.get('detail')}"
