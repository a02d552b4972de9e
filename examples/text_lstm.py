"""Text classified by an LSTM: an embedding, a recurrent layer and a linear one, on sequences of tokens.

python examples/text_lstm.py
"""

import torch
from torch import nn
from torch.utils.data import TensorDataset

import evoprune as ep

SETTINGS = {"training": {"epochs": 10, "retrain_epochs": 12, "lr": 0.01, "retrain_lr": 0.01, "batch_size": 64}}
WORDS, LENGTH = 60, 16


class Classifier(nn.Module):
    """Tokens [n, length] -> logits [n, 2]."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(WORDS, 32)
        self.lstm = nn.LSTM(32, 48, batch_first=True)
        self.hidden = nn.Linear(48, 32)
        self.head = nn.Linear(32, 2)

    def forward(self, tokens):
        _, (last, _) = self.lstm(self.embedding(tokens))
        return self.head(torch.relu(self.hidden(last[-1])))


def reviews(samples, seed):
    """Sentences of made-up words, of which the first ten are good and the next ten are bad: which are there more of?"""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(WORDS, (samples, LENGTH), generator=generator)
    good, bad = (tokens < 10).sum(1), ((tokens >= 10) & (tokens < 20)).sum(1)
    clear = good != bad
    return TensorDataset(tokens[clear], (good > bad).long()[clear])


def recipe(*, seed=0):
    sets = [reviews(samples, 3 * seed + part) for part, samples in enumerate((2000, 400, 500))]
    return Classifier(), ep.Task(*sets), torch.zeros(1, LENGTH, dtype=torch.long)


def main(out="runs/text-lstm", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="params<=0.6", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
