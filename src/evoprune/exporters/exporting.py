"""Write a network in another format, and prove that the file computes the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.trees import tensors_in
from evoprune.errors import SurgeryError, UsageError
from evoprune.exporters.base import Exportable, Exporter, Runner
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import Verification, compare, outputs_of
from evoprune.plugins import resolve

STEM: Final = "model"


@dataclass(frozen=True)
class Exported:
    """A file that was written and read again.

    Attributes:
        path: Path of the file.
        size_bytes: Size of the file.
        check: Compares the file's outputs with the network's; None without inputs, where weights alone were compared.
    """

    path: Path
    size_bytes: int
    check: Verification | None


@torch.inference_mode(False)
def export(model: nn.Module, to: str, path: Path | str, example_inputs: Any = None) -> Exported:
    """Write a network in another format; the file is there only if it computes what the network does.

    Args:
        model: Any network, such as `result.best.model`; untouched.
        to: `safetensors`, `state-dict`, `torch-export`, an entry point in `evoprune.exporters`, or `package.module:Class`.
        path: A file that doesn't exist yet, or a directory for `model` with the format's suffix.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.

    Returns:
        The file, with the difference of its outputs.

    Raises:
        UsageError: The format is unknown or needs inputs, the file exists, or the network can't be written in this format.
        SurgeryError: What was written computes something else.
    """
    exporter: Exporter = resolve("exporters", to)()
    if exporter.needs_inputs and example_inputs is None:
        raise UsageError(f"{to} follows the network through a forward pass and needs example_inputs", "pass them")
    target = Path(path)
    target = target / f"{STEM}{exporter.suffix}" if target.is_dir() else target
    if target.exists():
        raise UsageError(f"{target} exists", "choose another path; nothing was changed")
    target.parent.mkdir(parents=True, exist_ok=True)
    network = Exportable(clone(model).cpu().eval(), example_inputs)
    # The format's own suffix last: some libraries refuse others.
    part = target.with_name(f".{target.stem}.part{exporter.suffix}")
    try:
        exporter.write(network, part)
        check = _checked(network, exporter.read(network, part), to)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return Exported(target, target.stat().st_size, check)


def _checked(network: Exportable, runner: Runner, to: str) -> Verification | None:
    if network.example_inputs is None:
        _check_weights(network.model, runner, to)
        return None
    with torch.no_grad():
        found = [tensor.detach() for tensor in tensors_in(runner(network.example_inputs))]
    check = compare(found, outputs_of(network.model, network.example_inputs))
    if not check.agrees:
        raise SurgeryError(
            f"the network in the {to} file differs by {check.max_abs_difference:.2g} where outputs reach "
            f"{check.max_abs_reference:.2g}; accepted are {check.tolerance:.0e} of that",
        )
    return check


def _check_weights(model: nn.Module, runner: Runner, to: str) -> None:
    kept = model.state_dict()
    found = runner.state_dict() if isinstance(runner, nn.Module) else {}
    wrong = [name for name, value in kept.items() if isinstance(value, Tensor) and not _same(value, found.get(name))]
    if wrong:
        raise SurgeryError(f"the {to} file holds other weights for {', '.join(wrong[:3])}")


def _same(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
