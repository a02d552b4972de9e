"""An objective of your own: how sure the network is of its mistakes, searched for beside MACs.

    python examples/custom_objective.py

It is named in the settings as `module:Class`, so that worker processes can import it.
"""

from pathlib import Path

import torch

import evoprune as ep
from evoprune.testing.tiny import tiny_recipe as recipe

SETTINGS = {
    "search": {"objectives": [f"{Path(__file__).stem}:Overconfidence", "macs"]},
    "training": {"epochs": 8, "retrain_epochs": 8, "batch_size": 64},
}


class Overconfidence:
    """Mean probability that the network gives to classes that are wrong, where its answer is wrong; lower is better."""

    name = "overconfidence"
    maximize = False
    needs_training = True  # it depends on the weights, so it is measured after fine-tuning

    def measure(self, subject: ep.Subject) -> float:
        total, wrong = 0.0, 0
        for outputs, targets in subject.outputs:
            sure, answer = torch.softmax(outputs, dim=1).max(dim=1)
            mistaken = answer != targets
            total += float(sure[mistaken].sum())
            wrong += int(mistaken.sum())
        return total / wrong if wrong else 0.0


def main(out="runs/custom-objective", config=SETTINGS):
    result = ep.evolve(*recipe(), out=out, config=config)
    for point in result.front:
        print({name: round(value, 4) for name, value in point.objectives.items()})
    return result


if __name__ == "__main__":
    main()
