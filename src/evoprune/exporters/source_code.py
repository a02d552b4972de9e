"""A network as Python source and weights, which need torch and safetensors and nothing else."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import textwrap
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, fx, nn

from evoprune.errors import UnsupportedModelError
from evoprune.exporters.base import Exportable, Runner
from evoprune.exporters.layer_source import layer_source
from evoprune.exporters.weight_files import emptied
from evoprune.nn_utils.calling import call_model
from evoprune.nn_utils.quiet import first_line, quiet
from evoprune.nn_utils.weights import save_tensors

WEIGHTS: Final = ".safetensors"
_HINT: Final = "use torch-export or onnx, which need no source either"
_IMPORTS: Final = {
    "inf": "from math import inf\n",
    "nan": "from math import nan\n",
    "device": "from torch import device\n",
}
"""Names besides `torch` that torch.fx takes for granted."""
_PAGE: Final = '''\
"""{name} after pruning by evoprune: this file and {weights} are all there is to it; torch and safetensors run it.

    network = load()
    outputs = network(inputs)
"""

{imports}from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


class Network(nn.Module):
    def __init__(self):
        super().__init__()
{parts}

{forward}


def load(weights=Path(__file__).with_suffix("{suffix}")):
    """The network with its weights, for inference."""
    network = Network()
    network.load_state_dict(load_file(weights), assign=True)
    return network.eval()
'''


class SourceCode:
    """A `.py` file and a `.safetensors` file of the same name beside it.

    The source is a straight line of calls with the widths that pruning left, as `torch.fx` reads them off the network. So it is
    for networks that it can follow, made of torch's own layers: all of the recipes are. It runs as in evaluation.
    """

    suffix = ".py"
    needs_inputs = True

    def write(self, network: Exportable, path: Path) -> None:
        """Write source and weights."""
        model = network.model
        graph = _followed(model)
        parts, forward = list(_parts(model, graph)), _forward(graph)
        names = {node.id for node in ast.walk(forward) if isinstance(node, ast.Name)}
        text = _PAGE.format(
            imports="".join(line for name, line in _IMPORTS.items() if name in names),
            name=type(model).__name__,
            weights=path.with_suffix(WEIGHTS).name,
            parts="\n".join(f"        {line}" for line in parts) or "        pass",
            forward=textwrap.indent(ast.unparse(forward), "    "),
            suffix=WEIGHTS,
        )
        path.write_text(text, encoding="utf-8")
        path.with_suffix(WEIGHTS).write_bytes(save_tensors(_tensors(model, graph)))

    def read(self, network: Exportable, path: Path) -> Runner:
        """The network that the file makes."""
        del network
        spec = importlib.util.spec_from_file_location("evoprune_exported_source", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        made: nn.Module = module.load()
        return partial(call_model, made)


def _followed(model: nn.Module) -> fx.Graph:
    try:
        with quiet():
            return fx.Tracer().trace(emptied(model))
    except Exception as error:  # of whatever kind, in torch or in the network's own code
        raise UnsupportedModelError(
            f"{type(model).__name__} can't be written as source: {first_line(error)}", _HINT
        ) from error


def _parts(model: nn.Module, graph: fx.Graph) -> Iterator[str]:
    """Lines that make the modules and tensors that the graph names."""
    made: set[str] = set()
    for node in graph.nodes:
        if node.op not in ("call_module", "get_attr") or str(node.target) in made:
            continue
        target = str(node.target)
        yield from _parents(target, made)
        made.add(target)
        path, _, name = target.rpartition(".")
        if node.op == "call_module":
            layer = layer_source(target, model.get_submodule(target))
            yield f"self.{name} = {layer}" if target.isidentifier() else f"{_place(path)}.add_module({name!r}, {layer})"
        else:
            yield f"{_place(path)}.register_buffer({name!r}, {_empty(target, _attribute(model, target))})"


def _parents(target: str, made: set[str]) -> Iterator[str]:
    names = target.split(".")
    for depth in range(1, len(names)):
        parent = ".".join(names[:depth])
        if parent not in made:
            made.add(parent)
            yield f"{_place('.'.join(names[: depth - 1]))}.add_module({names[depth - 1]!r}, nn.Module())"


def _place(path: str) -> str:
    """An expression for a module by its path."""
    if all(name.isidentifier() for name in path.split(".")):
        return f"self.{path}"
    return f"self.get_submodule({path!r})" if path else "self"


def _empty(target: str, tensor: Any) -> str:
    if not isinstance(tensor, Tensor):
        raise UnsupportedModelError(f"{target} is a {type(tensor).__name__}, which can't be written as source", _HINT)
    return f"torch.empty({tuple(tensor.shape)}, dtype={tensor.dtype})"


def _attribute(model: nn.Module, target: str) -> Any:
    path, _, name = target.rpartition(".")
    return getattr(model.get_submodule(path), name, None)


def _forward(graph: fx.Graph) -> ast.AST:
    """The method `forward`, without annotations and without the lines that only free memory."""
    code = graph.python_code("self")
    try:
        tree: ast.AST = _Plain().visit(ast.parse(code.src))
    except SyntaxError as error:  # torch.fx writes the names of modules as they are
        raise UnsupportedModelError(
            f"a module has a name that is no name in Python: {(error.text or '').strip():.80}", _HINT
        ) from error
    names = {one.id for one in ast.walk(tree) if isinstance(one, ast.Name)}
    foreign = sorted(names & code.globals.keys() - {"torch", *_IMPORTS, *vars(builtins)})
    if foreign:
        raise UnsupportedModelError(f"{foreign[0]} is no part of torch and can't be written as source", _HINT)
    return tree


class _Plain(ast.NodeTransformer):
    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(node.arg)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) and node.value.value is None else node


def _tensors(model: nn.Module, graph: fx.Graph) -> dict[str, Tensor]:
    """The tensors of what the graph names, by their names there; shared ones once for each."""
    found: dict[str, Tensor] = {}
    for node in graph.nodes:
        target = str(node.target)
        if node.op == "call_module":
            state = model.get_submodule(target).state_dict()
            found |= {f"{target}.{name}": tensor for name, tensor in state.items()}
        elif node.op == "get_attr":
            found[target] = _attribute(model, target).detach()
    return {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in found.items()}
