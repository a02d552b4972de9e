import math

import pytest
import torch
from torch.nn import functional

from evoprune.data.task import Task
from evoprune.evaluation import reference as module
from evoprune.evaluation.reference import Reference, reference_of
from evoprune.results import ACCURACY, MetricCard
from tests.evaluation.doubles import CPU, Points, network, points


def reference(data, **given):
    task = Task(data.head(8), data, data.head(9), **given)
    return reference_of(network(), task, data, device=CPU, batch_size=7)


def test_reference_knows_what_the_mean_output_scores_and_the_error_of_the_dense_network():
    data = points(60)
    one = reference(data)
    with torch.no_grad():
        outputs = network()(data.inputs)
    right = (outputs.argmax(1) == data.targets).double()
    always = int(outputs.mean(0).argmax())
    assert one.dense == pytest.approx(float(right.mean()))
    assert one.chance == pytest.approx(float((data.targets == always).double().mean()))
    assert one.error == pytest.approx(float(right.std(correction=0)) / math.sqrt(60))


def test_reference_of_a_regression_has_the_mean_for_chance():
    generator = torch.Generator().manual_seed(0)
    data = Points(points(60).inputs, torch.randn(60, 3, generator=generator, dtype=torch.float64))
    one = reference(data, loss=functional.mse_loss, metric="r2")
    assert one.chance is not None
    assert one.chance < 0.1
    assert one.error is None


def test_reference_scales_the_error_of_a_part_to_the_set(monkeypatch):
    data = points(80)
    whole = reference(data)
    monkeypatch.setattr(module, "MOST_SAMPLES", 40)
    part = reference(data)
    assert (whole.samples, part.samples) == (80, 80)
    assert part.error == pytest.approx(whole.error, rel=0.3)


def test_reference_does_without_chance_where_the_metric_can_not_take_the_answer():
    calls = []

    def metric(outputs, targets):
        calls.append(outputs)
        if len({id(one) for one in calls}) > 1 and outputs.dtype == torch.float32:
            raise TypeError("double precision alone")
        return (outputs.argmax(1) == targets).float()

    assert reference(points(20), metric=metric).chance is None


@pytest.mark.parametrize(("dense", "error"), [(0.9, 0.03), (1.0, 0.0)])
def test_error_of_a_share_depends_on_the_share(dense, error):
    one = Reference(ACCURACY, dense, 0.1, error, samples=100)
    assert one.error_at(0.5) == pytest.approx(0.05)
    assert one.error_at(1.0) == 0.0


def test_error_of_another_metric_is_the_dense_network_s():
    assert Reference(MetricCard("error", "", maximize=False), 2.0, 4.0, 0.2, samples=100).error_at(3.0) == 0.2
