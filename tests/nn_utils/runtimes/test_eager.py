import pytest
import torch
from torch import nn

from evoprune.errors import ConfigError
from evoprune.nn_utils.runtimes.choice import runtime_of
from evoprune.nn_utils.runtimes.eager import EagerRuntime


def test_eager_calls_the_module_itself_where_it_is():
    calls = []

    class Watched(nn.Module):
        def forward(self, x, *, scale):
            calls.append((x, scale))

    x = torch.zeros(2)
    runner = EagerRuntime().runner(Watched(), ((x,), {"scale": 3}))
    assert calls == []
    runner()
    assert calls == [(x, 3)]
    assert EagerRuntime().device(torch.device("meta")) == torch.device("meta")


def test_runtimes_are_found_by_name():
    assert isinstance(runtime_of("eager"), EagerRuntime)
    with pytest.raises(ConfigError, match="'tvm' is no runtime") as caught:
        runtime_of("tvm")
    assert "eager, onnxruntime" in caught.value.hint
