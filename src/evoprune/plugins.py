"""The one page that maps names to code: built-ins, other packages' entry points, and a user's own `my_pkg.mod:Thing`."""

from __future__ import annotations

import difflib
import importlib
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Final

from evoprune.errors import ConfigError, MissingDependencyError

BUILT_IN: Final[dict[str, dict[str, str]]] = {
    "recipes": {
        "mnist-cnn": "evoprune.recipes.mnist_cnn:mnist_cnn",
        "fashion-mnist-cnn": "evoprune.recipes.fashion_mnist_cnn:fashion_mnist_cnn",
        "lenet5-mnist": "evoprune.recipes.lenet5:lenet5_mnist",
        "lenet5-tanh-mnist": "evoprune.recipes.lenet5:lenet5_tanh_mnist",
        "resnet18-cifar10": "evoprune.recipes.resnet_cifar10:resnet18_cifar10",
        "resnet20-cifar10": "evoprune.recipes.resnet_cifar10:resnet20_cifar10",
        "resnet56-cifar10": "evoprune.recipes.resnet_cifar10:resnet56_cifar10",
    },
    "objectives": {
        "accuracy": "evoprune.objectives.accuracy:Accuracy",
        "macs": "evoprune.objectives.cost:Macs",
        "params": "evoprune.objectives.cost:Params",
        "size_bytes": "evoprune.objectives.cost:SizeBytes",
        "peak_activation_bytes": "evoprune.objectives.cost:PeakActivationBytes",
        "latency_ms": "evoprune.objectives.latency:LatencyMs",
        "loss": "evoprune.objectives.loss:MeanLoss",
        "worst_class_accuracy": "evoprune.objectives.accuracy:WorstClassAccuracy",
        "sparsity": "evoprune.objectives.mask_measures:Sparsity",
        "layer_sparsity": "evoprune.objectives.mask_measures:LayerSparsity",
    },
    "metrics": {
        "accuracy": "evoprune.metrics:accuracy",
        "binary_accuracy": "evoprune.metrics:binary_accuracy",
        "multilabel_accuracy": "evoprune.metrics:multilabel_accuracy",
        "mean_iou": "evoprune.metrics:mean_iou",
        "r2": "evoprune.metrics:r2",
        "mean_squared_error": "evoprune.metrics:mean_squared_error",
        "mean_absolute_error": "evoprune.metrics:mean_absolute_error",
        "negative_loss": "evoprune.metrics:negative_loss",
    },
    "criteria": {
        "l1": "evoprune.channels.importance.magnitude:l1",
        "l2": "evoprune.channels.importance.magnitude:l2",
        "group_magnitude": "evoprune.channels.importance.group_magnitude:group_magnitude",
        "bn_scale": "evoprune.channels.importance.bn_scale:bn_scale",
        "lamp": "evoprune.channels.importance.lamp:lamp",
        "fpgm": "evoprune.channels.importance.fpgm:fpgm",
        "taylor": "evoprune.channels.importance.taylor:taylor",
        "hessian": "evoprune.channels.importance.hessian:hessian",
        "random": "evoprune.channels.importance.random_scores:random_scores",
    },
    "encodings": {
        "channel-bits": "evoprune.channels.channel_bits:ChannelBits",
        "channel-widths": "evoprune.channels.channel_widths:ChannelWidths",
    },
    "mask_encodings": {
        "weight-bits": "evoprune.masks.encodings.weight_bits:WeightBits",
        "neuron-bits": "evoprune.masks.encodings.neuron_bits:NeuronBits",
        "keep-ratios": "evoprune.masks.encodings.keep_ratios:KeepRatios",
        "threshold-exceptions": "evoprune.masks.encodings.threshold_exceptions:ThresholdExceptions",
    },
    "searches": {
        "genetic": "evoprune.search.pymoo_adapter:genetic",
        "steady-state": "evoprune.search.steady_state:SteadyStateSearch",
        "ladder": "evoprune.search.ladder:ladder",
        "ladder-front": "evoprune.search.ladder:ladder_front",
        "nsga2": "evoprune.search.pymoo_adapter:nsga2",
        "nsga3": "evoprune.search.pymoo_adapter:nsga3",
        "random": "evoprune.search.random_search:RandomSearch",
    },
    "exporters": {
        "onnx": "evoprune.exporters.onnx_file:OnnxFile",
        "safetensors": "evoprune.exporters.weight_files:SafetensorsFile",
        "state-dict": "evoprune.exporters.weight_files:StateDictFile",
        "source": "evoprune.exporters.source_code:SourceCode",
        "torch-export": "evoprune.exporters.torch_export:TorchExportArchive",
        "torchscript": "evoprune.exporters.torchscript_file:TorchScriptFile",
    },
    "trackers": {
        "tensorboard": "evoprune.tracking.tensorboard:TensorBoard",
        "mlflow": "evoprune.tracking.mlflow:MLflow",
        "wandb": "evoprune.tracking.wandb:WandB",
    },
    "executors": {
        "in-process": "evoprune.execution.in_process:InProcessExecutor",
        "forked": "evoprune.execution.forked:ForkedExecutor",
        "process-pool": "evoprune.execution.pool.executor:ProcessPoolExecutor",
        "ray": "evoprune.execution.ray.executor:RayExecutor",
    },
}

EXTRAS: Final[dict[str, tuple[str, ...]]] = {
    "ray": ("ray",),
    "onnx": ("onnx", "onnxruntime"),
    "tensorboard": ("tensorboard",),
    "mlflow": ("mlflow",),
    "wandb": ("wandb",),
}
"""What each extra installs."""


def known_names(kind: str) -> list[str]:
    """Names of `kind` that resolve without a colon: built-ins and installed entry points."""
    return sorted({*BUILT_IN[kind], *(point.name for point in entry_points(group=f"evoprune.{kind}"))})


def resolve(kind: str, name: str) -> Any:
    """The object that `name` stands for.

    Args:
        kind: `recipes`, `objectives`, `metrics`, `criteria`, `encodings`, `mask_encodings`, `searches`, `exporters`,
            `trackers` or `executors`.
        name: A built-in name, the name of an entry point in the group `evoprune.<kind>`, or `package.module:attribute`.

    Raises:
        ConfigError: Nothing goes by this name; the known ones are listed, closest first.
        MissingDependencyError: The module exists but something that it imports is not installed.
    """
    if name in BUILT_IN[kind]:
        return import_object(BUILT_IN[kind][name])
    if ":" in name:
        return import_object(name)
    for point in entry_points(group=f"evoprune.{kind}"):
        if point.name == name:
            return import_object(f"{point.module}:{point.attr}")
    known = known_names(kind)
    close = difflib.get_close_matches(name, known, n=1)
    raise ConfigError(
        f"{name!r} is not one of the {kind}: {', '.join([*close, *(one for one in known if one not in close)])}",
        "or name your own as package.module:attribute",
    )


def import_object(path: str) -> Any:
    """Import `package.module:attribute`; the working directory counts, as it does for `python -m`.

    Raises:
        ConfigError: The path is malformed, module or attribute do not exist, or the module is broken.
        MissingDependencyError: The module exists but something that it imports is not installed.
    """
    module_name, _, attribute = path.partition(":")
    if not attribute or not all(part.isidentifier() for part in (*module_name.split("."), *attribute.split("."))):
        raise ConfigError(f"{path!r} is not of the form package.module:attribute")
    working_directory = str(Path.cwd())
    if working_directory not in sys.path and "" not in sys.path:
        sys.path.append(working_directory)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise ConfigError(f"there is no module {module_name!r}", "run from its folder, or install it") from error
        extra = next((name for name, packages in EXTRAS.items() if error.name in packages), None)
        hint = "" if extra is None else f"pip install 'evoprune[{extra}]'"
        raise MissingDependencyError(f"{module_name} needs {error.name!r}, which is not installed", hint) from error
    except (ImportError, SyntaxError) as error:
        raise ConfigError(f"module {module_name!r} can't be imported: {error}") from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"module {module_name!r} has no {attribute!r}")
        found = getattr(found, part)
    return found
