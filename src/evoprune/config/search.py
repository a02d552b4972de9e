"""The settings of the search."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from evoprune.config.fields import AbsolutePath, OutputNames, PositiveInt, Section, SomeWords, Words
from evoprune.config.presets import MASK_ENCODINGS, bounds_a_cost
from evoprune.errors import ConfigError
from evoprune.objectives.constraint import Constraint


def parseable(bounds: tuple[str, ...]) -> tuple[str, ...]:
    """The bounds, if all can be read.

    Raises:
        ValueError: One can't.
    """
    for text in bounds:
        try:
            Constraint.parse(text)
        except ConfigError as error:
            raise ValueError(error.message) from error
    return bounds


class SearchConfig(Section):
    """What is searched, and how."""

    algorithm: str = Field(
        "auto",
        description="auto: ladder where search.constraints bound a cost, ladder-front otherwise; genetic, steady-state, nsga2, "
        "nsga3, random, or package.module:function",
    )
    asynchronous: bool = Field(
        False,
        description="true: no waiting for whole generations (steady-state, random), of which each counts pop_size "
        "candidates; a run is resumed exactly, but two of one seed may differ",
    )
    encoding: str = Field(
        "channel-widths",
        description="what a genome means: channel-widths or channel-bits for channels; weight-bits, neuron-bits, "
        "keep-ratios or threshold-exceptions for single weights",
    )
    preset: Literal["classic", "reference"] | None = Field(
        None,
        description="classic: channels as bits, bred by accuracy after a brief fine-tuning and the MACs saved; reference: weight "
        "masks as random masks that evolve by pruning alone, one child at a time",
    )
    seeding: Literal["criteria", "none"] = Field(
        "criteria", description="none: evolution begins at random, without any rule about what matters"
    )
    criteria: SomeWords | None = Field(
        None,
        description="criteria that order channels and make the first generation; all that score this network when null",
    )
    criteria_samples: PositiveInt = Field(256, description="training samples that criteria look at")
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.25, description="share of the compute that the search ladder may take; the rest is the last retraining"
    )
    inherit: bool = Field(
        True, description="candidates of the search ladder begin with the weights that their parents were trained to"
    )
    baselines: Literal["best", "none"] = Field(
        "best", description="best: the best criterion's network at the same bounds is finished alike, and compared"
    )
    objectives: SomeWords = Field(
        ("loss", "macs"),
        description="what is searched for: accuracy, loss, worst_class_accuracy, macs, params, size_bytes, "
        "peak_activation_bytes, latency_ms (of the example inputs) or latency_ms@batch=64,threads=2,runtime=onnxruntime (or "
        "some of these), of weight masks sparsity and layer_sparsity, or package.module:Class; nsga2 searches their front. "
        "Channels are bred by the mean gain over the dense network where one of them has no weight in fitness",
    )
    also_measure: Words = Field(
        ("accuracy",),
        description="objectives that candidates of channels are measured by besides, for tables and plots alone",
    )
    constraints: Words = Field(
        (),
        description='bounds such as "macs<=0.5", "latency_ms<=3ms"; up to 1 without unit or sign: a share of the baseline',
    )
    layers: SomeWords | None = Field(
        None,
        description="names or patterns of layers to prune; all when null. Of channels: the outputs of these may go, no others'",
    )
    exclude: Words = Field((), description="names or patterns of modules or parameters that stay as they are")
    outputs: OutputNames | None = Field(
        None,
        description="what is used of the network's outputs: a name such as logits, an index, a path such as 1.boxes, several of "
        "these, or package.module:function; the rest may change. What the recipe's task says when null",
    )
    layer_types: SomeWords | None = Field(
        None, description="layers whose units get a bit, such as [conv]; all when null"
    )
    round_to: PositiveInt = Field(
        8,
        description="kept widths are multiples of this, which kernels like, or of less where a layer is under twice as wide; "
        "1: any width",
    )

    start_from: AbsolutePath | None = Field(
        None,
        description="folder of a finished run of channels on the same dense network: the first generation holds its network and "
        "its front, brought onto the bounds of this run; on the search ladder they go on from what they had learnt",
    )
    latency_table: AbsolutePath | None = Field(
        None,
        description="a latency.json of evoprune measure or another run, for latency_ms; measured by the run itself when null",
    )

    @field_validator("constraints")
    @classmethod
    def _parseable(cls, constraints: tuple[str, ...]) -> tuple[str, ...]:
        return parseable(constraints)

    @property
    def prunes_weights(self) -> bool:
        """Whether single weights go; channels otherwise."""
        return self.encoding in MASK_ENCODINGS

    @property
    def chosen_algorithm(self) -> str:
        """The name of the search: what `auto` stands for, or what is named."""
        if self.algorithm != "auto":
            return self.algorithm
        if self.prunes_weights:
            return "genetic"
        return "ladder" if bounds_a_cost(self.constraints) else "ladder-front"
