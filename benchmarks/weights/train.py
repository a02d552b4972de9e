"""Train the weights that a recipe ships with, and write them with a card that says what they are.

    python benchmarks/weights/train.py lenet5-mnist
    python benchmarks/weights/train.py resnet20-cifar10 --set data.dir=FOLDER

The settings are the recipe's own and those of `PRESETS`; `--set` changes them as it does for `evoprune run`. It learns from the
train set alone, logs the accuracy on select after each epoch, and reads the test set once, at the end. Every fifth epoch the
weights so far are kept beside the result, in `<recipe>.partial.safetensors`.
"""

import argparse
import hashlib
import logging
import os
import platform
import shlex
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch

from evoprune.config.recipes import resolve_recipe_config
from evoprune.config.schema import Config
from evoprune.config.yaml_files import parse_overrides
from evoprune.events import EpochEnded, Event
from evoprune.nn_utils.threads import torch_threads
from evoprune.nn_utils.weights import weight_bytes
from evoprune.recipes.shipped import FOLDER, label_order
from evoprune.run.baseline import BaselineTraining, train_baseline
from evoprune.run.factories.common import training_plan, workplace_of
from evoprune.run.factories.stored import recipe_source
from evoprune.run.final_report import Judge
from evoprune.run.problem import Problem
from evoprune.seeding import SeedTree
from evoprune.store.atomic import write_atomically, write_json
from evoprune.store.manifest import Manifest

PRESETS = {
    "lenet5-mnist": {"training": {"epochs": 30}},
    "resnet20-cifar10": {"training": {"epochs": 40, "precision": "bfloat16"}},
}
ONE_THREAD = {"execution": {"training_threads": 1}}
KEEP_EVERY = 5
log = logging.getLogger("train")


def main() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    args = parse_arguments()
    config = resolve_recipe_config(args.recipe, PRESETS[args.recipe], ONE_THREAD, parse_overrides(args.set))
    problem, workplace = recipe_source(config).load(), workplace_of(config)
    workplace.place(problem.model)
    path = args.out / f"{args.recipe}.safetensors"
    keeper = EpochKeeper(problem.model, path.with_suffix(".partial.safetensors"))
    started = time.perf_counter()
    with torch_threads(config.execution.training_threads):
        plan, seeds = training_plan(config), SeedTree(config.run.seed)
        train_baseline(BaselineTraining(problem, workplace, plan.baseline, plan.epochs, seeds), keeper)
    seconds = time.perf_counter() - started
    problem.model.eval()
    test_accuracy = Judge(problem, workplace, ReadOnce()).accuracy(problem.model)
    log.info("test %.4f after %.0f s", test_accuracy, seconds)
    content = weight_bytes(problem.model)
    write_atomically(path, content)
    card = {
        "test_accuracy": test_accuracy,
        "select_accuracy": keeper.select_accuracy,
        "sha256": hashlib.sha256(content).hexdigest(),
        "command": command(args),
        "seconds": round(seconds),
    }
    write_json(path.with_suffix(".json"), {"recipe": args.recipe, **card, **circumstances(problem, config, args.note)})
    keeper.path.unlink(missing_ok=True)


def command(args: argparse.Namespace) -> str:
    """What to type to train the same, without the folders of this machine."""
    settings = ["data.dir=FOLDER" if one.startswith("data.dir=") else one for one in args.set]
    options = [part for setting in settings for part in ("--set", setting)]
    return shlex.join(["python", "benchmarks/weights/train.py", args.recipe, *options, "--note", args.note])


def circumstances(problem: Problem, config: Config, note: str) -> dict[str, object]:
    """What else the card says: what the weights were learnt from, how, and where."""
    task = problem.task
    return {
        "data": note,
        "learnt_from": f"{len(task.train):,} training images; neither the select set nor the test set",
        "select_size": len(task.select),
        "label_order": label_order(task.train.labels),
        "parameters": sum(parameter.numel() for parameter in problem.model.parameters()),
        "training": config.training.model_dump(mode="json", include={*TRAINING}),
        "seed": config.run.seed,
        "threads": config.execution.training_threads,
        "machine": f"{platform.machine()}, {workplace_of(config).device.type}",
        "torch": torch.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


TRAINING = ("batch_size", "epochs", "optimizer", "lr", "weight_decay", "precision")


class ReadOnce:
    """The manifest that counts readings of the test set, for a training outside any run."""

    manifest = Manifest()

    def update(self, manifest: Manifest) -> None:
        self.manifest = manifest


class EpochKeeper:
    """Logs each epoch, and now and then keeps the weights so far."""

    def __init__(self, model: torch.nn.Module, path: Path) -> None:
        self.path = path
        self.select_accuracy: float | None = None
        self._model = model
        path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, event: Event) -> None:
        if not isinstance(event, EpochEnded):
            return
        self.select_accuracy = event.select_accuracy
        done = event.epoch + 1
        log.info("epoch %d of %d: loss %.4f, select %s", done, event.epochs, event.loss, event.select_accuracy)
        if done % KEEP_EVERY == 0:
            write_atomically(self.path, weight_bytes(self._model))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", choices=sorted(PRESETS))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting to change")
    parser.add_argument("--out", type=Path, default=FOLDER, help="folder to write to")
    parser.add_argument("--note", default="the original", help="which copy of the data it is, for the card")
    return parser.parse_args()


if __name__ == "__main__":
    main()
