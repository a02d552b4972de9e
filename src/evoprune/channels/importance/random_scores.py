"""Criterion `random`: the control that any other has to beat."""

from __future__ import annotations

from evoprune.channels.importance.base import Examinee, Scores
from evoprune.seeding import SeedTree


def random_scores(examinee: Examinee) -> Scores:
    """Uniform between 0 and 1, by nothing but the seed."""
    return SeedTree(examinee.seed).child("random-importance").generator().random(examinee.space.size)
