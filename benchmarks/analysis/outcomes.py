"""Is a pruned network right? Decided by a masked reference built here, from nothing but the two networks' weights.

The dense weights are random and all different, so the values of a pruned weight tell which parts of the dense one it keeps. The
reference is the dense network with everything zeroed that is gone: rows, columns, scales and shifts. A right cut computes the
same.
"""

import copy
import linecache
import traceback
from pathlib import Path

import torch
from libraries import forward, relative_difference
from torch.nn.utils import parametrize

TOLERANCE = 1e-9
SIZES = {"out_channels": ("weight", 0), "out_features": ("weight", 0), "num_features": ("weight", 0)}


def outcome(library, dense, inputs, make):
    """-> (right / refused / silently wrong / crashed, detail) of the network that `make()` returns."""
    before = {name: value.clone() for name, value in dense.state_dict().items()}
    try:
        smaller = make()
    except Exception as error:
        kind = "refused" if _is_deliberate(error, library.package) else "crashed"
        return kind, f"{type(error).__name__}: {_first_line(error)}"
    if any(not torch.equal(before[name], value) for name, value in dense.state_dict().items()):
        return "silently wrong", "the dense network was changed"
    if all(smaller.state_dict()[name].shape == value.shape for name, value in before.items()) and not _lies(smaller):
        return "refused", "nothing was removed"
    try:
        found = forward(smaller, inputs)
    except Exception as error:
        return "crashed", f"the pruned network can't run: {type(error).__name__}: {_first_line(error)}"
    return _compared(dense, smaller, inputs, found)


def _compared(dense, smaller, inputs, found):
    try:
        difference = relative_difference(found, forward(masked(dense, smaller), inputs))
    except ValueError as error:
        return "silently wrong", str(error)
    if not difference <= TOLERANCE:
        return "silently wrong", f"off by {100 * difference:.1f} % of the largest output"
    lies = _lies(smaller)
    return ("silently wrong", lies) if lies else ("right", f"off by {difference:.0e}")


def masked(dense, smaller):
    """The dense network, parametrizations folded in, with zeros where `smaller` has nothing."""
    reference = copy.deepcopy(dense)
    for module in list(reference.modules()):
        if parametrize.is_parametrized(module):
            _fold(module)
    targets = dict(reference.named_parameters(remove_duplicate=False)) | dict(reference.named_buffers())
    remaining = smaller.state_dict()
    for name, value in dense.state_dict().items():
        if name.endswith(
            ".original0"
        ):  # lengths may be others; the direction says what is gone, and outputs whether it is right
            continue
        target = targets[name.partition(".parametrizations.")[0] + ".weight" if "parametrizations" in name else name]
        gone = _gone(name, value, remaining[name])
        target.data.masked_fill_(gone, 1.0 if name.endswith("running_var") else 0.0)
    return reference


def _fold(module):
    """As `remove_parametrizations`, which takes the property from the class and so from all copies of the module (torch 2.13)."""
    values = {name: getattr(module, name).detach() for name in module.parametrizations}
    del module.parametrizations
    module.__class__ = type(module).__bases__[0]
    for name, value in values.items():
        module.register_parameter(name, torch.nn.Parameter(value))


def _gone(name, dense, smaller):
    """Which elements of `dense` are not in `smaller`: bool, in the shape of `dense`."""
    if dense.shape == smaller.shape:
        return torch.zeros(dense.shape, dtype=torch.bool)
    if not torch.isin(smaller, dense).all():
        raise ValueError(f"{name} holds values that the dense network doesn't have")
    return ~torch.isin(dense, smaller)


def _lies(model):
    """Attributes that don't match the weights, which printing, counting and exporting rely on."""
    for name, module in model.named_modules():
        for attribute, (tensor, dim) in SIZES.items():
            said = getattr(module, attribute, None)
            if said is not None and said != (size := getattr(module, tensor).shape[dim]):
                return f"{name}.{attribute} says {said}, its weight has {size}"
    return ""


def _is_deliberate(error, package):
    """Whether the library itself raised the error, with `raise` or `assert`, rather than stumbled."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    line = linecache.getline(frame.filename, frame.lineno or 0).strip()
    return package in Path(frame.filename).parts and line.startswith(("raise", "assert"))


def _first_line(error):
    return (str(error).strip().splitlines() or [""])[0][:160]
