"""The result in one sentence, and its figures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from evoprune.report.html.facts import RunFacts
from evoprune.report.html.wording import TIMES, bytes_text, compact, share_text, shown
from evoprune.store.comparison import Comparison, CriterionFigures

LEVEL: Final = 2.0
"""Standard errors within which a difference says nothing."""


@dataclass(frozen=True)
class Tile:
    """One figure of the finished network against the dense one's.

    Attributes:
        label: What it is.
        value: The finished network's.
        before: The dense network's.
        change: How it changed.
        tone: `good`, `bad` or `plain`.
    """

    label: str
    value: str
    before: str
    change: str
    tone: str


@dataclass(frozen=True)
class Verdict:
    """What evolution added over the best criterion.

    Attributes:
        tone: `won`, `level` or `lost`.
        label: In two or three words.
        text: In a sentence.
    """

    tone: str
    label: str
    text: str


@dataclass(frozen=True)
class Result:
    """What the head of the page shows: one sentence, of which `addition` is the end, empty without a criterion's network."""

    sentence: str
    addition: str
    verdict: Verdict | None
    tiles: tuple[Tile, ...]


def result_of(facts: RunFacts) -> Result:
    """The head of the page."""
    comparison = facts.comparison
    verdict = None if comparison.criterion is None else verdict_of(comparison.criterion, comparison)
    addition = f"; {verdict.text}." if verdict else "."
    return Result(_unbroken(_sentence(facts)), _unbroken(addition), verdict, tuple(_tiles(comparison)))


def _unbroken(text: str) -> str:
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace(" ±", "\N{NO-BREAK SPACE}±")


def verdict_of(rival: CriterionFigures, comparison: Comparison) -> Verdict:
    """Whether evolution won, whichever way it went."""
    metric, name = comparison.metric, shown(rival.name)
    if rival.model.genome is not None and rival.model.genome == comparison.pruned.genome:
        return Verdict(
            "level",
            "No gain over criteria",
            f"it is the cut of {name}, the best criterion: evolution found no better one",
        )
    gain, error = metric.gain(rival.gain), rival.standard_error
    size = _with_error(metric.change(0, abs(rival.gain)), None if error is None else metric.change(0, error))
    theirs = f"the best criterion's network ({name}, trained alike)"
    unclear = error is not None and abs(gain) <= LEVEL * error
    if gain == 0 or (unclear and gain > 0):
        text = f"it is {size} ahead of {theirs}, which is within chance" if gain else f"it is level with {theirs}"
        return Verdict("level", "No clear gain over criteria", text)
    if gain > 0:
        return Verdict("won", "Ahead of the best criterion", f"it is {size} better than {theirs}")
    doubt = ", which is within chance" if unclear else ""
    return Verdict("lost", "Behind the best criterion", f"but {theirs} is {size} better{doubt}")


def _with_error(size: str, error: str | None) -> str:
    """`0.40 ± 0.10 points` of `+0.40 points` and `+0.10 points`."""
    number, _, unit = size.lstrip("+").partition(" ")
    spread = "" if error is None else f" ± {error.lstrip('+').partition(' ')[0]}"
    return f"{number}{spread} {unit}".rstrip()


def _sentence(facts: RunFacts) -> str:
    comparison = facts.comparison
    before, after, metric = comparison.baseline, comparison.pruned, comparison.metric
    judged = f"{metric.text(after.accuracy)} test {shown(metric.name)}, where the dense network has "
    judged += metric.text(before.accuracy)
    name = shown(facts.name)
    if comparison.steps is not None:
        kept, weights = _weights(comparison)
        return f"{name} keeps {kept:,} of {weights:,} weights ({_percent(kept, weights)}) at {judged}"
    macs = (after.figures.get("macs"), before.figures.get("macs"))
    costs = [f"{share_text(macs[0], macs[1])} of the MACs"] if macs[0] is not None and macs[1] else []
    costs += [f"{share_text(after.params, before.params)} of the parameters"] if before.params else []
    return f"{name} keeps {' and '.join(costs)} at {judged}"


def _percent(kept: int, weights: int) -> str:
    return share_text(kept, weights) if weights else "-"


def _weights(comparison: Comparison) -> tuple[int, int]:
    layers = comparison.layers
    return sum(one.kept for one in layers), sum(one.weights for one in layers)


def _tiles(comparison: Comparison) -> list[Tile]:
    before, after, metric = comparison.baseline, comparison.pruned, comparison.metric
    gain = metric.gain(after.accuracy) - metric.gain(before.accuracy)
    change = metric.change(before.accuracy, after.accuracy)
    tone = "plain" if abs(gain) < 1e-12 else "good" if gain > 0 else "bad"
    tiles = [
        Tile(f"test {shown(metric.name)}", metric.text(after.accuracy), metric.text(before.accuracy), change, tone)
    ]
    if comparison.steps is not None:
        kept, weights = _weights(comparison)
        tiles.append(Tile("weights that stay", f"{kept:,}", f"{weights:,}", f"{_percent(kept, weights)} left", "good"))
    kinds = (
        ("macs", "MACs", compact),
        ("params", "parameters", compact),
        ("size_bytes", "on disk", bytes_text),
        ("latency_ms", "one sample", _ms),
    )
    for name, label, text in kinds:
        one, other = before.figures.get(name), after.figures.get(name)
        if one and other and not (comparison.steps is not None and one == other):
            tiles.append(Tile(label, text(other), text(one), *_factor(one, other)))
    return tiles


def _ms(value: float) -> str:
    return f"{value:.3f} ms" if value < 10 else f"{value:.1f} ms"


def _factor(before: float, after: float) -> tuple[str, str]:
    """How many times less, or how much more, and whether that is good."""
    if after <= before:
        factor = before / after
        return (f"{factor:.1f} {TIMES} less", "good") if factor >= 1.05 else ("the same", "plain")
    return f"{100 * (after / before - 1):+.0f} %", "bad" if after > 1.05 * before else "plain"
