"""A finished model on disk: safetensors and JSON, and back without pickle."""

from __future__ import annotations

import hashlib
import inspect
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from evoprune.artifact import put_weights, read_weights, weight_bytes
from evoprune.errors import ConfigError, InvalidPlanError, StoreCorruptedError, UsageError
from evoprune.mask_plan import MaskPlan
from evoprune.plan import PruningPlan
from evoprune.plugins import import_object
from evoprune.pruning.apply import AnyPlan, prune
from evoprune.rng import isolated_rng
from evoprune.run.files import read_json, write_atomically, write_json
from evoprune.run.sparse_weights import read_sparse_file, sparse_weight_bytes
from evoprune.task import Task

WEIGHTS: Final = "model.safetensors"
PLAN: Final = "plan.json"
MASKS: Final = "masks.safetensors"
MODEL: Final = "model.json"
ARTIFACT_FILES: Final = (WEIGHTS, PLAN, MASKS, MODEL)
FORMAT: Final = 1
CHANNEL_KIND: Final = "channels"
MASK_KIND: Final = "masks"

Factory = Callable[[], nn.Module]


def save_artifact(directory: Path, model: nn.Module, plan: AnyPlan, *, factory: str | None, task: Task) -> None:
    """Write `model.safetensors`, the plan and `model.json`, the last one last: with it the artifact is complete.

    Args:
        directory: Created when missing; an artifact in it is replaced.
        model: The pruned network.
        plan: What was kept of the dense one: `plan.json`, or `masks.safetensors` and weights without their zeros.
        factory: Import path of what builds the dense network without arguments, where known.
        task: Names the preprocessing that the network expects.

    Raises:
        InvalidPlanError: A weight that the plan masks is not zero.
    """
    if isinstance(plan, MaskPlan):
        kind, name, stale = MASK_KIND, MASKS, PLAN
        weights, plan_bytes = sparse_weight_bytes(model, plan), plan.to_bytes()
    else:
        kind, name, stale = CHANNEL_KIND, PLAN, MASKS
        weights, plan_bytes = weight_bytes(model), plan.to_json().encode()
    write_atomically(directory / WEIGHTS, weights)
    write_atomically(directory / name, plan_bytes)
    write_json(
        directory / MODEL,
        {
            "format": FORMAT,
            "kind": kind,
            "factory": factory,
            "preprocessing": _preprocessing(task),
            "class_names": list(task.class_names),
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "plan_sha256": hashlib.sha256(plan_bytes).hexdigest(),
        },
    )
    (directory / stale).unlink(missing_ok=True)


def load_artifact(directory: Path | str, factory: Factory | str | None = None) -> nn.Module:
    """Rebuild a pruned or masked network from its artifact: build the dense one, prune it by the plan, put the weights in.

    Nothing is unpickled. What runs is the factory: a class or function of your own environment, called without arguments.

    Args:
        directory: The `artifact` folder of a run, or the run directory itself.
        factory: Builds the dense network; the one that `model.json` names when None.

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
    if document.get("format") != FORMAT:
        raise UsageError(f"{directory} has artifact format {document.get('format')!r}; this evoprune reads {FORMAT}")
    kind = document.get("kind", CHANNEL_KIND)
    if kind not in (CHANNEL_KIND, MASK_KIND):
        raise UsageError(
            f"{directory} holds an artifact of kind {kind!r}; this evoprune reads {CHANNEL_KIND}, {MASK_KIND}"
        )
    plan_path = directory / (MASKS if kind == MASK_KIND else PLAN)
    _check_digest(directory / WEIGHTS, document.get("weights_sha256"))
    _check_digest(plan_path, document.get("plan_sha256"))
    model = _pruned(build_dense(factory or document.get("factory"), directory), _read_plan(plan_path))
    weights = read_artifact_weights(directory)
    _match_dtypes(model, weights)
    put_weights(model, weights, str(directory / WEIGHTS))
    return model.eval()


def read_artifact_weights(directory: Path) -> dict[str, Tensor]:
    """The finished network's weights of either kind of artifact, by name.

    Raises:
        StoreCorruptedError: A file is missing or damaged.
    """
    plan = read_artifact_plan(directory)
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


def build_dense(factory: Factory | str | None, directory: Path) -> nn.Module:
    """Call the factory under a fixed seed, so that building a network never disturbs the caller's random state.

    Raises:
        UsageError: There is none, it is neither a function nor a module class, or it returns something else.
        StoreCorruptedError: The artifact names it by something else than text.
    """
    if factory is not None and not callable(factory) and not isinstance(factory, str):
        raise StoreCorruptedError(f"{directory} names as its factory what is no name", "pass factory= yourself")
    if not factory:
        raise UsageError(
            f"{directory} names no factory for the dense network", "pass one: evoprune.load(directory, factory=MyNet)"
        )
    build: Any = _imported(factory) if isinstance(factory, str) else factory
    # An artifact may come from anyone. It may name code to call, but neither built-ins nor arguments.
    if isinstance(factory, str) and not _is_builder(build):
        raise UsageError(f"{factory} is neither a function nor a class of networks", "pass factory= yourself")
    with isolated_rng(0):
        model = build()
    if not isinstance(model, nn.Module):
        raise UsageError(f"the factory returned a {type(model).__name__}, not a torch module")
    return model


def _imported(path: str) -> Any:
    try:
        return import_object(path)
    except ConfigError as error:
        raise ConfigError(
            f"can't import the factory {path}: {error.message}",
            "run from the folder that it is in, or pass factory= yourself",
        ) from error


def _is_builder(candidate: Any) -> bool:
    return isinstance(candidate, types.FunctionType) or (
        inspect.isclass(candidate) and issubclass(candidate, nn.Module)
    )


def _match_dtypes(model: nn.Module, weights: dict[str, Any]) -> None:
    floating = {value.dtype for value in weights.values() if value.is_floating_point()}
    if len(floating) == 1:
        model.to(floating.pop())


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
