"""Prune a CNN on MNIST with a genetic algorithm: data, baseline, search, final model and figure, in one script.

    python examples/run_pruning.py

Change the numbers in `Config`, run again. Everything is written to `Config.OUT`, and the fitness evolution beside this script.
"""

import shutil
from pathlib import Path

import evoprune as ep
from evoprune.cli.console import Console
from evoprune.recipes.mnist_cnn import mnist_cnn


class Config:
    SEED = 0
    OUT = Path("runs/example")

    class TRAINING:
        BATCH_SIZE = 128
        EPOCHS = 5  # of the dense baseline
        FINETUNE_EPOCHS = 0.03  # of each candidate before it is scored; fractions are fine
        RETRAIN_EPOCHS = 8  # of the best network

    class GA:
        POP_SIZE = 12
        NUM_GENERATIONS = 8
        MUTATION_RATE = 0.02

    class FITNESS:
        W_ACC = 1.0  # fitness = W_ACC * accuracy + W_MACS * fraction of MACs saved
        W_MACS = 0.2


def main() -> None:
    model, task, example_inputs = mnist_cnn(seed=Config.SEED)
    with Console() as console:
        result = ep.evolve(
            model,
            task,
            example_inputs,
            seed=Config.SEED,
            workers=2,
            out=Config.OUT,
            listeners=[console],
            config={
                "training": {
                    "batch_size": Config.TRAINING.BATCH_SIZE,
                    "epochs": Config.TRAINING.EPOCHS,
                    "finetune_epochs": Config.TRAINING.FINETUNE_EPOCHS,
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
                "fitness": {"w_acc": Config.FITNESS.W_ACC, "w_macs": Config.FITNESS.W_MACS},
                "search": {"layer_types": ["conv"], "round_to": 8},
                "fidelity": {"recalibrate_batches": 2, "select_samples": 2000},
            },
        )
    console.show_result(result)
    shutil.copy(result.directory / "ga_fitness_evolution.png", Path(__file__).parent)

    small = ep.load(result.directory)
    print(f"reloaded from {result.directory}: {ep.count(small, example_inputs).macs:,} MACs")


if __name__ == "__main__":
    main()
