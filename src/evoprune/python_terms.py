"""Errors in the words of who called from Python: arguments, where the command line has options and files have settings."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from evoprune.errors import EvopruneError

OPTIONS: Final = {
    "--out": "out=",
    "--lr": "lr=",
    "--epochs": "epochs=",
    "--point": "point=",
    "--constraint": "constraints=",
    "--layer": "layers=",
    "--exclude": "exclude=",
    "--seed": "seed=",
    "--workers": "workers=",
    "--time-budget": "time_budget=",
}
SETTINGS: Final = {
    "search.constraints": "constraints",
    "search.layers": "layers",
    "search.exclude": "exclude",
    "search.encoding": "encoding",
    "execution.workers": "workers",
    "run.seed": "seed",
    "run.time_budget": "time_budget",
    "run.out": "out",
}
"""Settings that `evolve` has arguments for."""


@contextmanager
def in_python_terms(settings: Mapping[str, str] | None = None) -> Iterator[None]:
    """Have errors of the block name arguments.

    Args:
        settings: The arguments of the function that was called, by the settings that they stand for.
    """
    try:
        yield
    except EvopruneError as error:
        terms = {**OPTIONS, **(settings or {})}
        error.message, error.hint = _in_terms(error.message, terms), _in_terms(error.hint, terms)
        error.args = (error.message, error.hint)
        raise


def _in_terms(text: str, terms: Mapping[str, str]) -> str:
    for word, argument in terms.items():
        # `search.constraints is`, but not `search.constraints_x`; `--set` stays, as does an option of `evoprune measure`.
        text = re.sub(rf"(?<![\w.-]){re.escape(word)}(?=$|[^\w.-]|\.(?:\s|$))(?!=)", argument, text)
    return text
