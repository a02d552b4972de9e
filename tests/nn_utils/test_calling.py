from collections import UserDict, namedtuple

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from evoprune.nn_utils.calling import arguments_of, call_model


class Encoding(UserDict):
    def __getattr__(self, name):
        try:
            return self.__dict__["data"][name]
        except KeyError:
            raise AttributeError(name) from None


Inputs = namedtuple("Inputs", ["x", "mask"])


class Keywords(nn.Module):
    def forward(self, x, mask=None):
        return x, mask


class WithLabels(nn.Module):
    def forward(self, x, labels=None):
        return x, labels


class Whole(nn.Module):
    def forward(self, batch):
        return batch


class Anything(nn.Module):
    def forward(self, *args, **kwargs):
        return args, kwargs


X, MASK = torch.zeros(2, 3), torch.ones(2, 3)


@pytest.mark.parametrize("kind", [dict, UserDict, Encoding])
def test_call_model_gives_a_mapping_as_keywords_and_labels_where_they_are_taken(kind):
    assert call_model(Keywords(), kind({"x": X, "mask": MASK, "labels": MASK})) == (X, MASK)
    assert call_model(WithLabels(), kind({"x": X, "labels": MASK})) == (X, MASK)
    assert call_model(Anything(), kind({"x": X, "labels": MASK})) == ((), {"x": X, "labels": MASK})


@pytest.mark.parametrize("inputs", [{"x": X}, Encoding({"x": X}), Inputs(X, MASK), [X, MASK], pack_sequence([X])])
def test_call_model_gives_a_container_whole_to_a_model_that_takes_one(inputs):
    assert call_model(Whole(), inputs) is inputs


@pytest.mark.parametrize("inputs", [(X, MASK), [X, MASK], Inputs(X, MASK)])
def test_call_model_gives_positional_arguments(inputs):
    assert call_model(Keywords(), inputs) == (X, MASK)


def test_arguments_of_inputs_that_fit_no_signature_are_left_to_the_model_to_refuse():
    assert arguments_of(Two(), {"y": X}) == ((), {"y": X})
    with pytest.raises(TypeError, match="'y'"):
        call_model(Two(), {"y": X})


class Two(nn.Module):
    def forward(self, a, b):
        return a, b
