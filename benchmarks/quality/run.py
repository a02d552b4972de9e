"""Evolved networks against the criteria at equal compute, cell by cell: a network, a budget, a seed.

    python benchmarks/quality/run.py --out runs/quality --networks fashion-mnist-cnn --keep 0.1 0.03 --seeds 0 1 2
    python benchmarks/quality/run.py --out runs/quality --table

Every cell is a file of its own and is measured once; a run that was interrupted goes on with the next cell. What is compared:

- evolved: `evoprune.evolve` at the budget with its defaults; search and retraining together are the compute of the cell;
- each criterion, global and uniform: its cut at the same budget, trained on 20,000 images and scored on select, which is free;
- the best of them by that score, and the median one: trained for as long as evolved has had in all, search included.

`--cost` names what is bounded: MACs, or a latency such as `latency_ms@batch=64`, for which all cuts are brought onto the same
budget by the table that the evolved run has measured; the finished networks are then timed whole, by turns. `--criteria-by
macs` cuts as a tool does that knows no milliseconds: by MACs, at any width, to the largest share of them at which the network,
measured whole, keeps the budget.

All are judged on the test set once, with the same retraining schedule. The difference to the best criterion has a standard error
over the test samples, which all networks see.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

import evoprune as ep
from evoprune.channels.channel_widths import ChannelWidths
from evoprune.channels.first_generation import at_budget
from evoprune.channels.measured_orders import measure_orders
from evoprune.channels.surgery import prune
from evoprune.config.recipes import resolve_recipe_config
from evoprune.data.batches import as_batch
from evoprune.evaluation.recalibrate import recalibrate_batch_norm
from evoprune.evaluation.training import train
from evoprune.events import ignore
from evoprune.nn_utils.memory import MicroBatch
from evoprune.nn_utils.threads import torch_threads
from evoprune.nn_utils.weights import put_weights, read_weights
from evoprune.objectives.constraint import Constraint
from evoprune.objectives.latency import forward_pass, measure_latency_ms
from evoprune.objectives.latency_names import how_of
from evoprune.objectives.outputs import outputs_of
from evoprune.objectives.scores import losses_of
from evoprune.run.factories.common import training_plan
from evoprune.run.factories.stored import recipe_source
from evoprune.run.planned_budget import planned_budget, planned_costs
from evoprune.run.seeding_criteria import ALL
from evoprune.seeding import SeedTree
from evoprune.space.latency_files import tables_of

CPU = torch.device("cpu")
CHOOSING = 20_000
"""Images that each criterion's cut is trained on before the best is chosen."""
HALVINGS = 7
"""Networks that are timed to find where a criterion's cut keeps a latency."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/quality"))
    parser.add_argument("--networks", nargs="+", default=["fashion-mnist-cnn", "mnist-cnn"])
    parser.add_argument("--cost", default="macs", help="what is bounded, such as latency_ms@batch=64")
    parser.add_argument(
        "--criteria-by",
        choices=["cost", "macs"],
        default="cost",
        help="what criteria cut by where a latency is bounded",
    )
    parser.add_argument("--keep", nargs="+", type=float, default=[0.25, 0.1, 0.03], help="shares of the dense cost")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument(
        "--retrain-epochs", type=float, default=8.0, help="of the evolved network; 8 is the recipes' own"
    )
    parser.add_argument("--data-dir", help="folder of the data, for data sets that can't be fetched")
    parser.add_argument("--set", nargs="*", default=[], help="other settings of the search, key=value")
    parser.add_argument("--table", action="store_true", help="show what is there, and measure nothing")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in () if args.table else args.seeds:  # interleaved: after each seed there is something of every cell
        for network in args.networks:
            for keep in args.keep:
                path = args.out / f"{cell_name(args, network, keep, seed)}.json"
                if not path.exists():
                    cell = measure(args, network, keep, seed)
                    path.write_text(json.dumps(cell, indent=1) + "\n")
                    print(
                        path.name, {key: cell[key] for key in ("evolved", "best", "median", "difference")}, flush=True
                    )
    print(table(args.out))


def cell_name(args: argparse.Namespace, network: str, keep: float, seed: int) -> str:
    """What a cell's files are called."""
    cost = "" if args.cost == "macs" else f"-{args.cost.replace('@', '-')}"
    by = "" if args.criteria_by == "cost" else f"-by-{args.criteria_by}"
    return f"{network}{cost}{by}-{keep:g}-{seed}"


def measure(args: argparse.Namespace, network: str, keep: float, seed: int) -> dict:
    """One cell."""
    dense = dense_weights(args, network, seed)
    config = resolve_recipe_config(network, settings(args, keep, seed, dense))
    result, times = evolve(args, config, cell_name(args, network, keep, seed))
    problem = recipe_source(config).load()
    put_weights(problem.model, read_weights(dense), str(dense))
    started = time.process_time()
    cuts = criteria_cuts(args, problem, config, result.directory, seed)
    losses = {name: chosen_loss(problem, config, plan, seed) for name, plan in cuts.items()}
    ranked = sorted(losses, key=losses.get)
    epochs = config.training.retrain_epochs / (1 - config.search.share)
    finished = {
        role: finish(problem, config, cuts[name], epochs, seed)
        for role, name in (("best", ranked[0]), ("median", ranked[len(ranked) // 2]))
    }
    networks = {"evolved": result.best.model, **finished}
    correct = {role: correctness(network, problem.task) for role, network in networks.items()}
    difference = correct["evolved"] - correct["best"]
    return {
        "network": network,
        "keep": keep,
        "seed": seed,
        "settings": args.set,
        "retrain_epochs": config.training.retrain_epochs,
        "criteria_epochs": epochs,
        "dense": float(correctness(problem.model.eval(), problem.task).mean()),
        **{role: float(values.mean()) for role, values in correct.items()},
        "criteria": {"best": ranked[0], "median": ranked[len(ranked) // 2], "losses": losses},
        "difference": float(difference.mean()),
        "standard_error": float(difference.std(ddof=1) / np.sqrt(len(difference))),
        "latency_ms": latencies(args.cost, {"dense": problem.model, **networks}, problem.example_inputs),
        "to_median": float((correct["evolved"] - correct["median"]).mean()),
        "cost": args.cost,
        "criteria_by": args.criteria_by,
        "macs": {
            name: ep.count(one, problem.example_inputs).macs
            for name, one in {"dense": problem.model, **networks}.items()
        },
        "cpu_s": {**times, "criteria": time.process_time() - started},
        "torch": torch.__version__,
    }


def settings(args: argparse.Namespace, keep: float, seed: int, dense: Path) -> dict:
    """Settings of a cell's run."""
    found = {
        "search": {"constraints": [f"{args.cost}<={keep}"], "round_to": 1, "baselines": "none"},
        "training": {"retrain_epochs": args.retrain_epochs, "distill": 0},
        "execution": {"training_threads": 1, "workers": 1},
        "data": {"checkpoint": str(dense), "dir": args.data_dir},
        "run": {"seed": seed},
    }
    for assignment in args.set:
        key, value = assignment.split("=", 1)
        section, name = key.split(".")
        found.setdefault(section, {})[name] = json.loads(value)
    return found


def dense_weights(args: argparse.Namespace, network: str, seed: int) -> Path:
    """The dense network's weights, trained once for all cells of a seed, or those that the recipe comes with."""
    out = args.out
    path = out / f"dense-{network}-{seed}.safetensors"
    if not path.exists():
        config = {
            "execution": {"training_threads": 1, "workers": 1},
            "ga": {"pop_size": 2, "num_generations": 1},
            "search": {"baselines": "none", "criteria": ["l1"]},
            "training": {"retrain_epochs": 0.01},
            "data": {"dir": args.data_dir},
            "run": {"seed": seed},
        }
        run = ep.run_recipe(network, config=config, out=out / f"run-dense-{network}-{seed}")
        path.write_bytes((run.directory / "baseline/model.safetensors").read_bytes())
    return path


def evolve(args: argparse.Namespace, config, name: str) -> tuple[ep.Result, dict]:
    """The evolved network's run, and the CPU seconds of each stage."""
    result = ep.run_recipe(config=config, out=args.out / f"run-{name}")
    events = [json.loads(line) for line in (result.directory / "events.jsonl").read_text().splitlines()]
    times: dict[str, float] = {}
    for event in events:
        if event["event"] == "StageEnded":
            times[event["stage"]] = times.get(event["stage"], 0.0) + event["cpu_s"]
    return result, times


def criteria_cuts(args: argparse.Namespace, problem, config, directory: Path, seed: int) -> dict:
    """The plan of every criterion at the budget of the run in `directory`, global and uniform."""
    space = ep.analyze(problem.model, problem.example_inputs)
    orders = measure_orders(
        problem.model.eval(), space, problem.task, ALL, samples=config.search.criteria_samples, device=CPU,
        seeds=SeedTree(seed).child("criteria"), notify=ignore,
    )  # fmt: skip
    bounds = [Constraint.parse(text) for text in config.search.constraints]
    if args.criteria_by == "macs":
        return cuts_by_macs(problem, space, orders, args.cost, bounds[0].bound)
    tables = {}
    if (directory / "latency.json").exists():
        tables = {bounds[0].objective: tables_of((directory / "latency.json").read_text())[0]}
    return cuts_within(space, orders, bounds, round_to=config.search.round_to, tables=tables)


def cuts_within(space, orders, bounds, *, round_to: int, tables: dict) -> dict:
    """The plan of every criterion within bounds."""
    dense = {name: table.predicted_dense_ms for name, table in tables.items()}
    budget = planned_budget(bounds, space, planned_costs(space, tables), dense)
    encoding = ChannelWidths(space, round_to=round_to, budget=budget, orders=orders)
    return {name: encoding.decode(genome) for name, genome in at_budget(encoding).items()}


def cuts_by_macs(problem, space, orders, cost: str, keep: float) -> dict:
    """The plan of every criterion at the largest share of the MACs whose network takes `keep` of the dense latency."""
    found = {}
    names = list(cuts_within(space, orders, [Constraint.parse("macs<=0.5")], round_to=1, tables={}))
    for name in names:
        low, high = np.log(0.02), 0.0
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            plan = cuts_within(space, orders, [Constraint.parse(f"macs<={np.exp(middle)}")], round_to=1, tables={})[
                name
            ]
            pair = {"dense": problem.model, "cut": prune(problem.model, plan)}
            timed = latencies(cost, pair, problem.example_inputs, most_s=1.5)
            if timed["cut"] <= keep * timed["dense"]:
                low, found[name] = middle, plan
            else:
                high = middle
    return found


def chosen_loss(problem, config, plan, seed: int) -> float:
    """Loss on select of a cut after the training that the choice is made by."""
    learning = training_plan(config).finetuning
    model = trained(problem, config, plan, learning.of_steps(CHOOSING // learning.batch_size), problem.task.train, seed)
    return losses_of(outputs_of(model.eval(), problem.task.val, device=CPU, batch_size=256), problem.task.loss).mean


def finish(problem, config, plan, epochs: float, seed: int):
    """A cut that was retrained for so many epochs on train and select."""
    both = problem.task.train.joined(problem.task.val)
    schedule = training_plan(config).retraining.over(both, epochs)
    return trained(problem, config, plan, schedule, both, seed).eval()


def trained(problem, config, plan, schedule, source, seed: int):
    """A cut of the dense network, recalibrated and trained."""
    model = prune(problem.model, plan)
    batches, size = config.fidelity.recalibrate_batches, schedule.batch_size
    recalibrate_batch_norm(model, problem.task.train, batches=batches, batch_size=size, device=CPU, seed=seed)
    train(
        model,
        source,
        schedule,
        loss=problem.task.loss,
        seeds=SeedTree(seed).child("benchmark"),
        device=CPU,
        micro_batch=MicroBatch(None, stage="training"),
    )
    return model


def latencies(cost: str, networks: dict, example_inputs, most_s: float = 10) -> dict | None:
    """Milliseconds of a forward pass of each network, by turns; None where no latency is bounded."""
    if cost == "macs":
        return None
    how = how_of(cost)
    inputs = example_inputs.expand(how.batch or 1, *example_inputs.shape[1:]).contiguous()
    with torch_threads(1), torch.inference_mode():
        runners = {name: forward_pass(network.eval(), inputs, how.runtime) for name, network in networks.items()}
        return measure_latency_ms(runners, most_s=most_s)


def correctness(model, task) -> np.ndarray:
    """[test samples] 1 where the network is right."""
    found = []
    for pair in outputs_of(model, task.test, device=CPU, batch_size=256):
        outputs, targets = as_batch(pair)
        found.append((outputs.argmax(1) == targets).double().numpy())
    return np.concatenate(found)


def table(out: Path) -> str:
    """The cells as a Markdown table, means over the seeds with the interval of the difference."""
    cells: dict[tuple[str, float], list[dict]] = {}
    for path in sorted(out.glob("*.json")):
        cell = json.loads(path.read_text())
        cells.setdefault((cell["network"], cell["cost"], -cell["keep"]), []).append(cell)
    heads = (
        "cost",
        "less",
        "seeds",
        "dense",
        "evolved",
        "best criterion",
        "median",
        "evolved - best",
        "search's share",
    )
    rows = [f"| network | {' | '.join(heads)} |", "|---|" + "--:|" * len(heads)]
    return "\n".join([*rows, *(row(*what, found) for what, found in sorted(cells.items()))])


def row(network: str, cost: str, keep: float, found: list[dict]) -> str:
    """The seeds of one network and budget; the interval is that of the test samples or of the seeds, whichever is wider."""
    names = ("dense", "evolved", "best", "median", "difference")
    mean = {name: 100 * np.mean([one[name] for one in found]) for name in names}
    within = np.sqrt(np.sum([one["standard_error"] ** 2 for one in found])) / len(found)
    between = np.std([one["difference"] for one in found], ddof=1) / np.sqrt(len(found)) if len(found) > 1 else 0.0
    share = np.mean([one["cpu_s"]["search"] / (one["cpu_s"]["search"] + one["cpu_s"]["retrain"]) for one in found])
    figures = [f"{mean[name]:.2f}" for name in names[:4]]
    difference = f"{mean['difference']:+.2f} ± {196 * max(within, between):.2f}"
    cells = [cost, f"{100 * (1 + keep):g} %", str(len(found)), *figures, difference, f"{100 * share:.0f} %"]
    return f"| {network} | {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
