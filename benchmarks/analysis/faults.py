"""The fault list: what each library makes of constructs that break careless surgery."""

import io
import warnings
from contextlib import redirect_stderr, redirect_stdout

import torch
from models import FAULTS, randomise
from outcomes import outcome

from evoprune.rng import isolated_rng


def fault_table(libraries):
    """-> `{fault: {library: {way of asking: (outcome, detail)}}}`."""
    return {fault: {library.name: _ask(library, *case) for library in libraries} for fault, case in FAULTS.items()}


def _ask(library, build, indices, layer="conv1"):
    inputs = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    ways = {
        "half of everything": lambda model: library.by_ratio(model, inputs),
        f"channels {indices} of {layer}": lambda model: library.by_index(model, inputs, layer, indices),
    }
    if not set(indices) <= set(range(8)) or len(set(indices)) < len(indices):
        del ways["half of everything"]  # the fault is in the numbers
    found = {}
    for way, ask in ways.items():
        with isolated_rng(0), warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            model = randomise(build())
            found[way] = outcome(library, model, inputs, lambda ask=ask, model=model: ask(model))
    return found
