"""Prune a CNN on MNIST with a genetic algorithm: data, baseline, search, final model and figure, in one script.

    python examples/run_pruning.py

Change the numbers in `Config`, run again. Everything is written to `Config.OUT`, and the fitness evolution beside this script.
"""

import shutil
from pathlib import Path

import evoprune as ep
from evoprune.recipes.mnist_cnn import mnist_cnn


class Config:
    SEED = 0
    OUT = Path("runs/example")

    class TRAINING:
        BATCH_SIZE = 128
        EPOCHS = 5  # of the dense baseline
        RETRAIN_EPOCHS = 8  # of the best network

    class GA:
        POP_SIZE = 24  # candidates of the first generation; later ones have fewer, which train for longer
        NUM_GENERATIONS = 6
        MUTATION_RATE = 0.3  # probability that a layer's width changes

    class FITNESS:
        W_ACC = 0.0  # fitness = W_ACC * accuracy + W_MACS * fraction of MACs saved - W_LOSS * loss
        W_LOSS = 1.0
        W_MACS = 0.1

    class SEARCH:
        CONSTRAINTS = ("macs<=0.09",)  # every candidate keeps them
        ROUND_TO = 4  # kept widths are multiples of this
        SHARE = 0.25  # of the compute that the search may take; the rest trains the best network


def main() -> None:
    model, task, example_inputs = mnist_cnn(seed=Config.SEED)
    result = ep.evolve(
        model,
        task,
        example_inputs,
        seed=Config.SEED,
        workers=2,
        out=Config.OUT,
        config={
            "training": {
                "batch_size": Config.TRAINING.BATCH_SIZE,
                "epochs": Config.TRAINING.EPOCHS,
                "retrain_epochs": Config.TRAINING.RETRAIN_EPOCHS,
                "lr": 0.005,
                "finetune_lr": 0.002,
                "finetune_batch_size": 64,
                "retrain_lr": 0.01,
            },
            "ga": {
                "pop_size": Config.GA.POP_SIZE,
                "num_generations": Config.GA.NUM_GENERATIONS,
                "mutation_rate": Config.GA.MUTATION_RATE,
            },
            "fitness": {
                "w_acc": Config.FITNESS.W_ACC,
                "w_loss": Config.FITNESS.W_LOSS,
                "w_macs": Config.FITNESS.W_MACS,
            },
            "search": {
                "constraints": list(Config.SEARCH.CONSTRAINTS),
                "round_to": Config.SEARCH.ROUND_TO,
                "share": Config.SEARCH.SHARE,
            },
            "fidelity": {"recalibrate_batches": 2},
        },
    )
    print(result.table())
    shutil.copy(result.directory / "ga_fitness_evolution.png", Path(__file__).parent)

    small = ep.load(result.directory)
    print(f"reloaded from {result.directory}: {ep.count(small, example_inputs).macs:,} MACs")


if __name__ == "__main__":
    main()
