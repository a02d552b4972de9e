"""Listeners that keep a run in an experiment tracker; each needs the extra of its name, when it is made."""

from evoprune.tracking.mlflow import MLflow
from evoprune.tracking.tensorboard import TensorBoard
from evoprune.tracking.wandb import WandB

__all__ = ["MLflow", "TensorBoard", "WandB"]
