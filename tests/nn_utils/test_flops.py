"""Multiply-accumulates of single operations, against sums written out; and what is named because there is no formula."""

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

import evoprune as ep
from evoprune.nn_utils.flops import flop_formula, is_uncounted, operation_name
from evoprune.space.tracing.rules import registry
from tests.channels.zoo.catalogue import MODELS, build

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Calls(nn.Module):
    """Calls a function of its inputs."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, *inputs):
        return self.function(*inputs)


def counted(function, *shapes):
    """The report of a function of random inputs, all of one sample."""
    return ep.count(Calls(function), tuple(torch.randn(shape) for shape in shapes), samples=1)


def flash(query, key, value):
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        return functional.scaled_dot_product_attention(query, key, value)


def bag(table, weights):
    tokens = torch.arange(10).view(2, 5)
    return functional.embedding_bag(tokens, table[0], per_sample_weights=weights, mode="sum")


LIBRARY = torch.library.Library("evoprune_tests", "DEF")
"""Operations of a package of the user's own."""
LIBRARY.define("secret(Tensor x) -> Tensor")
LIBRARY.impl("secret", lambda x: x @ x.t(), "CompositeExplicitAutograd")


BYTES = torch.ones(32, 32, dtype=torch.int8)
FORMULAS = {
    "bilinear": (functional.bilinear, [(1, 3, 5), (1, 3, 7), (4, 5, 7)], 3 * 4 * (5 * 7 + 7)),
    "cdist of few": (torch.cdist, [(1, 6, 5), (1, 8, 5)], 6 * 8 * 5),
    "cdist of many": (torch.cdist, [(1, 30, 5), (1, 40, 5)], 30 * 40 * 5),
    "cdist by another norm": (lambda x, y: torch.cdist(x, y, p=1), [(1, 6, 5), (1, 8, 5)], 6 * 8 * 5),
    "pdist": (lambda x: torch.pdist(x[0]), [(1, 6, 5)], 15 * 5),
    "einsum of two": (lambda x, y: torch.einsum("bij,bkj->bik", x, y), [(1, 6, 5), (1, 8, 5)], 6 * 8 * 5),
    "einsum of three": (lambda x, y, z: torch.einsum("ij,jk,kl->il", x, y, z), [(1, 5), (5, 7), (7, 3)], 5 * 7 + 7 * 3),
    "tensordot": (lambda x, y: torch.tensordot(x, y, 2), [(1, 5, 7), (5, 7, 3)], 5 * 7 * 3),
    "inner": (torch.inner, [(1, 5), (7, 5)], 5 * 7),
    "addmm": (torch.addmm, [(1, 5), (1, 7), (7, 5)], 5 * 7),
    "addmm_": (lambda x, y, z: x.clone().addmm_(y, z), [(1, 5), (1, 7), (7, 5)], 5 * 7),
    "baddbmm_": (lambda x, y, z: x.clone().baddbmm_(y, z), [(1, 5, 6), (1, 5, 7), (1, 7, 6)], 5 * 7 * 6),
    "addbmm_": (lambda x, y, z: x[0].clone().addbmm_(y, z), [(1, 5, 6), (3, 5, 7), (3, 7, 6)], 3 * 5 * 7 * 6),
    "addmv_": (lambda x, y, z: x[0].clone().addmv_(y, z), [(1, 5), (5, 7), (7,)], 5 * 7),
    "activated addmm": (lambda x, y, z: torch._addmm_activation(x[0], y, z), [(1, 5), (3, 7), (7, 5)], 3 * 7 * 5),
    "matrices of groups": (
        lambda x, w: torch._grouped_mm(x[0], w, offs=torch.tensor([2, 5]).int()), [(1, 5, 8), (2, 8, 12)], 5 * 8 * 12,
    ),
    "vdot": (lambda x, y: torch.vdot(x[0], y), [(1, 5), (5,)], 5),
    "matrix power": (lambda x: torch.linalg.matrix_power(x[0], 2), [(1, 5, 5)], 5**3),
    "multi_dot": (lambda x, y: torch.linalg.multi_dot((x, y)), [(1, 5), (5, 7)], 35),
    "covariance": (lambda x: torch.cov(x[0]), [(1, 5, 7)], 5 * 5 * 7),
    "integers": (lambda x: torch._int_mm(BYTES, BYTES) + x.sum().int(), [(1, 2)], 32**3),
    "time-first convolution": (
        lambda x, w: torch.conv_tbc(x.transpose(0, 1), w, torch.zeros(4)), [(1, 6, 3), (3, 3, 4)], 4 * 3 * 3 * 4,
    ),
    "flash attention": (flash, [(1, 2, 6, 8), (1, 2, 9, 8), (1, 2, 9, 8)], 2 * 6 * 9 * 16),
    "attention": (functional.scaled_dot_product_attention, [(1, 2, 6, 8), (1, 2, 9, 8), (1, 2, 9, 4)], 2 * 6 * 9 * 12),
    "sparse by dense": (
        lambda x: torch.sparse.mm(torch.eye(5).to_sparse(), x[0]) + torch.eye(5).to_sparse() @ x[0], [(1, 5, 3)], 2 * 15,
    ),
    "rows by a sparse weight": (lambda x: functional.linear(x, torch.eye(5).to_sparse_csr()), [(1, 5)], 5),
    "weighted bag": (bag, [(1, 10, 6), (2, 5)], 10 * 6),
    "bag": (lambda table: bag(table, None), [(1, 10, 6)], 0),
    "affine grid": (lambda x: functional.affine_grid(x, [1, 3, 4, 5], align_corners=False), [(1, 2, 3)], 4 * 5 * 2 * 3),
    "LSTM cell": (nn.LSTMCell(5, 7), [(1, 5)], 4 * 7 * (5 + 7)),
    "convolution in 3 dimensions": (nn.Conv3d(2, 4, 3, groups=2), [(1, 2, 5, 5, 5)], 27 * 4 * 27),
    "transposed convolution": (nn.ConvTranspose2d(4, 6, 3, groups=2), [(1, 4, 5, 5)], 25 * 4 * 3 * 9),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMULAS)
def test_operation_is_counted_as_written_out(name):
    function, shapes, expected = FORMULAS[name]
    report = counted(function, *shapes)
    assert (report.macs, report.uncounted) == (expected, ())


@pytest.mark.slow  # torch imports its compiler for it
def test_flex_attention_is_counted_and_its_switch_is_as_before():
    report = counted(lambda x: flex_attention(x, x, x), (1, 2, 6, 16))
    assert (report.macs, report.uncounted) == (2 * 36 * 32, ())
    assert not torch.nn.attention.flex_attention._FLEX_ATTENTION_DISABLE_COMPILE_DEBUG


@pytest.mark.parametrize(
    ("function", "shapes", "name"),
    [
        (torch.fft.rfft, [(1, 8)], "aten::_fft_r2c"),
        (lambda x: torch.stft(x, 4, window=torch.ones(4), return_complex=True), [(1, 32)], "aten::_fft_r2c"),
        (torch.linalg.inv, [(1, 3, 3)], "aten::linalg_inv_ex"),
        (lambda x: torch.linalg.solve(x, x), [(1, 3, 3)], "aten::_linalg_solve_ex"),
        (torch.linalg.svd, [(1, 3, 3)], "aten::_linalg_svd"),
        (torch.matrix_exp, [(1, 3, 3)], "aten::linalg_matrix_exp"),
        (torch.ops.evoprune_tests.secret.default, [(1, 3)], "evoprune_tests::secret"),
    ],
)
def test_operation_without_a_formula_is_named(function, shapes, name):
    assert name in counted(function, *shapes).uncounted


@pytest.mark.parametrize("name", MODELS)
def test_common_networks_leave_nothing_uncounted(name):
    fourier = {"aten::_fft_r2c", "aten::_fft_c2r"} if name == "fourier" else set()
    assert set(ep.count(*build(name)).uncounted) == fourier


def plain(x):
    """What takes no products of two tensors, from every family."""
    flat = x.flatten()
    order = flat.sort().indices
    picked = flat[order].masked_fill(flat > 0, 0.5).index_add(0, order, flat).scatter_add(0, order, flat)
    ranks = torch.bucketize(picked, flat.sort().values).float().cumsum(0) + torch.tril(x[0, 0]).sum()
    image = functional.interpolate(functional.avg_pool2d(x, 2), scale_factor=2, mode="bicubic")
    image = functional.grid_sample(image, torch.zeros(1, 4, 4, 2), align_corners=False) + functional.fold(
        functional.unfold(x, 2), (4, 4), 2
    )
    losses = functional.mse_loss(x, x * 2) + functional.cross_entropy(x.flatten(1), torch.zeros(1, dtype=torch.long))
    normal = functional.layer_norm(functional.batch_norm(image, torch.zeros(3), torch.ones(3)), (4, 4))
    return (
        normal.softmax(-1).clamp_(0).mul_(2),
        ranks.topk(2),
        losses,
        torch.multinomial(flat.abs(), 2),
        torch.unique(order),
    )


def test_what_takes_no_products_is_not_named():
    report = counted(plain, (1, 3, 4, 4))
    assert (report.macs, report.uncounted) == (0, ())


@pytest.mark.parametrize(
    "layer",
    [
        nn.Linear(6, 5),
        nn.LSTM(6, 5, batch_first=True),
        nn.GRU(6, 5, batch_first=True),
        nn.MultiheadAttention(6, 2, batch_first=True),
        nn.Sequential(nn.Conv1d(3, 4, 2), nn.Flatten(), nn.Linear(20, 2)),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_count_is_the_same_under_inference_mode(layer):
    def inputs():
        tokens = torch.randn(1, 3, 6)
        return (tokens,) * 3 if isinstance(layer, nn.MultiheadAttention) else (tokens,)

    expected = ep.count(layer, inputs())
    with torch.inference_mode():
        made = inputs()
        assert ep.count(layer, made).macs == expected.macs > 0
    assert ep.count(layer, made).macs == expected.macs
    assert [group.size for group in ep.analyze(layer, made).groups] == [
        group.size for group in ep.analyze(layer, inputs()).groups
    ]


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("layout", [torch.strided, torch.jagged])
def test_products_of_ragged_tensors_are_counted_or_named(layout):
    def ragged(x):
        rows = torch.nested.nested_tensor([x[0, :2], x[0, 2:]], layout=layout)
        return functional.linear(rows, torch.ones(3, 6)).to_padded_tensor(0.0)

    report = counted(ragged, (1, 5, 6))
    assert report.macs == 5 * 6 * 3 or report.uncounted


@pytest.mark.filterwarnings("ignore:.*deprecated")
def test_torchscript_is_counted_and_without_a_mode_as_well():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU()).eval()
    scripted = torch.jit.script(model)
    for one in (scripted, torch.jit.freeze(scripted), torch.jit.trace(model, torch.ones(1, 6))):
        assert ep.count(one, torch.ones(1, 6)).macs == 24


def test_weights_made_under_inference_mode_are_counted_alike():
    with torch.inference_mode():
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 5))
        images = torch.randn(1, 3, 6, 6)
    assert ep.count(model, images).macs == 16 * 4 * 27 + 64 * 5


@pytest.mark.parametrize("name", ["mm", "addmm_", "baddbmm", "conv_tbc", "_trilinear"])
def test_formula_is_found_in_place_and_out_of_place(name):
    packet = getattr(torch.ops.aten, name)
    assert all(flop_formula(getattr(packet, overload)) for overload in packet.overloads())


@pytest.mark.parametrize(
    "func",
    [
        torch.ops.aten.add.Tensor,
        torch.ops.aten.relu_.default,
        torch.ops.aten.view.default,
        torch.ops.aten.view_copy.default,
        torch.ops.aten.sum.dim_IntList,
        torch.ops.aten.sort.stable,
        torch.ops.aten.native_layer_norm.default,
        torch.ops.aten.arange.start,
        torch.ops.aten._local_scalar_dense.default,
        torch.ops.quantized.add_relu.default,
    ],
    ids=str,
)
def test_operation_of_a_known_kind_is_not_uncounted(func):
    assert not is_uncounted(func)
    assert operation_name(func).endswith(str(func).split(".")[1])


def test_prediction_agrees_with_counting_or_is_refused_when_an_operation_has_a_new_formula():
    class Pairs(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.both, self.out = nn.Linear(6, 8), nn.Bilinear(6, 6, 5), nn.Linear(8, 3)

        def forward(self, x):
            points = self.out(self.one(x).relu())
            return torch.cdist(points, points), self.both(x, x)

    model, inputs = Pairs(), torch.randn(4, 6)
    space = ep.analyze(model, inputs)
    assert space.size == 8
    bits = space.random_bits(0.5, seed=0)
    assert int(space.cost(bits).macs) == ep.count(ep.prune(model, space.plan(bits)), inputs).macs


def test_operations_that_analysis_follows_are_counted_or_count_as_nothing():
    followed = [getattr(packet, overload) for packet in registry._RULES for overload in packet.overloads()]
    uncounted = {operation_name(func) for func in followed if is_uncounted(func)}
    assert uncounted <= {"aten::mkldnn_convolution", "aten::miopen_convolution", "aten::miopen_depthwise_convolution"}


def test_convolution_of_another_back_end_is_named_when_there_is_no_formula():
    assert is_uncounted(torch.ops.aten.mkldnn_convolution.default)
