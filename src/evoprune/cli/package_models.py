"""Models of other packages by name, with random weights: `timm:NAME`, `hf:CONFIG_CLASS`, `ultralytics:FILE.yaml`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from evoprune.errors import ConfigError, MissingDependencyError
from evoprune.rng import isolated_rng

Made = tuple[nn.Module, Any]


def package_model(name: str) -> Made | None:
    """The model that `name` stands for and inputs for it; None where it is of no package that is known.

    Raises:
        MissingDependencyError: The package isn't installed.
        ConfigError: The package has no such model, or can't make it.
    """
    kind, _, rest = name.partition(":")
    if kind not in _MAKERS or not rest:
        return None
    package, make = _MAKERS[kind]
    try:
        found = importlib.import_module(package)
    except ImportError as error:
        raise MissingDependencyError(
            f"{name} needs {package}, which isn't installed", f"pip install {package}"
        ) from error
    try:
        with isolated_rng(0):
            return make(found, rest)
    except Exception as error:
        raise ConfigError(f"{package} can't make {rest}: {type(error).__name__}: {error}", _HINTS[kind]) from error


def _timm(timm: Any, name: str) -> Made:
    model = timm.create_model(name, pretrained=False)
    size = getattr(model, "pretrained_cfg", {}).get("input_size", (3, 224, 224))
    return model, torch.randn(1, *size)


def _ultralytics(_: Any, name: str) -> Made:
    tasks = importlib.import_module("ultralytics.nn.tasks")
    return tasks.DetectionModel(name, verbose=False), torch.randn(1, 3, 640, 640)


def _transformers(transformers: Any, name: str) -> Made:
    model = transformers.AutoModel.from_config(getattr(transformers, name)())
    return model, {model.main_input_name: _inputs(model), **_decoder_inputs(model)}


def _inputs(model: Any) -> torch.Tensor:
    if model.main_input_name == "pixel_values":
        size = getattr(model.config, "image_size", 224)
        height, width = size if isinstance(size, (tuple, list)) else (size, size)
        return torch.randn(1, getattr(model.config, "num_channels", 3), height, width)
    if model.main_input_name == "input_ids":
        return torch.arange(32)[None] % int(model.config.vocab_size)
    if model.main_input_name == "input_values":
        return torch.randn(1, 16_000)
    raise ValueError(f"its input {model.main_input_name!r} is not known here")


def _decoder_inputs(model: Any) -> dict[str, torch.Tensor]:
    return {"decoder_input_ids": torch.arange(8)[None]} if getattr(model.config, "is_encoder_decoder", False) else {}


_MAKERS: dict[str, tuple[str, Callable[[Any, str], Made]]] = {
    "timm": ("timm", _timm),
    "hf": ("transformers", _transformers),
    "ultralytics": ("ultralytics", _ultralytics),
}

_HINTS = {
    "timm": "timm.list_models() has the names",
    "hf": "give the name of a configuration class, such as hf:BertConfig; for inputs of your own, write a function and name that",
    "ultralytics": "give the name of a YAML file of a detection model, such as ultralytics:yolov8n.yaml",
}
