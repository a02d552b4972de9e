"""Paired differences between methods over seeds, and the 95 % intervals of their means."""

import math
import statistics
from collections.abc import Sequence

from course import FINAL, STOPS
from peers import PEERS
from scipy.stats import t

# What was promised of (evolved - best peer), in points: the interval's lower end lies above it. None: nothing.
BOUNDS = dict.fromkeys(STOPS, -0.15) | {"0.985": 0.0, "0.99": 0.0, FINAL: None}


def interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean; None for fewer than two values."""
    if len(values) < 2:
        return None
    mean, error = statistics.mean(values), statistics.stdev(values) / math.sqrt(len(values))
    reach = float(t.ppf((1 + confidence) / 2, len(values) - 1)) * error
    return mean - reach, mean + reach


def differences(curves: dict[str, dict[str, dict[str, float]]], method: str = "evolved") -> list[dict]:
    """At each stop, `method` minus that peer which is better on the mean of the same seeds.

    `curves` is `{method: {seed: {stop: test accuracy, 0 to 1}}}`.
    """
    found = []
    for stop in STOPS:
        per_seed = {
            name: {seed: curve[stop] for seed, curve in curves.get(name, {}).items() if stop in curve}
            for name in (method, *PEERS)
        }
        seeds = sorted(set.intersection(*(set(one) for one in per_seed.values())))
        if not seeds:
            continue
        peer = max(PEERS, key=lambda name: statistics.mean(per_seed[name][seed] for seed in seeds))
        values = [100 * (per_seed[method][seed] - per_seed[peer][seed]) for seed in seeds]
        bounds, bound = interval(values), BOUNDS[stop]
        found.append(
            {
                "stop": stop,
                "best_peer": peer,
                "seeds": seeds,
                "differences": [round(value, 3) for value in values],
                "mean": statistics.mean(values),
                "interval": bounds,
                "bound": bound,
                "held": None if bound is None or bounds is None else bounds[0] > bound,
            }
        )
    return found
