"""Attributes in which a network keeps the width of its features for methods that are called later, such as `reset_classifier`."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from torch import nn

from evoprune.space.groups import AttributeRule

FEATURE_WIDTHS = {
    *(
        "num_features",
        "head_hidden_size",
        "num_ftrs",
        "n_features",
        "feature_dim",
        "features_dim",
        "feat_dim",
        "feature_size",
    ),
    *(
        "in_features",
        "last_channel",
        "last_channels",
        "inplanes",
        "in_planes",
        "embed_dim",
        "hidden_size",
        "hidden_dim",
    ),
}
"""Names under which networks keep the width of the features that their classifier reads; add those that yours use."""


def feature_rules(model: nn.Module, reads: Collection[tuple[str, str]]) -> tuple[AttributeRule, ...]:
    """Rules for attributes that say how wide the classifier's input is, and that nothing reads as the model runs.

    What is read as it runs decides what is computed, and is left to those who look at that. Which layer is meant has to be clear:
    the one that `get_classifier()` returns, or the only linear layer inside that reads so many features, or else the only
    convolution.

    Args:
        model: The network.
        reads: Modules and attributes of theirs that were read as it ran.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    read = {attribute for _, attribute in reads}
    return tuple(
        AttributeRule(path, attribute, (names[id(layer.weight)], 1))
        for path, module in model.named_modules()
        if not type(module).__module__.startswith("torch.")
        for attribute, width in vars(module).items()
        if attribute in FEATURE_WIDTHS - read and type(width) is int
        for layer in _readers(module, width)
        if id(layer.weight) in names
    )


def _readers(module: nn.Module, width: int) -> Iterator[nn.Linear | nn.Conv2d]:
    classifier = _classifier_of(module)
    if isinstance(classifier, nn.Linear) and classifier.in_features == width:
        yield classifier
        return
    inside = list(module.modules())
    linear = [one for one in inside if isinstance(one, nn.Linear) and one.in_features == width]
    conv = [one for one in inside if isinstance(one, nn.Conv2d) and one.in_channels == width and one.groups == 1]
    found: list[nn.Linear] | list[nn.Conv2d] = linear or conv
    if len(found) == 1:
        yield found[0]


def _classifier_of(module: nn.Module) -> Any:
    method = getattr(module, "get_classifier", None)
    try:
        return method() if callable(method) else None
    except Exception:  # a method of the user's may want arguments, or fail
        return None
