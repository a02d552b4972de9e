"""Run directories of pruned channels, made by hand: what the page is made of, without a run."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

GROUPS = {"conv1": 32, "layer1": 64, "layer2.0.conv1": 128, "layer2": 128, "fc1": 256}
DENSE = {
    "accuracy": 0.992,
    "params": 421_738,
    "macs": 4_241_152,
    "size_bytes": 1_688_900,
    "peak_activation_bytes": 203_800,
}
TIMES = {"median_ms": 0.185, "p95_ms": 0.23, "spread_ms": 0.02, "passes": 200}
SLOW = {"median_ms": 0.19, "p95_ms": 0.25, "spread_ms": 0.03, "passes": 200}
TIMINGS = {
    "processor": "a CPU",
    "device": "cpu",
    "threads": 1,
    "passes": [
        {
            "batch": 1,
            "runtime": "eager",
            "baseline": TIMES,
            "pruned": SLOW,
            "slow": True,
            "why": ["launches take it all"],
        },
        {"batch": 256, "runtime": "eager", "baseline": {**TIMES, "median_ms": 20.5, "p95_ms": 21.0}, "pruned": TIMES},
    ],
    "left_out": {"onnxruntime": "not installed"},
}


@dataclass
class ChannelRun:
    """A search on a ladder as its files tell it; whatever isn't given is made up, the same every time."""

    groups: dict[str, int] = field(default_factory=lambda: dict(GROUPS))
    candidates: int = 16
    generations: int = 5
    failures: int = 2
    reason: str = "the loss is not finite"
    criterion: str | None = "l2 global"
    gain: float = 0.004
    error: float | None = 0.001
    recipe: str | None = "mnist-cnn"
    constraints: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.lines: list[dict[str, Any]] = []
        self.events: list[dict[str, Any]] = []
        self.widths: dict[str, dict[str, list[int]]] = {}
        self.alive: list[str] = []
        self._event("RunStarted", directory="runs/made", replayed=0)
        for stage, seconds in (("data", 1.5), ("baseline", 63.0)):
            self._stage(stage, seconds)
        self._event("StageStarted", stage="search", detail="")
        for generation in range(self.generations):
            self._generation(generation)
        self._event("StageEnded", stage="search", wall_s=30.0, cpu_s=28.0)
        for stage, seconds in (("retrain", 40.0), ("retrain", 41.0), ("report", 2.0)):
            self._stage(stage, seconds)
        self._event("Decision", what="layout", detail="channels last")
        self._event("RunEnded", directory="runs/made", wall_s=180.0, cpu_s=170.0)
        last = [one for one in self.lines if one["generation"] == self.generations - 1 and one["status"] == "ok"]
        self.last = sorted(last, key=lambda one: one["objectives"]["loss"])
        self.best = max(last, key=lambda one: one["fitness"])

    def _event(self, event: str, **values: Any) -> None:
        self.events.append({"time": 1.0, "event": event, **values})

    def _stage(self, stage: str, seconds: float) -> None:
        self._event("StageStarted", stage=stage, detail="")
        self._event("StageEnded", stage=stage, wall_s=seconds, cpu_s=0.9 * seconds)

    def _generation(self, number: int) -> None:
        again = self.alive[: self.candidates // 3]
        for genome in again:
            self._line(number, genome)
        for child in range(self.candidates - len(again)):
            parents = [self.alive[(3 * child + one) % len(self.alive)] for one in range(2)] if self.alive else []
            self._line(number, None, parents)
        for _ in range(self.failures if number else 0):
            self._failed(number)
        scored = [one for one in self.lines if one["generation"] == number and one["status"] == "ok"]
        scored.sort(key=lambda one: -one["fitness"])
        self.alive = [one["genome"] for one in scored]
        self._event(
            "GenerationEnded", generation=number, best_fitness=scored[0]["fitness"], mean_fitness=0.0, noise=0.01,
            hypervolume=1 + 0.2 * number, rank_correlation=0.8 if number else None, diversity=0.1,
        )  # fmt: skip

    def _line(self, generation: int, genome: str | None, parents: list[str] | None = None) -> None:
        index = len(self.lines)
        known = genome is not None
        genome = genome or f"{index + 1:032x}"
        keep = self.random.uniform(0.1, 0.9)
        if not known:
            kept = [max(1, round(size * keep * self.random.uniform(0.8, 1.1))) for size in self.groups.values()]
            criteria = [int(one) for one in self.random.integers(0, 3, len(self.groups))]
            kept = [min(one, size) for one, size in zip(kept, self.groups.values(), strict=True)]
            self.widths[genome] = {"widths": kept, "criteria": criteria}
        share = sum(self.widths[genome]["widths"]) / sum(self.groups.values())
        loss = 0.02 / share + 0.3 / (1 + generation) + 0.02 * self.random.uniform()
        values = {"loss": loss, "macs": round(DENSE["macs"] * share**2), "accuracy": 1 - loss / 4}
        line = {"index": index, "generation": generation, "rung": generation, "genome": genome, "status": "ok"}
        line |= {"objectives": values, "fitness": 0.1 * (1 - share**2) - loss}
        if parents:
            line["parents"] = parents
        elif not known and generation == 0:
            line["criterion"] = ("l1", "l2", "taylor")[index % 3] + " global"
        self.lines.append(line)
        cost = {"wall_s": 0.5, "cpu_s": 0.4}
        self._event("CandidateEvaluated", index=index, generation=generation, cost=cost, replayed=False)

    def _failed(self, generation: int) -> None:
        index = len(self.lines)
        line = {"index": index, "generation": generation, "rung": generation, "genome": f"{index + 1:032x}"}
        self.lines.append({**line, "status": "failed", "objectives": {}, "reason": self.reason})

    def front(self) -> list[dict[str, Any]]:
        found, best = [], float("inf")
        for one in sorted(self.last, key=lambda one: one["objectives"]["macs"]):
            if one["objectives"]["loss"] < best:
                best = one["objectives"]["loss"]
                values = dict(one["objectives"])
                found.append(
                    {
                        "index": one["index"],
                        "genome": one["genome"],
                        "select_accuracy": values.pop("accuracy"),
                        **values,
                    }
                )
        return found

    def document(self) -> dict[str, Any]:
        pruned = {"accuracy": 0.989, "params": 99_862, "macs": self.best["objectives"]["macs"], "size_bytes": 400_800}
        pruned |= {"peak_activation_bytes": 53_300, "latency_ms": 0.099}
        rival = {"criterion": self.criterion, "gain": self.gain, "genome": self.lines[1]["genome"], **pruned}
        rival["accuracy"] = pruned["accuracy"] - self.gain
        if self.error is not None:
            rival["standard_error"] = self.error
        return {
            "baseline": {**DENSE, "latency_ms": 0.185},
            "pruned": {"genome": self.best["genome"], **pruned},
            **({} if self.criterion is None else {"criterion": rival}),
            "front": self.front(),
            "metric": {"name": "accuracy", "unit": "%", "maximize": True},
            "objectives": ["loss", "macs"],
            "timings": TIMINGS,
        }

    def identity(self) -> dict[str, Any]:
        return {
            **({} if self.recipe is None else {"recipe": self.recipe}),
            "search": {"constraints": list(self.constraints), "encoding": "channel-widths", "seeding": "criteria"},
            "ga": {"pop_size": self.candidates, "num_generations": self.generations},
            "run": {"seed": 3, "time_budget": None},
        }

    def write(self, directory: Path) -> Path:
        """The files that the page is made of."""
        directory.mkdir(parents=True, exist_ok=True)

        def put(name: str, text: str) -> None:
            (directory / name).write_text(text, encoding="utf-8")

        put("evaluations.jsonl", "".join(json.dumps(one) + "\n" for one in self.lines))
        put("events.jsonl", "".join(json.dumps(one) + "\n" for one in self.events))
        put("comparison.json", json.dumps(self.document()))
        manifest = {"format": 1, "status": "done", "evoprune": "0.1.0", "versions": {"torch": "2.13.0"}}
        dense = {"loss": 0.03, "macs": DENSE["macs"], "accuracy": 0.99}
        pinned = {"data": {"train": "a" * 64}, "space": "b" * 32}
        put("manifest.json", json.dumps({**manifest, "identity": self.identity(), "dense": dense, "pinned": pinned}))
        groups = [{"name": name, "size": size, "layers": [name]} for name, size in self.groups.items()]
        frozen = {"fc2": "its outputs are the network's"}
        names = ["l1", "l2", "taylor"]
        put("widths.json", json.dumps({"groups": groups, "criteria": names, "networks": self.widths, "frozen": frozen}))
        put("config.yaml", "recipe: mnist-cnn\nrun:\n  seed: 3\n")
        return directory
