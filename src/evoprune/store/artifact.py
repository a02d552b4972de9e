"""A finished model on disk: safetensors and JSON, and back without pickle."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from evoprune.data.task import Task
from evoprune.errors import EvopruneError, InvalidPlanError, StoreCorruptedError, UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.nn_utils.weights import match_dtypes, put_weights, read_weights, weight_bytes
from evoprune.plan import PruningPlan
from evoprune.pruning import AnyPlan, prune
from evoprune.store.atomic import read_json, write_atomically, write_json
from evoprune.store.dense_factory import Factory, build_dense
from evoprune.store.module_settings import Settings, read_settings
from evoprune.store.rebuilding import complete_settings, difference, settle
from evoprune.store.settings_file import apply_settings, read_copies, settings_document, settings_tensors
from evoprune.store.sparse_weights import read_sparse_file, sparse_weight_bytes

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
        "kind": kind,
        "factory": factory,
        "preprocessing": _preprocessing(task),
        "class_names": list(task.class_names),
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
        return f"{reason}; load it with evoprune.load(..., factory=...)"
    if factory is not None and factory.partition(":")[0] == "__main__":
        return f"{factory} is found by this script alone; elsewhere, load it with evoprune.load(..., factory=...)"
    return ""


def load_artifact(directory: Path | str, factory: Factory | nn.Module | str | None = None) -> nn.Module:
    """Rebuild a pruned or masked network from its artifact: the dense one, pruned by the plan, with its weights and settings.

    Nothing is unpickled. What runs is the factory: a class or function of your own environment, called without arguments.

    Args:
        directory: The `artifact` folder of a run, or the run directory itself.
        factory: Builds the dense network, or is that network, which stays as it is; the one that `model.json` names when None.

    Returns:
        The network on the CPU, in eval mode.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
        UsageError: No factory is known, or it builds another network.
    """
    directory = Path(directory)
    if not (directory / MODEL).exists() and (directory / "artifact" / MODEL).exists():
        directory = directory / "artifact"
    document = read_json(directory / MODEL)
    return _rebuilt(directory, document, document.get("factory") if factory is None else factory)


def fill_from_artifact(model: nn.Module, directory: Path) -> nn.Module:
    """Put an artifact's weights and settings into `model`, in place: its dense network, pruned by its plan; gives it back.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
        UsageError: The model is another.
    """
    return _filled(model, directory, read_json(directory / MODEL))


def _rebuilt(directory: Path, document: Mapping[str, Any], factory: Any) -> nn.Module:
    if document.get("format") not in (FORMAT, *OLDER):
        read = ", ".join(map(str, (*OLDER, FORMAT)))
        raise UsageError(f"{directory} has artifact format {document.get('format')!r}; this evoprune reads {read}")
    kind = document.get("kind", CHANNEL_KIND)
    if kind not in (CHANNEL_KIND, MASK_KIND):
        raise UsageError(
            f"{directory} holds an artifact of kind {kind!r}; this evoprune reads {CHANNEL_KIND}, {MASK_KIND}"
        )
    plan_path = directory / (MASKS if kind == MASK_KIND else PLAN)
    _check_digest(directory / WEIGHTS, document.get("weights_sha256"))
    _check_digest(plan_path, document.get("plan_sha256"))
    why = document.get(WHY)
    dense = build_dense(factory, directory, f"{why:.300}" if isinstance(why, str) else "")
    return _filled(_pruned(dense, _read_plan(plan_path)), directory, document)


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
            "pass one that builds it: evoprune.load(directory, factory=...)",
        ) from error


def _check_digest(path: Path, expected: Any) -> None:
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise StoreCorruptedError(f"can't read {path}: {error}") from error
    if digest != expected:
        raise StoreCorruptedError(f"{path} is not the file that was saved with this artifact", "restore it from a copy")


def _preprocessing(task: Task) -> dict[str, list[float]] | None:
    known = getattr(task.train, "preprocessing", None)
    return None if known is None else {"mean": list(known.mean), "std": list(known.std)}
