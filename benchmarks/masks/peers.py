"""Iterative pruning by a fixed rule, with the parts of evoprune: the peers of evolved masks, and ablations of them.

    python benchmarks/masks/peers.py --method lamp --seed 0 --course course.json --out lamp-0.json

From the shipped LeNet-5, at each level of the course the weights of the lowest scores go, over all layers at once, and the rest
is trained on. `random-once` draws one mask per milestone from the dense network and trains as many steps as the others have had
by then. The test set is read once per milestone, after everything is trained; nothing is decided by it.
"""

import argparse
import json
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from course import last_at_milestones, milestone_of, read_course

from evoprune.evaluation.training import train
from evoprune.masks.maskable import maskable_weights
from evoprune.masks.space import MaskSpace
from evoprune.masks.structures import Unstructured
from evoprune.masks.weight_scores import weight_scores
from evoprune.nn_utils.fingerprint import fingerprint
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.nn_utils.weights import put_weights, weights_of
from evoprune.objectives.accuracy import score
from evoprune.recipes.lenet5 import lenet5_mnist
from evoprune.run.mask_training import FISHER_BATCH
from evoprune.seeding import SeedTree

CPU = torch.device("cpu")
SCORING_BATCH = 250
PEERS = ("lamp", "magnitude")
ABLATIONS = ("root-fisher", "fisher")
ONE_SHOT = "random-once"
METHODS = (*PEERS, *ABLATIONS, ONE_SHOT)


class Pruning:
    """A network on its way along a course; the order of samples depends on seed and level alone, not on the method."""

    def __init__(self, course, seed, task, model):
        self.course, self.task, self.model = course, task, model
        self.seeds = SeedTree(seed).child("benchmark", "masks")
        self.weights = maskable_weights(model)
        self.alive = {weight.name: np.ones(weight.size, dtype=np.bool_) for weight in self.weights}

    def keep(self, kept, method, level):
        """Leave the `kept` weights of the highest scores alive."""
        space = MaskSpace(
            self.weights, self.alive, kept, {}, Unstructured(), frozenset(), fingerprint(self.model)
        )  # fmt: skip
        self.alive = space.choose(self._scores(method, level))

    def _scores(self, method, level):
        if method == ONE_SHOT:
            generator = self.seeds.child("random", level).generator()
            return {weight.name: generator.random(weight.size, dtype=np.float32) for weight in self.weights}
        samples = self.task.train.batches(FISHER_BATCH, device=CPU, seed=self.seeds.child("fisher", level).seed)
        batches = islice(samples, -(-self.course.fisher_samples // FISHER_BATCH))
        scores = weight_scores(self.model, self.weights, [method], batches, self.task.loss)[method]
        return {name: value.ravel() for name, value in scores.items()}

    def train(self, steps, level, samples=None):
        """Train on with the masks held, through one rise and fall of the rate; on the train set unless told otherwise."""
        schedule = self.course.schedule_of(steps)
        train(
            self.model,
            samples or self.task.train,
            schedule,
            loss=self.task.loss,
            seeds=self.seeds.child("train", level),
            device=CPU,
            micro_batch=MicroBatch(schedule.batch_size, stage="training a peer"),
            masks={one.name: torch.from_numpy(self.alive[one.name].reshape(one.shape)) for one in self.weights},
        )

    def finish(self):
        """What follows the last level."""
        self.train(self.course.final_steps, "final", self.task.train.joined(self.task.select))

    def test_accuracy(self):
        """The one look at the test set that a network gets."""
        return score(self.model, self.task.test, self.task.metric, device=CPU, batch_size=SCORING_BATCH)

    def figures(self):
        """What is known of the network without a look at the test set."""
        select = score(self.model, self.task.select, self.task.metric, device=CPU, batch_size=SCORING_BATCH)
        kept = sum(int((self.model.get_parameter(weight.name) != 0).sum()) for weight in self.weights)
        return {"kept": kept, "sparsity": 1 - kept / sum(one.size for one in self.weights), "select_accuracy": select}


def iterative(pruning, method):
    """Yield after each level: training steps and CPU seconds so far."""
    steps, cpu_s = 0, 0.0
    for index, level in enumerate(pruning.course.levels):
        started = time.process_time()
        pruning.keep(level.kept, method, index)
        pruning.train(level.steps, index)
        steps, cpu_s = steps + level.steps, cpu_s + time.process_time() - started
        yield steps, cpu_s


def at_once(pruning, method):
    """The same for each milestone on its own, every time from the dense network."""
    dense, alive, steps = clones(pruning.model), pruning.alive, 0
    for index, level in enumerate(pruning.course.levels):
        steps += level.steps
        if milestone_of(level.sparsity) is None:
            continue
        put_weights(pruning.model, dense, "the dense network")
        pruning.alive, started = alive, time.process_time()
        pruning.keep(level.kept, method, index)
        pruning.train(steps, index)
        yield steps, time.process_time() - started


def clones(model):
    return {name: value.clone() for name, value in weights_of(model).items()}


def run_method(course, method, seed, problem):
    """One method with one seed: the document that `--out` gets."""
    model, task, _ = problem
    if course.channels_last:
        model.to(memory_format=torch.channels_last)
    pruning, started, points, weights = Pruning(course, seed, task, model), time.perf_counter(), [], []
    for steps, cpu_s in (at_once if method == ONE_SHOT else iterative)(pruning, method):
        points.append({**pruning.figures(), "steps": steps, "cpu_s": round(cpu_s, 2)})
        weights.append(clones(model))
        print(
            f"{method}, seed {seed}: {points[-1]['sparsity']:.2%} sparse after {steps:,} steps, "
            f"select {points[-1]['select_accuracy']:.4f}",
            file=sys.stderr,
            flush=True,
        )
    final = None
    if course.final_steps:
        before = time.process_time()
        pruning.finish()
        cpu_s = round(points[-1]["cpu_s"] + time.process_time() - before, 2)
        final = {**pruning.figures(), "steps": course.total_steps, "cpu_s": cpu_s}
    wall_s = round(time.perf_counter() - started, 1)
    if final is not None:
        final["accuracy"] = pruning.test_accuracy()
    milestones = last_at_milestones(points).values()
    for point in milestones:
        put_weights(model, weights[points.index(point)], "a milestone")
        point["accuracy"] = pruning.test_accuracy()
    return {
        "method": method,
        "seed": seed,
        "course": course.digest,
        "wall_s": wall_s,
        "test_set_reads": len(milestones) + (final is not None),
        "points": points,
        "final": final,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--method", choices=METHODS, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--course", type=Path, required=True, help="levels and schedule, as JSON")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    course = read_course(args.course)
    with torch_threads(course.threads):
        document = run_method(course, args.method, args.seed, lenet5_mnist(select_size=course.select_size))
    unfinished = args.out.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(document, indent=1) + "\n")
    unfinished.replace(args.out)


if __name__ == "__main__":
    main()
