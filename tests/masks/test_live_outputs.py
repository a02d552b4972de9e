"""Outputs that live, by running the layer: what the input can change, and nothing else, has a weight left."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from evoprune.masks.maskable import maskable_weights
from evoprune.masks.space import MaskSpace
from evoprune.masks.structure_names import parse_structure
from evoprune.rng import isolated_rng

STRUCTURES = ["unstructured", "2:4", "columns", "4x4"]
CONVOLUTIONS = {
    (1, False): nn.Conv1d,
    (2, False): nn.Conv2d,
    (3, False): nn.Conv3d,
    (1, True): nn.ConvTranspose1d,
    (2, True): nn.ConvTranspose2d,
    (3, True): nn.ConvTranspose3d,
}


def convolution(dims, transposed, groups, inputs, outputs, kernel):
    with isolated_rng(0):
        return CONVOLUTIONS[dims, transposed](
            groups * inputs, groups * outputs, kernel, groups=groups, bias=False, stride=kernel if transposed else 1
        )


convolutions = st.builds(
    convolution,
    st.sampled_from([1, 2, 3]),
    st.booleans(),
    st.sampled_from([1, 2, 3, 5]),
    st.integers(1, 4),
    st.integers(1, 5),
    st.integers(1, 2),
)


def space_of(layer, structure="unstructured"):
    (weight,) = maskable_weights(layer)
    parsed = parse_structure(structure)
    everything = {weight.name: np.ones(parsed.units(weight.rows_shape), np.bool_)}
    return weight, MaskSpace((weight,), everything, None, {}, parsed, frozenset({weight.name}), "")


def living(layer, mask):
    """[outputs] bool: whether any input that is not zero comes through, the weights positive where the mask is."""
    inputs = layer.in_channels
    dims = layer.weight.dim() - 2
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(mask))
        return layer(torch.ones(1, inputs, *[4] * dims)).flatten(2).sum((0, 2)).ne(0).numpy()


@settings(max_examples=60)
@given(convolutions, st.sampled_from(STRUCTURES), st.integers(0, 9999))
def test_every_output_of_a_convolution_lives_when_nearly_all_goes(layer, structure, seed):
    weight, space = space_of(layer, structure)
    keys = np.random.default_rng(seed).random(len(space.alive[weight.name])).astype(np.float32)
    least = space.mended(weight, np.zeros(len(keys), np.bool_), keys)
    mask = space.plan({weight.name: least}).masks[weight.name].bools
    assert living(layer, mask).all()
    assert mask.shape == weight.shape


@settings(max_examples=60)
@given(convolutions, st.integers(0, 9999), st.floats(0.05, 0.9))
def test_outputs_are_well_formed_when_the_input_reaches_them_all(layer, seed, share):
    weight, space = space_of(layer)
    bits = np.random.default_rng(seed).random(weight.size) < share
    mask = space.plan({weight.name: bits}).masks[weight.name].bools
    assert space.well_formed({weight.name: bits}) == living(layer, mask).all()


@settings(max_examples=60)
@given(convolutions, st.integers(0, 9999))
def test_one_row_feeds_one_output_alone(layer, seed):
    weight, space = space_of(layer, "rows")
    rows = len(space.alive[weight.name])
    row = seed % rows
    mask = space.plan({weight.name: np.arange(rows) == row}).masks[weight.name].bools
    assert np.flatnonzero(living(layer, mask)).tolist() == [row]


@given(convolutions, st.integers(0, 9999))
def test_rows_and_their_inverse_keep_every_weight(layer, seed):
    (weight,) = maskable_weights(layer)
    values = np.random.default_rng(seed).random(weight.shape)
    assert weight.rows(values).shape == weight.rows_shape
    assert np.array_equal(weight.from_rows(weight.rows(values)), values)


def test_parametrised_transposed_convolution_has_the_rows_of_a_plain_one():
    with isolated_rng(0):
        layer = spectral_norm(nn.ConvTranspose2d(8, 16, 3, groups=4))
    (weight,) = maskable_weights(layer)
    assert (weight.output_dim, weight.groups, weight.rows_shape) == (1, 4, (16, 2, 3, 3))
