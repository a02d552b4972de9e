"""Conformance suite for `Exporter`: what every file format has to hold, as tests that an extension inherits."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.channels.surgery import prune
from evoprune.data.trees import tensors_in
from evoprune.exporters.base import Exportable, Exporter
from evoprune.nn_utils.comparison import compare, outputs_of
from evoprune.rng import isolated_rng
from evoprune.testing.tiny import SIDE, TinyCNN


class ExporterSuite(ABC):
    """Inherit in a module that pytest collects, and make the exporter: every test below then runs on it.

    Example:
        class TestSourceCode(ExporterSuite):
            def exporter(self):
                return SourceCode()
    """

    @abstractmethod
    def exporter(self) -> Exporter:
        """The exporter under test."""

    def test_file_computes_what_the_network_does(self) -> None:
        """On the example inputs and on others, a pruned network and a whole one."""
        for network in (dense(), pruned()):
            with self._written(network) as path:
                run = self.exporter().read(Exportable(network, inputs(2)), path)
                for given in (inputs(2), inputs(2, seed=9)):
                    with torch.no_grad():
                        check = compare(list(tensors_in(run(given))), outputs_of(network, given))
                    assert check.agrees, f"outputs differ by {check.relative:.1g}"

    def test_file_and_not_the_network_in_hand_decides(self) -> None:
        """Read next to a network of other weights, the file still gives its own."""
        network, other = dense(), dense(seed=8)
        with self._written(network) as path, torch.no_grad():
            run = self.exporter().read(Exportable(other, inputs(2)), path)
            check = compare(list(tensors_in(run(inputs(2)))), outputs_of(network, inputs(2)))
        assert check.agrees, "what was read depends on the network in hand"

    def test_network_is_left_alone(self) -> None:
        """Weights, modes and flags are as before."""
        network = dense()
        before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        with self._written(network) as path:
            self.exporter().read(Exportable(network, inputs(2)), path)
        assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
        assert not network.training, "the network is in train mode now"
        assert all(parameter.requires_grad for parameter in network.parameters()), "requires_grad has changed"

    def test_pruned_network_has_the_smaller_file(self) -> None:
        """What was removed is not in the file."""
        with self._written(dense()) as whole, self._written(pruned()) as small:
            assert small.stat().st_size < whole.stat().st_size, "pruning makes the file no smaller"

    def test_suffix_begins_with_a_dot(self) -> None:
        """And is all that follows the name."""
        assert self.exporter().suffix.startswith("."), "a suffix needs its dot"

    @contextmanager
    def _written(self, network: nn.Module) -> Iterator[Path]:
        exporter = self.exporter()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"network{exporter.suffix}"
            exporter.write(Exportable(network, inputs(2)), path)
            yield path


def dense(seed: int = 5) -> nn.Module:
    """A `TinyCNN` of 32 channels, in eval mode."""
    with isolated_rng(seed):
        return TinyCNN(width=32).eval()


def pruned() -> nn.Module:
    """The same with half of its channels."""
    model = dense()
    return prune(model, analyze(model, inputs(2)).random_plan(keep=0.5, seed=0)).eval()


def inputs(count: int, seed: int = 6) -> torch.Tensor:
    """Noise, [count, 3, 8, 8] float32."""
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))
