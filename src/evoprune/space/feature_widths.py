"""Attributes in which a network keeps the width of its features for methods that are called later, such as `reset_classifier`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from evoprune.nn_utils.calling import call_model, undisturbed
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


def feature_rules(model: nn.Module, example_inputs: Any) -> tuple[AttributeRule, ...]:
    """Rules for attributes that say how wide the classifier's input is, and that nothing reads as the model runs.

    What is read as it runs decides what is computed, and is left to those who look at that. Which layer is meant has to be clear:
    the one that `get_classifier()` returns, or the only linear layer inside that reads so many features, or else the only
    convolution.

    Args:
        model: The network; it is left as it was.
        example_inputs: It is run on these once if there is such an attribute, and once for each name if one of them is read.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    rules = [
        AttributeRule(path, attribute, (names[id(layer.weight)], 1))
        for path, module in model.named_modules()
        if not type(module).__module__.startswith("torch.")
        for attribute, width in vars(module).items()
        if attribute in FEATURE_WIDTHS and type(width) is int
        for layer in _readers(module, width)
        if id(layer.weight) in names
    ]
    if not rules or not _is_read(model, rules, example_inputs):
        return tuple(rules)
    named = {
        name: [rule for rule in rules if rule.attribute == name] for name in dict.fromkeys(r.attribute for r in rules)
    }
    kept = [alike for alike in named.values() if len(named) > 1 and not _is_read(model, alike, example_inputs)]
    return tuple(rule for alike in kept for rule in alike)


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


def _is_read(model: nn.Module, rules: list[AttributeRule], example_inputs: Any) -> bool:
    """Whether the model misses any of the attributes as it runs."""
    modules = [model.get_submodule(rule.module) for rule in rules]
    before = [(vars(module), dict(vars(module))) for module in dict.fromkeys(modules)]
    for module, rule in zip(modules, rules, strict=True):
        vars(module).pop(rule.attribute, None)
    try:
        with undisturbed(model):
            call_model(model, example_inputs)
    except Exception:  # most likely an AttributeError, in whatever the model makes of it
        return True
    finally:
        # All of it, so that the order is as before as well.
        for values, known in before:
            values.clear()
            values.update(known)
    return False
