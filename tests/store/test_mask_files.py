import contextlib

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn.utils import prune as torch_prune

from evoprune.errors import DataError, StoreCorruptedError, UsageError
from evoprune.masks.apply import apply_masks, plan_of
from evoprune.masks.maskable import maskable_weights
from evoprune.rng import isolated_rng
from evoprune.store.mask_files import read_masks
from evoprune.store.solutions import write_solution
from evoprune.store.sparse_weights import sparse_weight_bytes
from evoprune.testing.tiny import TinyCNN
from tests.masks.zeros import plan_of_zeros


@pytest.fixture
def model():
    with isolated_rng(0):
        return TinyCNN()


@pytest.fixture
def plan(model):
    generator = np.random.default_rng(0)
    return plan_of(model, {weight.name: generator.random(weight.shape) < 0.3 for weight in maskable_weights(model)})


def tensors(plan, dtype=torch.float32, prefix="", suffix=""):
    return {f"{prefix}{name}{suffix}": torch.from_numpy(mask.bools).to(dtype) for name, mask in plan.masks.items()}


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("module.", ""), ("", "_mask"), ("module.", "_mask")])
@pytest.mark.parametrize("kind", ["m.pth", "m.pt", "m.safetensors"])
def test_masks_of_any_type_and_name_are_read(tmp_path, model, plan, dtype, prefix, suffix, kind):
    save = save_file if kind == "m.safetensors" else torch.save
    save(tensors(plan, dtype, prefix, suffix), tmp_path / kind)
    assert read_masks(tmp_path / kind, model) == plan


def test_own_files_are_read(tmp_path, model, plan):
    (tmp_path / "plan.safetensors").write_bytes(plan.to_bytes())
    (tmp_path / "sparse.safetensors").write_bytes(sparse_weight_bytes(apply_masks(model, plan), plan))
    for name, mask in plan.masks.items():
        write_solution(tmp_path / "solutions", name.removesuffix(".weight"), type(plan)({name: mask}, plan.fingerprint))
    for name in ("plan.safetensors", "sparse.safetensors", "solutions"):
        assert read_masks(tmp_path / name, model) == plan


def test_numpy_files_are_read(tmp_path, model, plan):
    masks = {name: mask.bools for name, mask in plan.masks.items()}
    np.savez(tmp_path / "m.npz", **masks)
    np.savez_compressed(tmp_path / "f.npz", **{name: mask.astype(np.float16) for name, mask in masks.items()})
    assert read_masks(tmp_path / "m.npz", model) == read_masks(tmp_path / "f.npz", model) == plan
    for name in ("fc", "fc.weight", "module.fc.weight_mask"):
        np.save(tmp_path / f"{name}.npy", masks["fc.weight"].astype(np.int8))
        assert read_masks(tmp_path / f"{name}.npy", model) == plan_of(model, {"fc.weight": masks["fc.weight"]})


def test_weights_of_a_sparse_network_are_masks(tmp_path, model, plan):
    masked = apply_masks(model, plan)
    torch.save({"state_dict": masked.state_dict(), "epoch": 3}, tmp_path / "m.pth")
    assert read_masks(tmp_path / "m.pth", model) == plan == plan_of_zeros(masked)


def test_masks_of_torch_prune_are_read(tmp_path, model):
    with isolated_rng(0):
        pruned = TinyCNN()
    for module in (pruned.conv1, pruned.fc):
        torch_prune.l1_unstructured(module, "weight", 0.5)
    torch_prune.l1_unstructured(pruned.fc, "bias", 0.5)
    torch.save(pruned.state_dict(), tmp_path / "m.pth")
    plan = read_masks(tmp_path / "m.pth", model)
    assert set(plan.masks) == {"conv1.weight", "fc.weight", "fc.bias"}
    assert torch.equal(torch.from_numpy(plan.masks["conv1.weight"].bools), pruned.conv1.weight_mask.bool())
    assert set(read_masks(tmp_path / "m.pth", pruned).masks) == {"conv1.weight_orig", "fc.weight_orig", "fc.bias_orig"}


def test_masks_are_for_a_wrapped_model_too(tmp_path, model, plan):
    wrapped = nn.Sequential()
    wrapped.module = model
    torch.save(tensors(plan), tmp_path / "m.pth")
    assert list(read_masks(tmp_path / "m.pth", wrapped).masks) == [f"module.{name}" for name in plan.masks]


def test_shared_weight_has_one_mask(tmp_path):
    with isolated_rng(0):
        model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    torch.save({"0.weight": torch.eye(3), "1.weight": torch.eye(3)}, tmp_path / "m.pth")
    assert list(read_masks(tmp_path / "m.pth", model).masks) == ["0.weight"]
    torch.save({"0.weight": torch.eye(3), "1.weight": torch.ones(3, 3)}, tmp_path / "m.pth")
    with pytest.raises(UsageError, match=r"two different masks for '0\.weight'"):
        read_masks(tmp_path / "m.pth", model)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"fc.weight": torch.ones(32, 4)},
            r"m\.pth: the mask of 'fc\.weight' has shape \[32, 4\], the model's is \[4, 32\]",
        ),
        ({"fd.weight": torch.ones(4, 32)}, r"the model has no weight 'fd\.weight' \(its weights are: conv1\.weight, "),
        ({"fd.weight_mask": torch.ones(4, 32)}, r"has no weight 'fd\.weight_mask'"),
        ({"fc.weight": torch.full((4, 32), torch.nan)}, "values that are not a number"),
        ({"fc.bias": torch.ones(4)}, r"m\.pth holds no masks for TinyCNN"),
        ({"fc.weight": 3}, "does not hold tensors by name"),
        ({}, "does not hold tensors by name"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, model, content, message):
    torch.save(content, tmp_path / "m.pth")
    with pytest.raises(UsageError, match=message):
        read_masks(tmp_path / "m.pth", model)


def test_own_masks_of_another_network_are_refused(tmp_path, plan):
    (tmp_path / "plan.safetensors").write_bytes(plan.to_bytes())
    with isolated_rng(0), pytest.raises(UsageError, match=r"plan\.safetensors: .*another structure than this TinyCNN"):
        read_masks(tmp_path / "plan.safetensors", TinyCNN(width=9))


@pytest.mark.parametrize("name", ["m.pth", "m.safetensors", "m.npz", "m.npy", "plan.safetensors", "sparse.safetensors"])
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.95])
def test_truncated_files_are_refused(tmp_path, model, plan, name, share):
    path = tmp_path / name
    (tmp_path / "plan.safetensors").write_bytes(plan.to_bytes())
    (tmp_path / "sparse.safetensors").write_bytes(sparse_weight_bytes(apply_masks(model, plan), plan))
    torch.save(tensors(plan), tmp_path / "m.pth")
    save_file(tensors(plan), tmp_path / "m.safetensors")
    np.savez(tmp_path / "m.npz", **{name: mask.bools for name, mask in plan.masks.items()})
    np.save(tmp_path / "m.npy", plan.masks["fc.weight"].bools)
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises((UsageError, StoreCorruptedError), match=name.replace(".", r"\.")):
        read_masks(path, model)


@pytest.mark.parametrize("name", ["m.npz", "m.pth"])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_damaged_archives_raise_nothing_but_errors_of_our_own(tmp_path, model, plan, name):
    if name == "m.npz":
        np.savez_compressed(tmp_path / name, **{key: mask.bools for key, mask in plan.masks.items()})
    else:
        torch.save(tensors(plan), tmp_path / name)
    whole, generator = (tmp_path / name).read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole)
        for position in generator.integers(0, len(whole), 3):
            damaged[position] ^= int(generator.integers(1, 256))
        (tmp_path / name).write_bytes(damaged)
        with contextlib.suppress(UsageError, StoreCorruptedError):
            assert read_masks(tmp_path / name, model).fingerprint == plan.fingerprint


@pytest.mark.parametrize(
    "array", [np.array([None, 1]), np.array(["a"]), np.zeros(2, [("a", int)]), np.ones(3, np.longdouble)]
)
def test_arrays_of_anything_but_numbers_are_refused(tmp_path, model, array):
    np.save(tmp_path / "fc.npy", array)
    np.savez(tmp_path / "fc.npz", fc=array)
    for name in ("fc.npy", "fc.npz"):
        with pytest.raises(DataError, match=f"can't read the masks in .*{name}"):
            read_masks(tmp_path / name, model)


def test_array_that_claims_to_be_huge_is_refused(tmp_path, model):
    np.save(tmp_path / "fc.npy", np.zeros((4, 32), bool))
    content = (tmp_path / "fc.npy").read_bytes()
    (tmp_path / "fc.npy").write_bytes(content.replace(b"(4, 32), }      ", b"(4, 3200000000)}"))
    with pytest.raises(DataError, match="can't read the masks"):
        read_masks(tmp_path / "fc.npy", model)


@pytest.mark.parametrize(
    ("name", "message"), [("m.txt", "no file of masks"), ("no.pth", "does not exist"), ("x", "no file of")]
)
def test_other_files_are_refused_with_what_is_accepted(tmp_path, model, name, message):
    (tmp_path / "m.txt").write_text("1 0 1")
    with pytest.raises(UsageError, match=message):
        read_masks(tmp_path / name, model)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no masks \(accepted: a directory of solutions"):
        read_masks(tmp_path / "empty", model)
    with pytest.raises(UsageError, match=r"can't read the masks in .*missing"):
        read_masks(tmp_path / "missing.safetensors", model)
