"""The settings of training."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from evoprune.config.fields import NonNegative, Positive, PositiveInt, Section


class TrainingConfig(Section):
    """How networks learn: the baseline, each candidate, the final model."""

    batch_size: PositiveInt = Field(128, description="samples per optimisation step")
    epochs: NonNegative = Field(0, description="epochs of the baseline; 0 when the model comes trained")
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="adamw, or sgd with Nesterov momentum 0.9")
    lr: Positive = Field(2e-3, description="peak learning rate of the baseline")
    weight_decay: NonNegative = Field(1e-2, description="weight decay of all training")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="bfloat16 trains with products of half the bits, weights stay float32; scores are float32",
    )
    clip_grad_norm: Positive | None = Field(
        None,
        description="largest norm of a step's gradient, over all weights; longer ones are scaled down to it. null: any",
    )
    finetune_epochs: NonNegative = Field(
        0.1, description="epochs a candidate is fine-tuned before it is scored, fractions allowed"
    )
    finetune_min_steps: Annotated[int, Field(ge=0)] = Field(
        20,
        description="steps that finetune_epochs above 0 stands for at least: a share of an epoch of a small set is next to "
        "nothing, and candidates then score near chance",
    )
    finetune_steps: Annotated[int, Field(ge=0)] | None = Field(
        None, description="the same in steps; when set it takes precedence, and there is no minimum"
    )
    finetune_batch_size: PositiveInt | None = Field(
        None, description="samples per fine-tuning step; batch_size when null. Smaller ones recover more per second"
    )
    finetune_lr: Positive = Field(
        1e-3,
        description="peak learning rate of fine-tuning; a ladder for a front ends with a fifth of it, one for a budget has that "
        "of retraining, and ends with a twentieth",
    )
    retrain_epochs: NonNegative = Field(
        5, description="epochs the best network is retrained on train and select together"
    )
    retrain_lr: Positive = Field(2e-3, description="peak learning rate of retraining")
    retrain_optimizer: Literal["adamw", "sgd"] | None = Field(
        None, description="optimiser of retraining; optimizer when null"
    )
    retrain_weight_decay: NonNegative | None = Field(
        None, description="weight decay of retraining; weight_decay when null"
    )
    distill: Annotated[float, Field(ge=0, le=1)] = Field(
        0,
        description="share of the loss of retraining cut networks that is the distance to the dense network's outputs",
    )
    distill_temperature: Positive = Field(
        4.0, description="temperature that softens the outputs of both networks, where they are those of classes"
    )
