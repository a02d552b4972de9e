"""Trained weights that come with the package, so that pruning starts at once."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.data.tensors import TensorSource
from evoprune.errors import DataError
from evoprune.events import Decision, Listener
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.seeding import SeedTree

FOLDER: Final = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ShippedWeights:
    """The weights of one recipe and the card that says what they are.

    `benchmarks/weights/train.py` makes both. They were learnt from the train set of the recipe's split, which therefore doesn't
    depend on the run's seed: another split would score candidates on images that the network has learnt.

    Attributes:
        recipe: Name of the recipe.
    """

    recipe: str

    @property
    def path(self) -> Path:
        """The safetensors file; the card lies beside it."""
        return FOLDER / f"{self.recipe}.safetensors"

    def card(self) -> dict[str, Any]:
        """What the weights are: accuracy on test and select, how they were trained, hashes."""
        card: dict[str, Any] = json.loads(self.path.with_suffix(".json").read_text(encoding="utf-8"))
        return card

    def put_into(self, model: nn.Module, task: Task, notify: Listener) -> None:
        """Give `model` its trained weights, in place.

        Raises:
            DataError: The select set of `task` reaches into the images that the weights were learnt from.
        """
        card = self.card()
        select_size, accepted = len(task.val), card["select_size"]
        if select_size > accepted:
            raise DataError(
                f"data.select_size is {select_size:,}, but the weights of {self.recipe} have learnt all training images but "
                f"{accepted:,}",
                f"select at most {accepted:,}, or train anew: --set training.epochs={card['training']['epochs']}",
            )
        if isinstance(task.train, TensorSource) and label_order(task.train.labels) != card["label_order"]:
            notify(
                Decision(
                    "weights",
                    "the training images come in another order than the shipped weights were trained with, so the select set "
                    "holds images that they have learnt; the test set does not. --set training.epochs=N trains anew",
                )
            )
        put_weights(model, read_weights(self.path), self.path.name)


def label_order(labels: Tensor) -> str:
    """SHA-256 of the labels [n] int64 in their order: the same for every copy of a data set that keeps it."""
    return hashlib.sha256(labels.contiguous().numpy().data).hexdigest()


def split_seed(dataset: str) -> int:
    """The seed of the split into train and select, the same in every run; see `ShippedWeights`."""
    return SeedTree(0).child("recipe", dataset, "split").seed
