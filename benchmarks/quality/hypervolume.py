"""How much of a front a search covers per CPU second: the default search without a budget against `search.preset=classic`.

    python benchmarks/quality/hypervolume.py --out runs/hypervolume --seeds 0 1 2

Both start from one dense network and have no bounds. A front is that of a run's journal: of its last generation where
generations differ in training, else of all. Its volume is the area in error on select and log of the share of MACs, between the
front and a corner: an error of 25 % at all of the MACs, down to no error at 1 % of them; 1 would be all of it. Besides the volume
per CPU second it says how much sooner the default search has covered as much as classic does in the end. Runs that are finished
are not done again.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch

import evoprune as ep
from evoprune.run.front import last_rung, usable
from evoprune.search.pareto import hypervolume_2d
from evoprune.store.journal import read_journal

WORST_ERROR, LEAST_MACS = 0.25, 0.01
SEARCHES = {"default": {}, "classic": {"preset": "classic"}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/hypervolume"))
    parser.add_argument("--network", default="fashion-mnist-cnn")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for seed in args.seeds:
        found = {name: measured(args, name, seed) for name in SEARCHES}
        ratio = found["default"]["rate"] / found["classic"]["rate"]
        wanted = found["classic"]["volume"]
        reached = next((cpu_s for cpu_s, volume in found["default"]["course"] if volume >= wanted), None)
        sooner = found["classic"]["cpu_s"] / reached if reached else None
        rows.append({"seed": seed, "ratio": ratio, "reached_s": reached, "sooner": sooner, **found})
        print(row(rows[-1]), flush=True)
    (args.out / "hypervolume.json").write_text(json.dumps(rows, indent=1) + "\n")


def measured(args: argparse.Namespace, name: str, seed: int) -> dict:
    """Volume, CPU seconds and points of one search."""
    directory = args.out / f"{name}-{seed}"
    result = ep.run_recipe(args.network, config=settings(args, name, seed), out=directory)
    journal = read_journal(directory / "evaluations.jsonl")
    dense = json.loads((directory / "comparison.json").read_text())["baseline"]["macs"]
    volume = volume_of(usable(last_rung(journal)), dense)
    seconds = cpu_seconds(directory, "search")
    return {
        "volume": volume,
        "cpu_s": seconds,
        "rate": volume / seconds,
        "points": len(result.front),
        "course": course(directory, journal, dense),
    }


def volume_of(entries, dense: float) -> float:
    """Area in front of the front of some candidates, as a share of all of it."""
    values = [one.evaluation.objectives for one in entries]
    costs = np.array([[1 - one["accuracy"], np.log(one["macs"] / dense) / -np.log(LEAST_MACS) + 1] for one in values])
    return float(hypervolume_2d(costs, (WORST_ERROR, 1.0)) / WORST_ERROR)


def course(directory: Path, journal, dense: float) -> list[tuple[float, float]]:
    """CPU seconds of the search by the end of each generation, and the volume of what there is to choose from by then."""
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    spent = {one["index"]: one["cost"]["cpu_s"] for one in events if one["event"] == "CandidateEvaluated"}
    found = []
    for generation in sorted({one.generation for one in journal}):
        before = [one for one in journal if one.generation <= generation]
        found.append((sum(spent[one.index] for one in before), volume_of(usable(last_rung(before)), dense)))
    return found


def settings(args: argparse.Namespace, name: str, seed: int) -> dict:
    """A run that without bounds, from the same dense network."""
    given = {
        "search": {"constraints": [], "baselines": "none", **SEARCHES[name]},
        "execution": {"training_threads": 1, "workers": 1},
        "run": {"seed": seed},
    }
    first = args.out / f"default-{seed}"
    return given if name == "default" else {**given, "data": {"checkpoint": str(first / "baseline/model.safetensors")}}


def cpu_seconds(directory: Path, stage: str) -> float:
    """CPU seconds that the stage took."""
    events = [json.loads(line) for line in (directory / "events.jsonl").read_text().splitlines()]
    return sum(one["cpu_s"] for one in events if one["event"] == "StageEnded" and one["stage"] == stage)


def row(found: dict) -> str:
    """One seed in a line."""
    cells = [f"{name}: volume {found[name]['volume']:.3f} in {found[name]['cpu_s']:.1f} CPU s" for name in SEARCHES]
    sooner = "never" if found["sooner"] is None else f"{found['sooner']:.1f} times sooner"
    per_second = f"{found['ratio']:.1f} times as much per CPU second"
    return f"seed {found['seed']}: {'; '.join(cells)}; {per_second}; as much as classic: {sooner}"


if __name__ == "__main__":
    main()
