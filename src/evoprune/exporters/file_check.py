"""Whether a file computes what the network does: on example inputs, on real ones, and on other numbers of samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.trees import map_tensors, tensors_in
from evoprune.errors import EvopruneError, SurgeryError, UnsupportedModelError
from evoprune.exporters.base import Exportable, Exporter, Runner
from evoprune.nn_utils.comparison import Verification, compare, outputs_of
from evoprune.nn_utils.quiet import first_line
from evoprune.nn_utils.samples import at_batch, many_samples, samples_in

_NOTHING: Final = 1e-6
"""Share of the largest output below which another one is rounding."""


@dataclass(frozen=True)
class FileCheck:
    """What a comparison of a file with its network came to.

    Attributes:
        verification: The largest difference of all that were seen.
        real_samples: Number of samples of real data among the inputs.
        fixed_batch: Number of samples that the file takes; None where it takes any, or none of the dimensions counts them.
    """

    verification: Verification
    real_samples: int
    fixed_batch: int | None


def check_file(
    network: Exportable, exporter: Exporter, path: Path, to: str, real_inputs: Any = None
) -> FileCheck | None:
    """Read a file again and compare it with the network; None without inputs, where weights alone are compared.

    Args:
        network: The network that was written.
        exporter: Wrote it.
        path: The file.
        to: Name of the format, for messages.
        real_inputs: Inputs of a batch of real data; left out where they are not laid out as the example inputs are.

    Raises:
        SurgeryError: The file computes something else.
        UnsupportedModelError: It can't be run.
    """
    runner = _read(exporter, network, path, to)
    if network.example_inputs is None:
        _check_weights(network.model, runner, to)
        return None
    return _Comparison(network, runner, to).made(real_inputs)


def _read(exporter: Exporter, network: Exportable, path: Path, to: str) -> Runner:
    try:
        return exporter.read(network, path)
    except EvopruneError:
        raise
    except Exception as error:  # of whatever kind, inside a runtime
        raise UnsupportedModelError(f"what was written as {to} can't be read: {first_line(error)}") from error


@dataclass(frozen=True)
class _Comparison:
    network: Exportable
    runner: Runner
    to: str

    def made(self, real_inputs: Any) -> FileCheck:
        model, example = self.network.model, self.network.example_inputs
        found, samples = [self._on(example), *self._on_noise(example)], samples_in(model, example)
        others = _resized(model, example, samples + 1)
        takes_others = others is None or self._takes(others)
        if others is not None and takes_others:
            found += [self._on(others), *self._on_many(samples)]
        real = None if real_inputs is None else _laid_out_as(example, real_inputs)
        if real is not None and not takes_others:
            real = _resized(model, real, samples)
        if real is not None:
            found.append(self._on(real))
        worst = max(found, key=lambda one: one.relative / one.tolerance)
        return FileCheck(worst, 0 if real is None else samples_in(model, real), None if takes_others else samples)

    def _on(self, inputs: Any) -> Verification:
        check = _worst(self._outputs(inputs), outputs_of(self.network.model, inputs))
        # Not a number compares with nothing.
        if not check.agrees:
            raise SurgeryError(
                f"the network in the {self.to} file differs by {check.max_abs_difference:.2g} where outputs reach "
                f"{check.max_abs_reference:.2g}; accepted are {check.tolerance:.0e} of that",
                "it was not kept; another format may do: torch-export, safetensors",
            )
        return check

    def _on_noise(self, example: Any) -> list[Verification]:
        """On the example inputs with noise, since zeros hide much; nothing where the network doesn't take that."""
        noisy = map_tensors(example, _with_noise)
        try:
            outputs_of(self.network.model, noisy)
        except Exception:  # whatever a network may raise on values that it wasn't made for
            return []
        return [self._on(noisy)]

    def _on_many(self, samples: int) -> list[Verification]:
        """On more samples, since code may go by their number; nothing where the network doesn't take so many."""
        try:
            many = at_batch(self.network.model, self.network.example_inputs, many_samples(samples))
            outputs_of(self.network.model, many)
        except Exception:  # whatever a network may raise on sizes that it wasn't made for
            return []
        return [self._on(many)]

    def _takes(self, inputs: Any) -> bool:
        try:
            self._outputs(inputs)
        except EvopruneError:
            return False
        return True

    def _outputs(self, inputs: Any) -> list[Tensor]:
        try:
            with torch.no_grad():
                return [tensor.detach() for tensor in tensors_in(self.runner(inputs))]
        except Exception as error:  # of whatever kind, inside a runtime
            raise UnsupportedModelError(f"what was written as {self.to} can't be run: {first_line(error)}") from error


def _with_noise(tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    return tensor + torch.randn(tensor.shape, generator=torch.Generator().manual_seed(0)).to(tensor)


def _worst(found: list[Tensor], reference: list[Tensor]) -> Verification:
    """The comparison of the output that is furthest off by its own size; those that are next to nothing go by all together.

    Raises:
        SurgeryError: Their number or shapes differ.
    """
    whole = compare(found, reference)
    each = [compare([one], [other]) for one, other in zip(found, reference, strict=True)]
    told = [one for one in each if one.max_abs_reference > _NOTHING * whole.max_abs_reference]
    return max([whole, *told], key=lambda one: one.relative / one.tolerance)


def _resized(model: nn.Module, inputs: Any, samples: int) -> Any:
    """The inputs with that many samples; None where nothing counts them."""
    try:
        return at_batch(model, inputs, samples)
    except EvopruneError:
        return None


def _laid_out_as(example: Any, real: Any) -> Any:
    """Real inputs as the example inputs are given; None where they are something else."""
    if isinstance(example, Mapping):
        if not isinstance(real, Mapping) or not example.keys() <= real.keys():
            return None
        real = {name: real[name] for name in example}
    kinds = [[(one.dtype, one.dim()) for one in tensors_in(tree)] for tree in (example, real)]
    return real if kinds[0] == kinds[1] else None


def _check_weights(model: nn.Module, runner: Runner, to: str) -> None:
    kept = model.state_dict()
    found = runner.state_dict() if isinstance(runner, nn.Module) else {}
    wrong = [name for name, value in kept.items() if isinstance(value, Tensor) and not _same(value, found.get(name))]
    if wrong:
        raise SurgeryError(f"the {to} file holds other weights for {', '.join(wrong[:3])}")


def _same(one: Tensor, other: Any) -> bool:
    return isinstance(other, Tensor) and one.dtype == other.dtype and torch.equal(one.nan_to_num(), other.nan_to_num())
