"""Candidates of a real run on the smallest network, apart from the other jobs: workers of those need not import a run."""

from __future__ import annotations

import numpy as np
import torch

from evoprune.channels.analyze import analyze
from evoprune.execution.base import Job
from evoprune.genome import BitGenome
from evoprune.run.channel_work import CandidateWork, ChannelTarget
from evoprune.run.measures import Wanted
from evoprune.run.problem import RecipeSource
from evoprune.run.training_plan import Learning, TrainingPlan
from evoprune.run.workplace import Workplace
from evoprune.seeding import SeedTree
from evoprune.testing.executor_jobs import TINY
from evoprune.testing.tiny import tiny_recipe


def tiny_work() -> tuple[CandidateWork, list[Job]]:
    """Candidates of a real run on the smallest network, whose training draws random numbers: the factory, and three jobs."""
    model, _, example_inputs = tiny_recipe()
    space = analyze(model, example_inputs)
    encoding = ChannelTarget("channel-bits", None, (), None, round_to=8).encoding(space)
    learning = Learning(batch_size=64, optimizer="adamw", lr=1e-3, weight_decay=1e-2, precision="float32")
    work = CandidateWork(
        encoding=encoding,
        wanted=Wanted(("accuracy", "macs"), (), (), {"accuracy": 1.0, "macs": 1.0}, masks=False),
        constraints=(),
        training=TrainingPlan(learning, learning, learning, 0, 0, 0, 3, 0, recalibrate_batches=0, select_samples=None),
        workplace=Workplace(torch.device("cpu"), 1, 1, channels_last=False, isolation="none"),
        source=RecipeSource(TINY, None, None, seed=0),
        weights=None,
        samples=space.workload.samples,
        baseline={},
        seeds=SeedTree(0),
    )
    generator = np.random.default_rng(0)
    genomes = [encoding.repair(BitGenome.from_bits(generator.random(encoding.length) < 0.7)) for _ in range(3)]
    return work, [Job(index, genome, rung=0) for index, genome in enumerate(genomes)]
