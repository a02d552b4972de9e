"""A criterion of your own: how strongly a channel is made and how strongly it is read, in the first generation beside others.

    python examples/custom_criterion.py

It is named in the settings as `module:function`, and can be used alone: `ep.importance(model, space, flow)`.
"""

from pathlib import Path

import numpy as np

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe as recipe

SETTINGS = {
    "search": {"criteria": [f"{Path(__file__).stem}:flow", "l1", "taylor"]},
    "training": {"epochs": 8, "retrain_epochs": 8, "batch_size": 64},
}


def flow(examinee: ep.Examinee) -> np.ndarray:
    """Norm of the weights that make a unit, times that of the weights that read it; what either side ignores can go."""
    tensors = dict(examinee.model.named_parameters())
    scores = []
    for group in examinee.space.groups:
        sides = {True: np.zeros(group.size), False: np.zeros(group.size)}
        for member in group.members:
            weight = tensors.get(member.tensor)
            if weight is not None and weight.dim() > 1:
                norms = weight.detach().movedim(member.dim, 0).flatten(1).double().norm(dim=1).cpu().numpy()
                np.add.at(sides[member.dim == 0], member.unit, norms[member.index])
        scores.append(sides[True] * sides[False])
    return np.concatenate(scores)


def main(out="runs/custom-criterion", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.4", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
