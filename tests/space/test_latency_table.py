import json

import numpy as np
import pytest
from scipy.interpolate import RegularGridInterpolator

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.errors import InvalidPlanError
from evoprune.nn_utils.calling import named_tensors
from evoprune.space.latency_files import read_table, tables_of, tables_text
from evoprune.space.latency_model import LatencyModel
from tests.channels.zoo.catalogue import build
from tests.space.latency_tables import grid, table_of

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.fixture(scope="module")
def dense():
    model, inputs = build("vgg")
    return model, analyze(model, inputs, self_check=False)


@pytest.mark.parametrize("nodes", [[(1, 8, 24, 32)], [(1, 8, 16), (2, 30)], [(1, 3), (2, 4, 9), (5, 7)]])
def test_grid_interpolates_as_scipy_does(nodes):
    made = grid(*nodes)
    widths = np.stack(np.meshgrid(*(np.arange(one[0], one[-1] + 1) for one in nodes), indexing="ij"), axis=-1)
    assert made.at(widths) == pytest.approx(RegularGridInterpolator(nodes, made.ms)(widths))


def test_grid_takes_the_nearest_node_for_widths_outside():
    made = grid((4, 8), (2,))
    assert made.at(np.array([[1, 2], [20, 7]])).tolist() == [made.ms[0, 0], made.ms[1, 0]]


def test_prediction_of_a_population_is_what_the_pruned_networks_shapes_give(dense):
    model, space = dense
    table = table_of(space)
    rows = np.stack([space.random_bits(keep, seed) for seed, keep in enumerate((0.2, 0.5, 0.8, 1.0))])
    found = LatencyModel(space.groups, table).predict(rows)
    for row, ms in zip(rows, found, strict=True):
        tensors = named_tensors(prune(model, space.plan(row)))
        alone = [
            table.grids[one.grid].at(np.array([tensors[tensor].shape[dim] for tensor, dim in one.axes]))
            for one in table.layers
        ]
        kept = [
            tensors[tensor].shape[dim] / space.axis_sizes[tensor, dim]
            for ((tensor, dim), *_) in (one.axes for one in table.layers)
        ]
        outputs = [one.elements * share for one, share in zip(table.layers, kept, strict=True)]
        assert ms == pytest.approx(0.25 + 1.5 * sum(alone) + 3.0 * sum(outputs) / 1e6)


def test_prediction_keeps_the_shape_of_the_choices_and_what_the_space_leaves_out(dense):
    _, space = dense
    table, fewer = table_of(space), space.without([space.groups[0].name], "not wanted")
    bits = np.ones((2, 3, fewer.size), dtype=int)
    found = LatencyModel(fewer.groups, table).predict(bits)
    assert found.shape == (2, 3)
    assert found == pytest.approx(float(LatencyModel(space.groups, table).predict(np.ones(space.size))))


def test_prediction_refuses_choices_of_another_length(dense):
    with pytest.raises(InvalidPlanError, match="bits are needed per plan"):
        LatencyModel(dense[1].groups, table_of(dense[1])).predict([1, 0])


def test_table_is_the_same_after_a_file(dense):
    table = table_of(dense[1])
    (again,) = tables_of(tables_text([table]))
    assert again.digest == table.digest
    assert again.conditions == table.conditions
    assert again.digest != table_of(dense[1], seed=7).digest


def test_check_gives_errors_as_shares_of_what_was_measured(dense):
    check = table_of(dense[1]).check
    assert check.median == pytest.approx(1 / 11)
    assert check.worst == pytest.approx(0.1)


def damaged(document, *path, value):
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("grids", 0, "ms", 0), -1.0),
        (("grids", 0, "ms", 0), "fast"),
        (("grids", 0, "nodes", 0), [3, 1, 2]),
        (("layers", 0, "grid"), 99),
        (("layers", 0, "output"), 5),
        (("overhead",), {"fixed_ms": 1.0}),
        (("conditions", "inputs"), 7),
        (("check",), None),
        (("check", "measured_ms"), []),
        (("check",), {"predicted_ms": [], "measured_ms": []}),
        (("check",), {"predicted_ms": [1.0], "measured_ms": [0.0]}),
        (("dense_ms",), float("nan")),
        (("dense_ms",), 0.0),
    ],
)
def test_damaged_table_is_refused(dense, path, value):
    document = json.loads(json.dumps(table_of(dense[1]).to_json()))
    damaged(document, *path, value=value)
    with pytest.raises(ValueError, match=r"."):
        read_table(document)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 2, "tables": []}', '{"format": 1, "tables": {}}'])
def test_other_files_are_refused(text):
    with pytest.raises(ValueError, match=r"."):
        tables_of(text)
