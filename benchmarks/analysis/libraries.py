"""The three libraries behind one set of calls, each used as its own documentation shows. All return a new model."""

import copy
import importlib
import importlib.metadata

import numpy as np
import torch
from torch import nn

import evoprune as ep


class Evoprune:
    name, package = "evoprune", "evoprune"

    def analyse(self, model, inputs):
        return ep.analyze(model, inputs, self_check=False)

    def candidate(self, model, inputs, analysis, removed):
        """One half-width network: `{layer: output channels to remove}`."""
        return ep.prune(model, analysis.plan(self._bits(analysis, removed)))

    def by_ratio(self, model, inputs):
        space = ep.analyze(model, inputs)
        return ep.prune(model, space.plan_by_importance(ep.importance(model, space, "l2"), keep=0.5, scope="uniform"))

    def by_index(self, model, inputs, layer, indices):
        """evoprune takes choices as one bit per unit or as plans of kept indices; what is no channel goes into a plan."""
        space = ep.analyze(model, inputs)
        size = model.get_submodule(layer).weight.shape[0]
        if len(set(indices)) == len(indices) and all(0 <= index < size for index in indices):
            return ep.prune(model, space.plan(self._bits(space, {layer: indices})))
        plan = space.random_plan(0.5, seed=0)
        wrong = plan.kept | {f"{layer}.weight": {0: np.array(indices)}}
        return ep.prune(model, ep.PruningPlan(wrong, plan.attributes, plan.fingerprint))

    @staticmethod
    def _bits(space, removed):
        bits = np.ones(space.size, dtype=bool)
        for group in space.groups:
            for member in group.members:
                layer, _, kind = member.tensor.rpartition(".")
                if layer in removed and kind == "weight" and member.dim == 0:
                    bits[group.start + member.unit[np.isin(member.index, removed[layer])]] = False
        return bits


class TorchPruning:
    name, package = "torch-pruning", "torch_pruning"

    def __init__(self):
        self.tp = importlib.import_module("torch_pruning")

    def analyse(self, model, inputs):
        return self.tp.DependencyGraph().build_dependency(model, example_inputs=inputs)

    def candidate(self, model, inputs, analysis, removed):
        """Its graph belongs to the one model that it cuts in place, so each candidate is a copy with a graph of its own."""
        smaller = copy.deepcopy(model)
        graph = self.analyse(smaller, inputs)
        for layer, indices in removed.items():
            self._group(graph, smaller.get_submodule(layer), indices).prune()
        return smaller

    def by_ratio(self, model, inputs):
        smaller = copy.deepcopy(model)
        self.tp.pruner.BasePruner(
            smaller, inputs, importance=self.tp.importance.GroupMagnitudeImportance(), pruning_ratio=0.5,
            ignored_layers=[smaller.head],
        ).step()  # fmt: skip
        return smaller

    def by_index(self, model, inputs, layer, indices):
        return self.candidate(model, inputs, None, {layer: indices})

    def _group(self, graph, layer, indices):
        remove = self.tp.prune_linear_out_channels if isinstance(layer, nn.Linear) else self.tp.prune_conv_out_channels
        return graph.get_pruning_group(layer, remove, idxs=list(indices))


class Kirigami:
    name, package = "torch-kirigami", "torch_kirigami"

    def __init__(self):
        self.tk = importlib.import_module("torch_kirigami")
        self.pruning = importlib.import_module("torch_kirigami.pruning")

    def analyse(self, model, inputs):
        return self.tk.DependencyGraph.build(model, args=(inputs,))

    def candidate(self, model, inputs, analysis, removed):
        """The graph is reused; the plan is applied in place, so each candidate is a copy."""
        axes = {layer: self.tk.AxisRef(analysis.parameter(f"{layer}.weight"), 0) for layer in removed}
        plan = self.pruning.Pruner(model, graph=analysis).plan_remove(
            [axes[layer].select(list(indices)) for layer, indices in removed.items()]
        )
        return self.pruning.Pruner(copy.deepcopy(model)).apply(plan)[0]

    def by_ratio(self, model, inputs):
        smaller = copy.deepcopy(model)
        pruner = self.pruning.Pruner(smaller, graph=self.analyse(smaller, inputs))
        pruner.prune(
            pruner.discover_candidates(),
            budget=self.pruning.ChannelRatio(0.5),
            strategy=self.pruning.Greedy(self.pruning.GroupMagnitude(p=2)),
        )
        return smaller

    def by_index(self, model, inputs, layer, indices):
        return self.candidate(model, inputs, self.analyse(model, inputs), {layer: indices})


def installed():
    """-> libraries that can be used, `{name: why not}` for the others."""
    found, missing = [], {}
    for kind in (Evoprune, TorchPruning, Kirigami):
        try:
            found.append(kind())
        except ImportError as error:
            missing[kind.name] = f"{error}; pip install 'evoprune[peers]'"
    return found, missing


def version(library):
    return importlib.metadata.version(library.name)


def half_of_everything(model, inputs):
    """`{first layer of each group: every other of its output channels}`, by evoprune's groups."""
    space = ep.analyze(model, inputs, self_check=False)
    return {group.name: list(range(0, group.size, 2)) for group in space.groups}


def relative_difference(found, expected):
    if found.shape != expected.shape:
        return float("inf")
    return float((found - expected).abs().max() / expected.abs().max())


def forward(model, inputs):
    with torch.no_grad():
        return model(inputs)
