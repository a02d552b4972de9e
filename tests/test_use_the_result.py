"""The page on using a result: its code runs as printed, and its loader where there is no evoprune."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

import evoprune as ep
from evoprune.errors import ConfigError, UsageError
from evoprune.recipes.mnist_cnn import MnistCNN
from evoprune.recipes.resnet_cifar10 import ResNet20
from evoprune.store.artifact import MODEL, PLAN, WEIGHTS, save_artifact
from evoprune.testing.tiny import TinyCNN, tiny_recipe

PAGE = Path(__file__).parents[1] / "docs/how-to/use-the-result.md"
TASK = tiny_recipe()[1]

pytestmark = pytest.mark.usefixtures("seeded_torch")


def blocks():
    return re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)


def loader():
    names = {}
    exec(compile(next(one for one in blocks() if "def load_pruned" in one), str(PAGE), "exec"), names)
    return names["load_pruned"]


def saved(directory, model, example, keep=0.5):
    small = ep.prune(model, plan := ep.analyze(model, example).random_plan(keep=keep, seed=0)).eval()
    save_artifact(directory, small, plan, factory=None, task=TASK, example_inputs=example)
    return small


def test_code_of_the_page_runs_as_printed(tmp_path, monkeypatch, onnx_installed, capsys):
    monkeypatch.chdir(tmp_path)
    model, _, example = tiny_recipe()
    small = saved(Path("runs/mine/artifact"), model.eval(), example)
    images = torch.randn(4, 3, 8, 8)
    names = {"model": model, "example_inputs": example, "images": images}
    for block in blocks():
        exec(compile(block, str(PAGE), "exec"), names)
    assert len(blocks()) == 4
    assert torch.allclose(torch.from_numpy(names["logits"]), small(images), atol=1e-5)
    assert "on 4 real samples" in capsys.readouterr().out


ALONE = """
import sys
sys.modules["evoprune"] = None
{loader}
import torch
sys.path.insert(0, ".")
from small_net import Net
torch.set_num_threads(1)
with torch.no_grad():
    print(json.dumps(load_pruned(Net(), "artifact")(torch.linspace(-1, 1, 96).view(2, 3, 4, 4)).tolist()))
"""
NET = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.bn, self.two = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1)
        self.fc, self.again = nn.Linear(8, 5), nn.Conv2d(8, 8, 3, padding=1)
        self.again.weight = self.two.weight
    def forward(self, x):
        x = self.bn(self.one(x)).relu()
        return self.fc((x + self.again(self.two(x))).mean((2, 3)))
"""


def test_loader_of_the_page_runs_where_there_is_no_evoprune(tmp_path):
    (tmp_path / "small_net.py").write_text(NET)
    names = {}
    exec(NET, names)
    model, images = names["Net"]().eval(), torch.linspace(-1, 1, 96).view(2, 3, 4, 4)
    small = saved(tmp_path / "artifact", model, images)
    assert small.one.out_channels < 8
    source = next(one for one in blocks() if "def load_pruned" in one)
    assert "evoprune" not in re.sub(r'raise.*|""".*', "", source)
    assert len(source.splitlines()) < 40
    done = subprocess.run(
        [sys.executable, "-c", ALONE.format(loader=source)],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
    )
    assert torch.allclose(torch.tensor(json.loads(done.stdout)), small(images), atol=1e-6)


@pytest.mark.parametrize(("build", "shape"), [(MnistCNN, (1, 28, 28)), (ResNet20, (3, 32, 32)), (TinyCNN, (3, 8, 8))])
def test_loader_of_the_page_gives_what_evoprune_loads(tmp_path, build, shape):
    model, example = build().eval(), torch.zeros(1, *shape)
    small = saved(tmp_path, model, example)
    found, images = loader()(build(), tmp_path), torch.randn(3, *shape)
    assert torch.equal(found(images), small(images))
    assert torch.equal(ep.load(tmp_path, model=build())(images), small(images))


def test_loader_of_the_page_refuses_what_it_cannot_load(tmp_path):
    saved(tmp_path, TinyCNN().eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises((ValueError, RuntimeError, KeyError, IndexError)):
        loader()(MnistCNN(), tmp_path)
    card = json.loads((tmp_path / MODEL).read_text())
    odd = {"settings": {"attributes": {"": {"table": {"dict": [["a", 1]]}}}}}
    (tmp_path / MODEL).write_text(json.dumps({**card, **odd}))
    with pytest.raises(ValueError, match=r"needs evoprune\.load"):
        loader()(TinyCNN(), tmp_path)
    (tmp_path / PLAN).unlink()  # as in an artifact of masks
    with pytest.raises(FileNotFoundError, match=PLAN):
        loader()(TinyCNN(), tmp_path)


class Scaled(TinyCNN):
    def __init__(self):
        super().__init__()
        self.register_buffer("shift", torch.zeros(4), persistent=False)
        self.pair = (1.0, 2.0)

    def forward(self, images):
        return super().forward(images) * self.pair[1] + self.shift


def test_loader_of_the_page_sets_what_was_set_on_the_network(tmp_path):
    model = Scaled().eval()
    model.pair, model.shift = (1.0, 3.0), torch.arange(4.0)
    small = saved(tmp_path, model, torch.zeros(1, 3, 8, 8))
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(loader()(Scaled(), tmp_path)(images), small(images))


def test_model_is_loaded_into_the_network_in_hand_which_stays_as_it_was(tmp_path):
    model, example = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3)).eval(), torch.zeros(1, 3, 8, 8)
    small = saved(tmp_path, model, example)
    mine = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 3))
    before = {name: value.clone() for name, value in mine.state_dict().items()}
    images = torch.randn(2, 3, 8, 8)
    assert torch.equal(ep.load(tmp_path, model=mine)(images), small(images))
    assert all(torch.equal(value, before[name]) for name, value in mine.state_dict().items())
    with pytest.raises(UsageError, match="factory and model both give the dense network"):
        ep.load(tmp_path, TinyCNN, model=mine)
    with pytest.raises(UsageError, match="names no factory for the dense network") as caught:
        ep.load(tmp_path)
    assert "evoprune.load(directory, model=my_dense_model)" in caught.value.hint


def test_another_network_in_hand_is_refused_in_a_line(tmp_path):
    saved(tmp_path, TinyCNN().eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match="builds another network than the one that was pruned") as caught:
        ep.load(tmp_path, model=TinyCNN(width=9))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: 3, "model is a int, not the dense network"),
        (lambda: torch.jit.script(TinyCNN()), "is TorchScript, which can't be pruned"),
        (lambda: TinyCNN().to("meta"), "is on torch's meta device, where tensors have no memory"),
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_cannot_be_filled_is_refused_in_a_line(tmp_path, other, message):
    saved(tmp_path, TinyCNN().eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(UsageError, match=message) as caught:
        ep.load(tmp_path, model=other())
    assert caught.value.hint


def test_artifact_of_a_newer_version_names_both(tmp_path):
    saved(tmp_path, TinyCNN().eval(), torch.zeros(1, 3, 8, 8))
    card = json.loads((tmp_path / MODEL).read_text())
    (tmp_path / MODEL).write_text(json.dumps({**card, "format": 3, "evoprune": "2.0.1"}))
    with pytest.raises(
        UsageError, match=r"artifact format 3, written by evoprune 2\.0\.1; this evoprune, \S+, reads 1, 2"
    ) as caught:
        ep.load(tmp_path, model=TinyCNN())
    assert caught.value.hint == "pip install -U evoprune"


def test_artifact_that_lacks_a_tensor_names_it(tmp_path):
    import hashlib

    small = saved(tmp_path, TinyCNN().eval(), torch.zeros(1, 3, 8, 8))
    save_file({name: value for name, value in small.state_dict().items() if name != "fc.bias"}, tmp_path / WEIGHTS)
    card = json.loads((tmp_path / MODEL).read_text())
    digest = hashlib.sha256((tmp_path / WEIGHTS).read_bytes()).hexdigest()
    (tmp_path / MODEL).write_text(json.dumps({**card, "weights_sha256": digest}))
    with pytest.raises(UsageError, match=r"are of another architecture: fc\.bias is missing"):
        ep.load(tmp_path, model=TinyCNN())


def test_card_says_what_the_network_expects(tmp_path):
    model, task, example = tiny_recipe()
    plan = ep.analyze(model, example).random_plan(keep=0.5, seed=0)
    licensed = ep.Task(task.train, task.val, task.test, class_names="abcd", data_licence="CC0")
    save_artifact(tmp_path, ep.prune(model, plan), plan, factory=None, task=licensed, example_inputs=example)
    card = json.loads((tmp_path / MODEL).read_text())
    assert card["inputs"] == [{"name": "images", "shape": [1, 3, 8, 8], "dtype": "float32"}]
    assert (card["evoprune"], card["torch"]) == (ep.__version__, torch.__version__)
    assert card["preprocessing"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert (card["class_names"], card["data_licence"], card["network"]) == (list("abcd"), "CC0", "TinyCNN")


SCRIPT = """
import sys
import torch
from torch import nn
import evoprune as ep
from evoprune.testing.tiny import TinyCNN, tiny_recipe

class Net(TinyCNN):
    pass

if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1] == "run":
        _, task, example = tiny_recipe()
        ep.evolve(Net(), task, example, out="run", config={
            "ga": {"pop_size": 2, "num_generations": 1, "elitism": 1},
            "training": {"retrain_epochs": 0, "finetune_steps": 1},
            "execution": {"training_threads": 1, "isolation": "none"}})
    else:
        print(type(ep.load("run")).__name__)
"""


@pytest.mark.slow
def test_class_of_a_script_loads_in_that_script_and_elsewhere_with_the_model(tmp_path):
    (tmp_path / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, filter(None, sys.path)))}
    for argument in ("run", "load"):
        done = subprocess.run(
            [sys.executable, "train.py", argument],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "Net"
    assert json.loads((tmp_path / "run/artifact" / MODEL).read_text())["script"] == "train.py"
    with pytest.raises(
        ConfigError, match=r"the dense network is Net of train\.py, which is not what runs here"
    ) as caught:
        ep.load(tmp_path / "run")
    assert "evoprune.load(directory, model=my_dense_model)" in caught.value.hint
    assert ep.load(tmp_path / "run", model=TinyCNN()).conv1.out_channels <= 8
    assert (tmp_path / "run/artifact" / PLAN).is_file()
