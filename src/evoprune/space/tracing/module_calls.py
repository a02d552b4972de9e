"""What a trace notes down about the calls of modules: the labels of what goes in and of what comes out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.module import register_module_forward_hook

from evoprune.data.trees import tensors_in
from evoprune.space.tracing.label_table import LabelTable
from evoprune.space.tracing.labels import ModuleCall


@contextmanager
def calls_noted(model: nn.Module, table: LabelTable, calls: dict[str, list[ModuleCall]]) -> Iterator[None]:
    """Append to `calls` all calls of modules of `model` for as long as this lasts; those inside of whole modules lack labels."""
    names = {id(module): name for name, module in model.named_modules()}

    def leave(module: nn.Module, args: Any, kwargs: Any, result: Any) -> None:
        name = names.get(id(module))
        if name is not None:
            inputs, outputs = (
                tuple(table.labels(tensor).dims for tensor in tensors_in(tree)) for tree in ((args, kwargs), result)
            )
            calls.setdefault(name, []).append(ModuleCall(inputs, outputs))

    handle = register_module_forward_hook(leave, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
