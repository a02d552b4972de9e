"""Whether swapping channels at fixed widths pays: against training the same network for as long.

    python benchmarks/quality/swaps.py --out runs/swaps --keep 0.03 --seeds 0 1
    python benchmarks/quality/swaps.py --out runs/swaps --table

A cell is a budget of MACs and a seed, a file of its own, measured once. In each, from the same trained network:

- widths: a search of widths within the budget; its winner has the weights that the search has trained;
- swaps: a second run that begins with it, `search.encoding=channel-bits ga.mutation=swap`, search and retraining;
- longer: the winner of the widths, from the weights that their search has trained, retrained for as long as swaps had for both;
- again: the same as longer with another order of the samples, which says how much of a difference is chance.

Each finished network is judged on the test set once. Differences have a standard error over the test samples, which all share.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from run import correctness, dense_weights

import evoprune as ep
from evoprune.channels.surgery import prune
from evoprune.data.batches import as_batch
from evoprune.evaluation.inheritance import inherit, read_trained
from evoprune.evaluation.training import train
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.objectives.outputs import outputs_of
from evoprune.run.factories.common import training_plan
from evoprune.run.factories.stored import recipe_source
from evoprune.seeding import SeedTree
from evoprune.store.journal import read_journal
from evoprune.store.states import StateFolder

CPU = torch.device("cpu")
NETWORKS = ("widths", "swaps", "longer", "again")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/swaps"))
    parser.add_argument("--network", default="fashion-mnist-cnn")
    parser.add_argument("--keep", nargs="+", type=float, default=[0.03, 0.1], help="shares of the MACs")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1])
    parser.add_argument("--retrain-epochs", type=float, default=1.0)
    parser.add_argument("--rate", type=float, default=0.3, help="ga.mutation_rate of the swaps")
    parser.add_argument("--table", action="store_true", help="show what is there, and measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for keep in () if args.table else args.keep:
        for seed in args.seeds:
            path = args.out / f"swaps-{args.network}-{keep:g}-{seed}.json"
            if not path.exists():
                path.write_text(json.dumps(measure(args, keep, seed), indent=1) + "\n")
                print(path.name, "measured", flush=True)
    print(table(args.out))


def measure(args: argparse.Namespace, keep: float, seed: int) -> dict:
    """One cell."""
    started = time.process_time()
    dense = dense_weights(args.out, args.network, seed)
    name = f"{args.network}-{keep:g}-{seed}"
    widths = ep.run_recipe(args.network, config=settings(args, keep, seed, dense), out=args.out / f"run-widths-{name}")
    second = settings(args, keep, seed, dense)
    second["search"] |= {"encoding": "channel-bits", "start_from": str(widths.directory)}
    second["ga"] = {"mutation": "swap", "mutation_rate": args.rate}
    swaps = ep.run_recipe(args.network, config=second, out=args.out / f"run-swaps-{name}")
    problem = recipe_source(widths.config).load()
    put_weights(problem.model, read_weights(dense), str(dense))
    epochs = args.retrain_epochs / (1 - widths.config.search.share)
    models = {"widths": widths.best.model, "swaps": swaps.best.model}
    models |= {role: retrained(widths, problem, epochs, SeedTree(seed).child(role)) for role in ("longer", "again")}
    right = {role: correctness(model.eval(), problem.task) for role, model in models.items()}
    losses = {role: test_losses(model, problem.task) for role, model in models.items()}
    return {
        "network": args.network,
        "keep": keep,
        "seed": seed,
        "retrain_epochs": args.retrain_epochs,
        "longer_epochs": epochs,
        "rate": args.rate,
        "select_loss": {"widths": widths.best.objectives["loss"], "swaps": swaps.best.objectives["loss"]},
        "swapped": swaps.best.plan != widths.best.plan,
        "accuracy": {role: float(values.mean()) for role, values in right.items()},
        "loss": {role: float(values.mean()) for role, values in losses.items()},
        "swaps - longer": {"accuracy": paired(right, "swaps"), "loss": paired(losses, "swaps")},
        "again - longer": {"accuracy": paired(right, "again"), "loss": paired(losses, "again")},
        "cpu_s": time.process_time() - started,
        "torch": torch.__version__,
    }


def settings(args: argparse.Namespace, keep: float, seed: int, dense: Path) -> dict:
    """Settings of the search of widths."""
    return {
        "search": {"constraints": [f"macs<={keep}"], "round_to": 1, "baselines": "none"},
        "training": {"retrain_epochs": args.retrain_epochs},
        "execution": {"training_threads": 1, "workers": 1},
        "data": {"checkpoint": str(dense)},
        "run": {"seed": seed},
    }


def retrained(run, problem, epochs: float, seeds: SeedTree):
    """The network that a run has finished, from the weights of its search, retrained for so many epochs on train and select."""
    plan, genome = run.best.plan, run.comparison["pruned"]["genome"]
    entry = [one for one in read_journal(run.directory / "evaluations.jsonl") if one.evaluation.genome == genome][-1]
    state = str(entry.tags["state"])
    model = prune(problem.model, plan)
    inherit(model, plan, problem.model, read_trained(StateFolder(run.directory).get_bytes(state), plan, state))
    both = problem.task.train.joined(problem.task.val)
    schedule = training_plan(run.config).retraining.over(both, epochs)
    batch = MicroBatch(None, stage="training")
    train(model, both, schedule, loss=problem.task.loss, seeds=seeds, device=CPU, micro_batch=batch)
    return model


def test_losses(model, task) -> np.ndarray:
    """[test samples] cross-entropy."""
    found = []
    for pair in outputs_of(model, task.test, device=CPU, batch_size=256):
        outputs, targets = as_batch(pair)
        found.append(torch.nn.functional.cross_entropy(outputs, targets, reduction="none").double().numpy())
    return np.concatenate(found)


def paired(values: dict[str, np.ndarray], role: str) -> list[float]:
    """Mean difference to the network that was trained for longer, and its standard error over the test samples."""
    difference = values[role] - values["longer"]
    return [float(difference.mean()), float(difference.std(ddof=1) / np.sqrt(len(difference)))]


def table(out: Path) -> str:
    """The cells as a Markdown table."""
    heads = (
        "fewer MACs",
        "seed",
        *NETWORKS,
        "swaps - longer",
        "again - longer",
        "loss: swaps - longer",
        "loss: again - longer",
    )
    rows = [f"| {' | '.join(heads)} |", "|" + "--:|" * len(heads)]
    for path in sorted(out.glob("swaps-*.json")):
        cell = json.loads(path.read_text())
        accuracies = [f"{100 * cell['accuracy'][role]:.2f}" for role in NETWORKS]
        figures = [
            f"{factor * cell[pair][what][0]:+.{digits}f} ± {1.96 * factor * cell[pair][what][1]:.{digits}f}"
            for what, factor, digits in (("accuracy", 100, 2), ("loss", 1, 4))
            for pair in ("swaps - longer", "again - longer")
        ]
        rows.append(f"| {100 * (1 - cell['keep']):g} % | {cell['seed']} | {' | '.join([*accuracies, *figures])} |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
