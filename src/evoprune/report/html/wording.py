"""Numbers and names in words, as the page writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from evoprune.results import MetricCard, value_text

RHO: Final = "\N{GREEK SMALL LETTER RHO}"
TIMES: Final = "\N{MULTIPLICATION SIGN}"
LONGEST: Final = 90
"""Characters of a name or a reason; of a longer one the middle is left out."""
TITLES: Final = {
    "macs": "MACs",
    "params": "parameters",
    "size_bytes": "bytes on disk",
    "peak_activation_bytes": "peak activation bytes",
    "latency_ms": "latency",
}
STAGES: Final = {
    "data": "Reading data",
    "baseline": "Training the dense network",
    "analysis": "Analysis of the network",
    "criteria": "Scoring by criteria",
    "latency": "Latency table",
    "search": "Search",
    "retrain": "Last retraining",
    "report": "Judging and measuring",
}


def shown(text: str, longest: int = LONGEST) -> str:
    """A text on one line, without characters that can't be seen, and not too long."""
    visible = "".join(one if one.isprintable() else one.encode("unicode_escape").decode("ascii") for one in text)
    return visible if len(visible) <= longest else f"{visible[: longest // 2]}…{visible[-(longest // 2) :]}"


def title_of(name: str, metric: MetricCard) -> str:
    """What an objective is called; the task's metric by its own name."""
    return shown(metric.name if name in ("accuracy", "select_accuracy") else TITLES.get(name, name))


def figure_text(name: str, value: float, metric: MetricCard) -> str:
    """A value with its unit."""
    if name in ("accuracy", "select_accuracy"):
        return metric.text(value)
    if name.startswith("latency_ms"):
        return f"{value:.3f} ms"
    if name in ("macs", "params", "peak_activation_bytes"):
        return f"{value:,.0f}"
    if name == "size_bytes":
        return bytes_text(value)
    return value_text("", value, metric).strip()


def bytes_text(value: float) -> str:
    """`400.8 kB`, `2.1 MB`."""
    return f"{value / 1e6:,.1f} MB" if value >= 1e6 else f"{value / 1e3:,.1f} kB"


def compact(value: float) -> str:
    """A large number in three digits: `381 k`, `4.24 M`."""
    for limit, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:.3g} {unit}"
    return f"{value:.3g}"


def share_text(part: float, whole: float) -> str:
    """`9.0 %`; `0.03 %` where less would be left of it."""
    share = 100 * part / whole
    return f"{share:.1f} %" if share >= 1 or share == 0 else f"{share:.2g} %"


def seconds_text(seconds: float) -> str:
    """`0.4 s`, `86 s`, `12 min 3 s`, `2 h 5 min`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 120:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min"


def counted(number: int, one: str, several: str | None = None) -> str:
    """`1 candidate`, `71 candidates`."""
    return f"{number:,} {one if number == 1 else several or one + 's'}"


def listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
