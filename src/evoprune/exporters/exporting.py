"""Write a network in another format, and prove that the file computes the same."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from evoprune.data.trees import moved
from evoprune.errors import EvopruneError, UsageError
from evoprune.exporters.base import Exportable, Exporter
from evoprune.exporters.file_check import FileCheck, check_file
from evoprune.nn_utils.cloning import clone
from evoprune.nn_utils.comparison import Verification
from evoprune.plugins import resolve

STEM: Final = "model"
_CPU: Final = torch.device("cpu")


@dataclass(frozen=True)
class Exported:
    """A file that was written and read again.

    Attributes:
        path: Path of the file.
        size_bytes: Size of the file, and of those beside it that belong to it.
        check: Compares the file's outputs with the network's; None without inputs, where weights alone were compared.
        real_samples: Number of samples of real data among those that were compared.
        fixed_batch: Number of samples that the file takes; None where it takes any, or where nothing was run.
        dense_bytes: Size of the dense network in the same format; None where there was none to compare with.
    """

    path: Path
    size_bytes: int
    check: Verification | None
    real_samples: int = 0
    fixed_batch: int | None = None
    dense_bytes: int | None = None

    def lines(self) -> list[str]:
        """What to know of the file, for people."""
        share = ""
        if self.dense_bytes:
            share = f", {self.size_bytes / self.dense_bytes:.0%} of the dense network's {_kilobytes(self.dense_bytes)}"
        first = f"{self.path}: {_kilobytes(self.size_bytes)}{share}"
        if self.check is None:
            return [f"{first}; its weights were read again"]
        data = f"{self.real_samples} real samples" if self.real_samples else "the example inputs"
        found = [
            first,
            f"its outputs differ by {self.check.relative:.0e} of the largest at most, on {data}; accepted are "
            f"{self.check.tolerance:.0e}",
        ]
        if self.fixed_batch is not None:
            found.append(
                f"it takes {self.fixed_batch} samples at a time and no other number, as the example inputs are"
            )
        return found


def _kilobytes(size: int) -> str:
    return f"{size / 1000:,.1f} kB"


@torch.inference_mode(False)
def export(
    model: nn.Module,
    to: str,
    path: Path | str,
    example_inputs: Any = None,
    *,
    real_inputs: Any = None,
    dense: nn.Module | None = None,
) -> Exported:
    """Write a network in another format; the file is there only if it computes what the network does.

    Args:
        model: Any network, such as `result.best.model`; untouched.
        to: `onnx`, `torch-export`, `torchscript`, `source`, `safetensors`, `state-dict`, an entry point in
            `evoprune.exporters`, or `package.module:Class`.
        path: A file that doesn't exist yet, or a directory for `model` with the format's suffix.
        example_inputs: A tensor, a tuple of positional or a dict of keyword arguments for one forward pass.
        real_inputs: Inputs of a batch of real data, on which the file is compared as well.
        dense: The network before pruning, to compare the size of its file with; untouched.

    Returns:
        The file, with the difference of its outputs.

    Raises:
        UsageError: The format is unknown or needs inputs, the file exists, or the network can't be written in this format.
        SurgeryError: What was written computes something else.
    """
    exporter = exporter_of(to)
    if exporter.needs_inputs and example_inputs is None:
        raise UsageError(
            f"{to} follows the network through a forward pass and needs example_inputs",
            "call evoprune.export(model, ..., example_inputs=...)",
        )
    target = Path(path)
    target = target / f"{STEM}{exporter.suffix}" if target.is_dir() else target
    _refuse_existing([target])
    network = _exportable(model, example_inputs)
    with _folder_beside(target) as folder:
        # The format's own suffix: some libraries refuse others.
        part = folder / f"{target.stem}{exporter.suffix}"
        exporter.write(network, part)
        check = check_file(network, exporter, part, to, moved(real_inputs, _CPU))
        sizes = _moved(folder, {part.name: target})
    dense_bytes = None if dense is None else _dense_bytes(exporter, dense, example_inputs, target)
    return _exported(target, sum(sizes.values()), check, dense_bytes)


def exporter_of(to: str) -> Exporter:
    """The exporter of a name.

    Raises:
        ConfigError: There is none.
        MissingDependencyError: What it needs is not installed.
    """
    exporter: Exporter = resolve("exporters", to)()
    return exporter


def _exportable(model: nn.Module, example_inputs: Any) -> Exportable:
    return Exportable(clone(model).cpu().eval(), moved(example_inputs, _CPU))


def _exported(target: Path, size: int, check: FileCheck | None, dense_bytes: int | None) -> Exported:
    if check is None:
        return Exported(target, size, None, dense_bytes=dense_bytes)
    return Exported(target, size, check.verification, check.real_samples, check.fixed_batch, dense_bytes)


@contextmanager
def _folder_beside(target: Path) -> Iterator[Path]:
    """A folder on the same disk for what isn't proven yet; nothing is left of it, nor of folders that were made for it."""
    made = [folder for folder in (target.parent, *target.parent.parents) if not folder.exists()]
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
            yield Path(folder)
    finally:
        for empty in made:
            with suppress(OSError):  # not empty
                empty.rmdir()


def _moved(folder: Path, names: Mapping[str, Path]) -> dict[Path, int]:
    """Move all files of `folder` to the folder above it, under their names or others; gives their sizes."""
    targets = {file: names.get(file.name, folder.parent / file.name) for file in sorted(folder.iterdir())}
    _refuse_existing(list(targets.values()))
    sizes = {target: file.stat().st_size for file, target in targets.items()}
    for file, target in targets.items():
        file.replace(target)
    return sizes


def _refuse_existing(targets: list[Path]) -> None:
    for target in targets:
        if target.exists():
            raise UsageError(f"{target} exists", "choose another path; nothing was changed")


def _dense_bytes(exporter: Exporter, dense: nn.Module, example_inputs: Any, target: Path) -> int | None:
    """The size that the dense network has in the format; None where it can't be written."""
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".export-") as folder:
        try:
            exporter.write(_exportable(dense, example_inputs), Path(folder) / f"{target.stem}{exporter.suffix}")
        except EvopruneError:
            return None
        return sum(file.stat().st_size for file in Path(folder).iterdir())
