import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evoprune.errors import StoreCorruptedError
from evoprune.mask_plan import MaskPlan, PackedMask
from evoprune.store.solutions import read_solution, read_solutions, solution_path, write_solution


def plan(layer, *, keep=3, fingerprint="f"):
    return MaskPlan({f"{layer}.weight": PackedMask.from_bools(np.arange(12).reshape(3, 4) < keep)}, fingerprint)


def test_solutions_of_layers_come_back_as_one_plan(tmp_path):
    written = [write_solution(tmp_path / "solutions", layer, plan(layer)) for layer in ("fc", "conv1")]
    assert [path.name for path in written] == ["fc.safetensors", "conv1.safetensors"]
    assert read_solution(written[0]) == plan("fc")
    assert read_solutions(tmp_path / "solutions") == plan("fc").merged(plan("conv1"))


def test_solution_is_replaced(tmp_path):
    write_solution(tmp_path, "fc", plan("fc"))
    write_solution(tmp_path, "fc", plan("fc", keep=1))
    assert read_solutions(tmp_path).kept == 1


@pytest.mark.parametrize("directory", ["missing", "."])
def test_no_solutions_are_none(tmp_path, directory):
    assert read_solutions(tmp_path / directory) is None


@given(st.text(max_size=300), st.text(max_size=300))
def test_solution_path_stays_in_its_directory_and_tells_layers_apart(tmp_path_factory, one, other):
    directory = tmp_path_factory.getbasetemp()
    path = solution_path(directory, one)
    assert path.parent == directory
    assert path.resolve().parent == directory.resolve()
    assert len(path.name) < 255
    assert not path.name.startswith(".")
    assert (path == solution_path(directory, other)) == (one == other)


@pytest.mark.parametrize(
    ("layer", "name"),
    [
        ("layer1.0.conv1", "layer1.0.conv1"),
        ("../../etc/passwd", "%2E.%2F..%2Fetc%2Fpasswd"),
        ("..", "%2E."),
        ("a b", "a%20b"),
        ("a\x00b", "a%00b"),
    ],
)
def test_solution_path_is_readable_and_harmless(tmp_path, layer, name):
    assert solution_path(tmp_path, layer).name == f"{name}.safetensors"
    assert read_solution(write_solution(tmp_path, layer, plan(layer))) == plan(layer)


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_truncated_solution_is_refused_by_name(tmp_path, share):
    write_solution(tmp_path, "conv1", plan("conv1"))
    path = write_solution(tmp_path, "fc", plan("fc"))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(StoreCorruptedError, match=r"fc\.safetensors: .*have its layer solved again"):
        read_solutions(tmp_path)
    with pytest.raises(StoreCorruptedError, match="missing"):
        read_solution(tmp_path / "missing")


def test_solutions_of_different_networks_are_refused(tmp_path):
    write_solution(tmp_path, "conv1", plan("conv1"))
    write_solution(tmp_path, "fc", plan("fc", fingerprint="g"))
    with pytest.raises(StoreCorruptedError, match="of different networks"):
        read_solutions(tmp_path)
