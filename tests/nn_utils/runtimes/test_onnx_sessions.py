import copy

import pytest
import torch
from torch import nn

from evoprune.errors import MeasurementError, MissingDependencyError
from evoprune.nn_utils.runtimes import onnx_sessions
from evoprune.nn_utils.runtimes.onnx_sessions import GraphNames, OnnxRuntime, check_installed, onnx_bytes, onnx_session
from evoprune.nn_utils.threads import torch_threads

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.fixture
def runtime(onnx_installed):
    return OnnxRuntime()


class Mixed(nn.Module):
    """Arguments in containers and by keyword, several results."""

    def __init__(self):
        super().__init__()
        self.embed, self.lstm, self.head = nn.Embedding(7, 4), nn.LSTM(4, 5, batch_first=True), nn.Linear(5, 3)

    def forward(self, batch, *, scale):
        out, _ = self.lstm(self.embed(batch["ids"]))
        return {"logits": self.head(out) * scale, "extra": (batch["bias"] + scale,)}


def convolutions():
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3))


CALLS = {
    "convolutions": (convolutions, ((torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(1)),), {})),
    "mixed": (Mixed, (({"ids": torch.tensor([[1, 2, 6]]), "bias": torch.ones(2)},), {"scale": torch.tensor(2.0)})),
}


def results(runner, count):
    return [torch.from_numpy(one.numpy()) for one in runner()[-count:]]


@pytest.mark.parametrize("name", list(CALLS))
def test_session_computes_what_the_module_computes_call_after_call(runtime, name):
    build, (args, kwargs) = CALLS[name]
    module = build().eval()
    with torch.no_grad():
        wanted = module(*args, **kwargs)
    wanted = [wanted] if isinstance(wanted, torch.Tensor) else [wanted["logits"], *wanted["extra"]]
    with torch.inference_mode():  # where latencies are measured
        runner = runtime.runner(module, (args, kwargs))
    for _ in range(2):
        for found, right in zip(results(runner, len(wanted)), wanted, strict=True):
            torch.testing.assert_close(found, right, rtol=1e-4, atol=1e-5)


def test_module_stays_as_it_was_and_may_be_channels_last(runtime):
    module = convolutions().to(memory_format=torch.channels_last).train()
    before = copy.deepcopy(module.state_dict())
    (args, _) = CALLS["convolutions"][1]
    x = args[0].to(memory_format=torch.channels_last)
    runner = runtime.runner(module, ((x,), {}))
    with torch.no_grad():
        wanted = copy.deepcopy(module).eval()(x)
    torch.testing.assert_close(results(runner, 1)[0], wanted, rtol=1e-4, atol=1e-5)
    assert module.training
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_sessions_have_the_threads_that_torch_has(runtime):
    x = torch.zeros(1)
    with torch_threads(2):
        options = onnx_session(onnx_bytes(nn.ReLU(), ((x,), {}), [x], GraphNames(["x"]))).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)


def test_module_that_cannot_be_exported_is_told(runtime):
    class Odd(nn.Module):
        def forward(self, x):
            return torch.linalg.eigvals(x)

    with pytest.raises(MeasurementError, match="Odd can't be run by onnxruntime: ") as caught:
        runtime.runner(Odd(), ((torch.eye(3),), {}))
    assert "\n" not in caught.value.message


def test_an_export_that_fails_prints_no_graph(runtime, capfd):
    class Spectral(nn.Module):
        def forward(self, images):
            return torch.fft.rfft(images).abs()

    with pytest.raises(MeasurementError):
        runtime.runner(Spectral(), ((torch.ones(1, 8),), {}))
    assert capfd.readouterr().out == ""


def test_label_has_the_version_and_the_device_is_the_cpu(runtime):
    import onnxruntime

    assert runtime.label == f"onnxruntime {onnxruntime.__version__}"
    assert runtime.device(torch.device("cuda")) == torch.device("cpu")
    assert runtime.idle()() is not None


def test_missing_package_is_told_with_the_extra(monkeypatch):
    monkeypatch.setattr(onnx_sessions.importlib.util, "find_spec", lambda name: None if name == "onnx" else object())
    with pytest.raises(
        MissingDependencyError, match="runtime=onnxruntime needs onnx, which is not installed"
    ) as caught:
        check_installed()
    assert "evoprune[onnx]" in caught.value.hint
