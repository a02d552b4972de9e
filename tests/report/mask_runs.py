"""Run directories of weight masks, made by hand: what the report is drawn from, without a run."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from evoprune.store.comparison import Comparison
from evoprune.store.journal import JournalEntry
from evoprune.store.steps import StepRecord

LENET = {"conv1": 150, "conv2": 2_400, "fc1": 48_000, "fc2": 10_080, "fc3": 840}
RESNET20 = {"conv1": 432} | {
    f"layer{stage}.{block}.conv{conv}": 2304 * 4 ** (stage - 1) // (2 if stage > 1 and (block, conv) == (0, 1) else 1)
    for stage in (1, 2, 3)
    for block in range(3)
    for conv in (1, 2)
} | {"layer2.0.shortcut.0": 512, "layer3.0.shortcut.0": 2048, "fc": 640}  # fmt: skip


def entries_of(lines: list[dict[str, Any]]) -> list[JournalEntry]:
    """Lines of a journal, given as objects."""
    return [JournalEntry.from_line(json.dumps(line)) for line in lines]


@dataclass
class MaskRun:
    """A mask run as its files tell it; whatever isn't given is made up, the same every time."""

    layers: dict[str, int] = field(default_factory=lambda: dict(LENET))
    mode: str = "whole"
    goals: tuple[float | None, ...] = (0.8, 0.9, 0.95, 0.98)
    generations: int = 12
    candidates: int = 8
    polish: int = 0

    def __post_init__(self) -> None:
        self.random = np.random.default_rng(0)
        self.evaluations: list[dict[str, Any]] = []
        self.steps: list[dict[str, Any]] = []
        self.sparsity = dict.fromkeys(self.layers, 0.0)
        for number, goal in enumerate(self.goals):
            self._one_pass(number, goal)

    def _one_pass(self, number: int, goal: float | None) -> None:
        target = 0.6 + 0.1 * number if goal is None else goal
        if self.mode == "layers":
            for layer in self.layers:
                self.sparsity[layer] = target
                self._search(layer)
                self._step(number, goal, [layer])
            return
        for position, layer in enumerate(self.layers):
            self.sparsity[layer] = target * (1 - 0.3 * math.exp(-position))
        if self.mode == "independent":
            for layer in self.layers:
                self._alone(layer)
        else:
            self._search()
        self._step(number, goal, list(self.layers))

    def whole_sparsity(self) -> float:
        total = sum(self.layers.values())
        return sum(self.sparsity[layer] * size for layer, size in self.layers.items()) / total

    def quality(self, generation: int) -> float:
        lost = 0.002 / (1.005 - self.whole_sparsity())
        return float(0.99 - lost - 0.3 * math.exp(-0.4 * generation) * self.random.uniform(0.5, 1.5))

    def _search(self, layer: str | None = None) -> None:
        phases = [("keep-ratios", self.generations), ("weight-bits", self.polish)]
        for encoding, generations in phases:
            for generation in range(generations):
                for _ in range(self.candidates):
                    accuracy = self.quality(generation if encoding == "keep-ratios" else self.generations)
                    self._line(encoding, generation, accuracy, layer)

    def _line(self, encoding: str, generation: int, accuracy: float, layer: str | None) -> None:
        index = len(self.evaluations)
        line = {"index": index, "genome": f"{index:032x}", "status": "ok", "rung": 0, "generation": generation}
        whole = self.whole_sparsity()
        own = whole if layer is None else self.sparsity[layer]
        values = {"accuracy": accuracy, "loss": 3 * (1 - accuracy), "sparsity": whole, "layer_sparsity": own}
        place = {"step": len(self.steps), "encoding": encoding}
        self.evaluations.append({**line, **place, "objectives": values, "fitness": -values["loss"]})

    def _alone(self, layer: str) -> None:
        self._line("weight-bits", 0, 0.98, layer)
        history, best = [], 0.0
        for generation in range(self.generations):
            best = max(best, self.quality(generation))
            sparsity = self.sparsity[layer] * (1 - math.exp(-0.5 * (generation + 1)))
            values = {"accuracy": best, "loss": 1 - best, "sparsity": self.whole_sparsity(), "layer_sparsity": sparsity}
            history.append({"generation": generation, "fitness": best + sparsity, **values})
        self.evaluations[-1] |= {"layer": layer, "history": history}

    def _step(self, number: int, goal: float | None, layers: list[str]) -> None:
        before = self.quality(99)
        self.steps.append(
            {
                "step": len(self.steps),
                "pass": number,
                "goal": goal,
                "layers": layers,
                "layers_pruned": sum(value > 0 for value in self.sparsity.values()),
                "sparsity": self.whole_sparsity(),
                "layer_sparsity": dict(self.sparsity),
                "select_accuracy_before": before,
                "select_accuracy": before + 0.4 * (0.99 - before),
                "worst_class_accuracy": before - 0.02,
                "between": False,
                "start": "0" * 32,
                "state": "0" * 32,
                "evaluations": len(self.evaluations),
                "generations": self.generations,
                "taken": True,
            }
        )

    @property
    def entries(self) -> list[JournalEntry]:
        return entries_of(self.evaluations)

    @property
    def records(self) -> list[StepRecord]:
        return [StepRecord.from_json(step) for step in self.steps]

    def comparison(self, **changes: Any) -> Comparison:
        return Comparison.from_json({**self.document(), **changes})

    def document(self) -> dict[str, Any]:
        weights, sparsity = sum(self.layers.values()), self.whole_sparsity()
        figures = {"params": weights + 236, "macs": 416_520, "size_bytes": 4 * weights, "peak_activation_bytes": 21_280}
        rows = [
            {
                "layer": layer,
                "name": f"{layer}.weight",
                "weights": size,
                "kept": round(size * (1 - self.sparsity[layer])),
            }
            for layer, size in self.layers.items()
        ]
        steps = [{**step, "accuracy": step["select_accuracy"] - 0.001} for step in self.steps]
        pruned = {"accuracy": 0.986, "sparsity": sparsity, "nonzero_params": round(weights * (1 - sparsity)) + 236}
        return {
            "baseline": {**figures, "accuracy": 0.9895, "sparsity": 0.0, "nonzero_params": weights + 236},
            "pruned": {**figures, "size_bytes": weights // 10, **pruned},
            "layers": [{**row, "sparsity": 1 - row["kept"] / row["weights"]} for row in rows],
            "steps": steps,
            "front": [],
        }

    def write(self, directory: Path) -> Path:
        """The files that the report reads."""
        directory.mkdir(parents=True, exist_ok=True)
        lines = [json.dumps(line) + "\n" for line in self.evaluations]
        (directory / "evaluations.jsonl").write_text("".join(lines))
        (directory / "comparison.json").write_text(json.dumps(self.document()))
        (directory / "manifest.json").write_text(json.dumps({"format": 1, "identity": {}, "dense": {"accuracy": 0.99}}))
        return directory
