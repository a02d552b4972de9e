"""What a loader's `collate_fn` made of the samples that it was given: all of them, or those that it did not drop."""

from __future__ import annotations

from typing import Any

from evoprune.data.batches import count_samples, sizes_of


def samples_left(inputs: Any, targets: Any, given: int, batch_dim: int | None = None) -> int:
    """How many samples were not dropped: the number that both sides plainly hold, where the given one is none of their sizes.

    Args:
        inputs: Inputs of the model.
        targets: Targets that the loss compares outputs with.
        given: Number of samples that were collated; the answer where nothing plain is found, as for flat lists of objects.
        batch_dim: Dimension of the samples in the inputs, where the user says it.
    """
    sides = [sizes for sizes in map(sizes_of, (inputs, targets)) if sizes]
    if not sides or any(given in sizes for sizes in sides):
        return given
    if batch_dim is not None:
        return min(given, count_samples(inputs, targets, batch_dim))
    leading = {sizes[0] for sizes in sides}
    listed = {len(side) if type(side) in (list, tuple) else -1 for side in (inputs, targets)}
    if len(leading) > 1 and len(listed) == 1 and set.intersection(*map(set, sides)) == listed:
        leading = listed
    return min(given, *leading) if len(leading) == 1 else given
