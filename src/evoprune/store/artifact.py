"""A finished model on disk: safetensors and JSON, and back without pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.errors import EvopruneError, InvalidPlanError, StoreCorruptedError, UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.nn_utils.weights import match_dtypes, put_weights, read_weights, weight_bytes
from evoprune.plan import PruningPlan
from evoprune.pruning import AnyPlan, prune
from evoprune.store.artifact_description import described
from evoprune.store.atomic import read_json, write_atomically, write_json
from evoprune.store.dense_factory import MAIN, Factory, build_dense, script_of
from evoprune.store.module_settings import Settings, read_settings
from evoprune.store.rebuilding import complete_settings, difference, settle
from evoprune.store.settings_file import apply_settings, read_copies, settings_document, settings_tensors
from evoprune.store.sparse_weights import read_sparse_file, sparse_weight_bytes
from evoprune.version import __version__

WEIGHTS: Final = "model.safetensors"
SETTINGS: Final = "settings.safetensors"
PLAN: Final = "plan.json"
MASKS: Final = "masks.safetensors"
MODEL: Final = "model.json"
ARTIFACT_FILES: Final = (WEIGHTS, SETTINGS, PLAN, MASKS, MODEL)
FORMAT: Final = 2
OLDER: Final = (1,)
"""Formats that are read as well: 1 has no settings."""
CHANNEL_KIND: Final = "channels"
MASK_KIND: Final = "masks"

WHY: Final = "why_no_factory"
NO_FACTORY: Final = "the class alone does not build this network"


def save_artifact(
    directory: Path,
    model: nn.Module,
    plan: AnyPlan,
    *,
    factory: str | None,
    task: Task,
    example_inputs: Any = None,
    given: nn.Module | None = None,
) -> str:
    """Write weights, settings, plan and `model.json`, the last one last: with it the artifact is complete.

    Settings are what the network is besides its weights: numbers, text and tensors on its modules, buffers that no state dict
    holds. The network is rebuilt from what was written and compared with `model`; where they differ, no factory is named.

    Args:
        directory: Created when missing; an artifact in it is replaced.
        model: The pruned network. What running has left on it is taken off where `given` has nothing like it.
        plan: Says what was kept of the dense one: `plan.json`, or `masks.safetensors` and weights without their zeros.
        factory: Import path of what builds the dense network without arguments, where known.
        task: Names the preprocessing that the network expects.
        example_inputs: Inputs to compare outputs on; nothing is run without them.
        given: The network as the user gave it, pruned, before anything ran; the weights don't matter.

    Returns:
        What the user has to know to load it, in words; empty where `evoprune.load` needs nothing.

    Raises:
        InvalidPlanError: A weight that the plan masks is not zero.
    """
    kind, plan_file, stale = (MASK_KIND, MASKS, PLAN) if isinstance(plan, MaskPlan) else (CHANNEL_KIND, PLAN, MASKS)
    weights = sparse_weight_bytes(model, plan) if isinstance(plan, MaskPlan) else weight_bytes(model)
    plan_bytes = plan.to_bytes() if isinstance(plan, MaskPlan) else plan.to_json().encode()
    write_atomically(directory / WEIGHTS, weights)
    write_atomically(directory / plan_file, plan_bytes)
    document: dict[str, Any] = {
        "format": FORMAT,
        "evoprune": __version__,
        "torch": torch.__version__,
        "kind": kind,
        "factory": factory,
        **({"script": script_of(factory)} if script_of(factory) else {}),
        **described(model, task, example_inputs),
        "weights_sha256": hashlib.sha256(weights).hexdigest(),
        "plan_sha256": hashlib.sha256(plan_bytes).hexdigest(),
    }
    if given is not None:
        settle(model, given, example_inputs)
    reason = _add_settings(document, directory, model, given, example_inputs)
    write_json(directory / MODEL, document)
    (directory / stale).unlink(missing_ok=True)
    return _notice(factory, reason)


def _add_settings(
    document: dict[str, Any], directory: Path, model: nn.Module, given: nn.Module | None, example_inputs: Any
) -> str:
    """Write the settings, as few as do; gives the reason where the factory doesn't do, and then takes it out."""
    settings = read_settings(model)
    known = None if given is None else read_settings(given)
    factory, reason = document["factory"], NO_FACTORY
    if factory is not None:
        base, reason = _tried(directory, document, factory)
        if base is not None:
            built = read_settings(base)
            reason = next(iter((known or settings).missing_in(built)), "")
            few = settings.differing_from([built] if known is None else [built, known])
            _write_settings(document, directory, few)
        if base is not None and not reason:
            again, reason = _tried(directory, document, factory)
            reason = reason if again is None else difference(again, model, settings, example_inputs)
        reason = reason and f"{factory} builds another network: {reason}"
    if reason:
        _write_settings(document, directory, complete_settings(model, given, example_inputs))
        document |= {"factory": None, WHY: reason}
    return reason


def _tried(directory: Path, document: Mapping[str, Any], factory: str) -> tuple[nn.Module | None, str]:
    try:
        return _rebuilt(directory, document, factory), ""
    except Exception as error:  # whatever a constructor of the user's may raise
        return None, error.message if isinstance(error, EvopruneError) else f"{type(error).__name__}: {error}"


def _write_settings(document: dict[str, Any], directory: Path, settings: Settings) -> None:
    document["settings"] = settings_document(settings)
    content = settings_tensors(document["settings"], settings.tensors)
    if content:
        write_atomically(directory / SETTINGS, content)
    else:
        (directory / SETTINGS).unlink(missing_ok=True)
    document["settings_sha256"] = hashlib.sha256(content).hexdigest() if content else None


def _notice(factory: str | None, reason: str) -> str:
    if reason:
        return f"{reason}; load it with evoprune.load(..., model=my_dense_model)"
    if factory is not None and factory.partition(":")[0] == MAIN:
        return (
            f"{factory} is found by this script alone; elsewhere, load it with evoprune.load(..., model=my_dense_model)"
        )
    return ""


def load_artifact(
    directory: Path | str, factory: Factory | nn.Module | str | None = None, *, model: nn.Module | None = None
) -> nn.Module:
    """Rebuild a pruned or masked network from its artifact: the dense one, pruned by the plan, with its weights and settings.

    Nothing is unpickled. What runs is the factory: a class or function of your own environment, called without arguments.

    Args:
        directory: The `artifact` folder of a run, or the run directory itself.
        factory: Builds the dense network; the one that `model.json` names when None.
        model: The dense network itself, instead of a factory, trained or not; it stays as it is.

    Returns:
        The network on the CPU, in eval mode.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
        UsageError: No factory is known, it builds another network, both it and a model are given, or the model is none that can
            be filled.
    """
    if factory is not None and model is not None:
        raise UsageError("factory and model both give the dense network", "pass one of the two")
    if model is not None and not isinstance(model, nn.Module) and not callable(model):
        raise UsageError(f"model is a {type(model).__name__}, not the dense network", "pass the network itself")
    directory = Path(directory)
    if not (directory / MODEL).exists() and (directory / "artifact" / MODEL).exists():
        directory = directory / "artifact"
    document = read_json(directory / MODEL)
    given = model if model is not None else factory
    return _rebuilt(directory, document, document.get("factory") if given is None else given)


def fill_from_artifact(model: nn.Module, directory: Path) -> nn.Module:
    """Put an artifact's weights and settings into `model`, in place: its dense network, pruned by its plan; gives it back.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
        UsageError: The model is another.
    """
    return _filled(model, directory, read_json(directory / MODEL))


def _rebuilt(directory: Path, document: Mapping[str, Any], factory: Any) -> nn.Module:
    _check_format(directory, document)
    kind = document.get("kind", CHANNEL_KIND)
    if kind not in (CHANNEL_KIND, MASK_KIND):
        raise UsageError(
            f"{directory} holds an artifact of kind {kind!r}; this evoprune reads {CHANNEL_KIND}, {MASK_KIND}"
        )
    plan_path = directory / (MASKS if kind == MASK_KIND else PLAN)
    _check_digest(directory / WEIGHTS, document.get("weights_sha256"))
    _check_digest(plan_path, document.get("plan_sha256"))
    why, script = (f"{text:.300}" if isinstance(text, str) else "" for text in map(document.get, (WHY, "script")))
    dense = build_dense(factory, directory, why, script)
    return _filled(_pruned(dense, _read_plan(plan_path)), directory, document)


def _check_format(directory: Path, document: Mapping[str, Any]) -> None:
    found = document.get("format")
    if found in (FORMAT, *OLDER):
        return
    read, writer = ", ".join(map(str, (*OLDER, FORMAT))), document.get("evoprune")
    by = f", written by evoprune {writer:.20}" if isinstance(writer, str) else ""
    newer = isinstance(found, int) and found > FORMAT
    raise UsageError(
        f"{directory} has artifact format {found!r}{by}; this evoprune, {__version__}, reads {read}",
        "pip install -U evoprune" if newer else "",
    )


def _filled(model: nn.Module, directory: Path, document: Mapping[str, Any]) -> nn.Module:
    weights = _read_weights(directory, masked=document.get("kind") == MASK_KIND)
    match_dtypes(model, weights)
    put_weights(model, weights, str(directory / WEIGHTS))
    if document.get("settings") is not None:
        content = b""
        if document.get("settings_sha256") is not None:
            _check_digest(directory / SETTINGS, document["settings_sha256"])
            content = (directory / SETTINGS).read_bytes()
        copies = read_copies(content, str(directory / SETTINGS))
        apply_settings(model, document["settings"], copies, str(directory / MODEL))
    return model.eval()


def _read_weights(directory: Path, *, masked: bool) -> dict[str, Tensor]:
    plan = _read_plan(directory / MASKS) if masked else None
    path = directory / WEIGHTS
    return read_sparse_file(path, most_weights=plan.size) if isinstance(plan, MaskPlan) else read_weights(path)


def read_artifact_plan(directory: Path) -> AnyPlan:
    """What the finished network keeps of the dense one.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
    """
    masked = read_json(directory / MODEL).get("kind") == MASK_KIND
    return _read_plan(directory / (MASKS if masked else PLAN))


def _read_plan(path: Path) -> AnyPlan:
    try:
        if path.name == MASKS:
            return MaskPlan.from_bytes(path.read_bytes())
        return PruningPlan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, InvalidPlanError) as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error


def _pruned(dense: nn.Module, plan: AnyPlan) -> nn.Module:
    try:
        return prune(dense, plan)
    except InvalidPlanError as error:
        raise UsageError(
            f"the factory builds another network than the one that was pruned: {error.message}",
            "pass the dense network as it was: evoprune.load(directory, model=my_dense_model)",
        ) from error


def _check_digest(path: Path, expected: Any) -> None:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error
    if digest != expected:
        raise StoreCorruptedError(f"{path} is not the file that was saved with this artifact", "restore it from a copy")
