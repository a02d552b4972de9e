import pytest
import torch
from torch import nn

from evoprune.channels.analyze import analyze
from evoprune.errors import MeasurementError
from evoprune.nn_utils.samples import at_batch, samples_in
from evoprune.objectives.compute import count

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Last(nn.Module):
    """A classifier of sequences, by what a recurrent layer says at the end."""

    def __init__(self, *, batch_first=False):
        super().__init__()
        self.rnn, self.head = nn.GRU(3, 12, batch_first=batch_first), nn.Linear(12, 2)

    def forward(self, x):
        steps, _ = self.rnn(x)
        return self.head(steps[:, -1] if self.rnn.batch_first else steps[-1])


class Tagger(Last):
    """One answer per step."""

    def forward(self, x):
        return self.head(self.rnn(x)[0])


class Tokens(nn.Module):
    """A transformer over token ids."""

    def __init__(self, *, batch_first):
        super().__init__()
        self.embed = nn.Embedding(11, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first)

    def forward(self, ids):
        return self.layer(self.embed(ids))


class Padded(nn.Module):
    """Sequences with their lengths, packed and padded again: other lengths may make outputs of another shape."""

    def __init__(self, *, batch_first=False):
        super().__init__()
        self.rnn, self.batch_first = nn.GRU(4, 6, batch_first=batch_first), batch_first

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=self.batch_first, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.rnn(packed)[0], batch_first=self.batch_first)[0]


class Compared(nn.Module):
    """Samples that are centred by the mean of their batch."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(5, 9), nn.Linear(9, 2)

    def forward(self, x):
        return self.b(self.a(x) - self.a(x).mean(0))


class Alone(nn.Module):
    """A network for one image without a batch dimension."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 8, 3), nn.Linear(8, 10)

    def forward(self, image):
        return self.head(self.conv(image).relu().mean((-2, -1)))


def conv():
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))


IDS = torch.arange(6 * 4).view(6, 4) % 11
CASES = {
    "images": (conv, torch.randn(4, 3, 6, 6), 4),
    "one image": (conv, torch.randn(1, 3, 6, 6), 1),
    "an image without batch": (conv, torch.randn(3, 6, 6), 1),
    "an image without batch, classified": (Alone, torch.randn(3, 6, 6), 1),
    "features": (lambda: nn.Linear(6, 6), torch.randn(5, 6), 5),
    "as many features as samples": (lambda: nn.Linear(6, 6), torch.randn(6, 6), 6),
    "features without batch": (lambda: nn.Linear(6, 6), torch.randn(6), 1),
    "time first": (Last, torch.randn(40, 4, 3), 4),
    "time first, zeros": (Last, torch.zeros(40, 4, 3), 4),
    "time first, one sequence": (Last, torch.randn(40, 1, 3), 1),
    "time first, as many steps as sequences": (Last, torch.randn(4, 4, 3), 4),
    "time first, a tag per step": (Tagger, torch.randn(40, 4, 3), 4),
    "batch first, a tag per step": (lambda: Tagger(batch_first=True), torch.randn(4, 40, 3), 4),
    "a sequence without batch": (Last, torch.randn(40, 3), 1),
    "a sequence without batch, a tag per step": (Tagger, torch.randn(40, 3), 1),
    "as many classes as steps": (lambda: nn.Sequential(Last(), nn.Linear(2, 40)), torch.randn(40, 3), 1),
    "tokens, time first": (lambda: Tokens(batch_first=False), IDS, 4),
    "tokens, batch first": (lambda: Tokens(batch_first=True), IDS, 6),
    "lengths, time first": (Padded, (torch.randn(5, 2, 4), torch.tensor([5, 3])), 2),
    "lengths, batch first": (lambda: Padded(batch_first=True), (torch.randn(2, 5, 4), torch.tensor([3, 5])), 2),
    "lengths, as many steps as sequences": (Padded, (torch.randn(3, 3, 4), torch.tensor([3, 1, 2])), 3),
    "samples that depend on each other": (Compared, torch.randn(7, 5), 7),
    "results of all samples in one dimension": (lambda: nn.Flatten(0), torch.randn(4, 5), 4),
}


@pytest.mark.parametrize(("make", "inputs", "expected"), CASES.values(), ids=CASES)
def test_samples_in_finds_the_dimension_whose_entries_do_not_depend_on_each_other(make, inputs, expected):
    model = make()
    state = torch.get_rng_state()
    assert samples_in(model, inputs) == expected
    assert model.training
    assert torch.get_rng_state().equal(state)


SEEN = set()


class Watched(Tagger):
    def forward(self, x):
        SEEN.add(tuple(x.shape))
        return super().forward(x)


def test_samples_in_shows_the_model_no_other_shape_than_the_one_given():
    SEEN.clear()
    samples_in(Watched(), torch.zeros(40, 4, 3))
    assert {(40, 4, 3)} == SEEN


def test_samples_in_sees_through_what_a_model_draws_at_random():
    model = nn.Sequential(nn.Linear(6, 8), AlwaysDropout(), nn.Linear(8, 4))
    assert samples_in(model, torch.zeros(5, 6)) == 5


class AlwaysDropout(nn.Module):
    def forward(self, x):
        return nn.functional.dropout(x, 0.5, training=True)


@pytest.mark.slow
@pytest.mark.parametrize("inputs", [torch.zeros(40, 4, 3), torch.zeros(40, 1, 3), torch.zeros(40, 3)])
def test_count_and_cost_are_per_sequence_of_a_batch_laid_out_time_first(inputs):
    model = Last()
    report = count(model, inputs)
    by_hand = 40 * (3 * 12 * 3 + 3 * 12 * 12) + 24
    assert report.macs == by_hand
    assert analyze(model, inputs).cost(torch.ones(12, dtype=torch.bool).numpy()).macs == by_hand
    assert report.peak_activation_bytes == pytest.approx(
        count(model, torch.zeros(40, 1, 3)).peak_activation_bytes, rel=0.1
    )


def test_count_takes_the_number_of_samples_that_it_is_told():
    model, inputs = nn.Linear(6, 2), torch.zeros(12, 6)
    assert count(model, inputs).macs == 12
    assert count(model, inputs, samples=4).macs == 36


@pytest.mark.parametrize(
    ("model", "shape", "wanted"),
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 9, 2)), (1, 3, 5, 5), (4, 3, 5, 5)),
        (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)), (3, 5), (4, 5)),
        (nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 2)), (6, 5), (4, 5)),
        (Last(), (7, 1, 3), (7, 4, 3)),
        (Last(batch_first=True), (1, 7, 3), (4, 7, 3)),
    ],
)
def test_example_inputs_are_repeated_along_the_dimension_of_the_samples(model, shape, wanted):
    inputs = torch.randn(shape)
    many = at_batch(model.eval(), inputs, 4)
    assert tuple(many.shape) == wanted
    assert len(torch.unique(many.movedim(wanted.index(4), 0), dim=0)) == 4


def test_ids_are_repeated_as_they_are_and_lengths_with_them():
    model, given = Padded(batch_first=True), (torch.randn(2, 5, 4), torch.tensor([5, 3]))
    tokens, lengths = at_batch(model.eval(), given, 5)
    assert (tuple(tokens.shape), lengths.tolist()) == ((5, 5, 4), [5, 3, 5, 3, 5])
    ids = torch.randint(0, 11, (1, 6))
    assert torch.equal(at_batch(Tokens(batch_first=True).eval(), ids, 3), ids.repeat(3, 1))


def test_example_inputs_of_the_batch_stay_as_they_are():
    inputs = torch.zeros(4, 5)
    assert at_batch(nn.Linear(5, 2), inputs, 4) is inputs


def test_inputs_without_samples_can_not_be_repeated():
    with pytest.raises(MeasurementError, match="none of their dimensions counts samples"):
        at_batch(nn.Linear(5, 2), torch.randn(5), 2)
