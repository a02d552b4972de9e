"""A BERT of transformers: batches are dicts, the network computes its own loss, and attention heads are pruned as well.

    pip install transformers
    python examples/hf_text_classification.py

Made from a configuration, so that nothing is downloaded. For yours: `BertForSequenceClassification.from_pretrained(...)`, a
tokenizer, and `training.epochs` 0.
"""

import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification

import evoprune as ep

SETTINGS = {"training": {"epochs": 12, "lr": 0.001, "retrain_epochs": 12, "retrain_lr": 0.001}}
WORDS, LENGTH = 40, 12


def sentences(samples, seed):
    """Encodings as a tokenizer gives them; the label says whether there are more words of the first quarter than of the last."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(WORDS, (samples, LENGTH), generator=generator)
    mask = torch.arange(LENGTH) < torch.randint(LENGTH // 2, LENGTH + 1, (samples, 1), generator=generator)
    first, last = ((tokens < WORDS // 4) & mask).sum(1), ((tokens >= 3 * WORDS // 4) & mask).sum(1)
    labels = (first > last).long()
    return [
        {"input_ids": ids, "attention_mask": seen.long(), "labels": label}
        for ids, seen, label in zip(tokens, mask, labels, strict=True)
    ]


def own_loss(outputs, batch):
    """The network has computed it, as it is given `labels` among its inputs."""
    return outputs.loss


def recipe(*, seed=0):
    config = BertConfig(
        vocab_size=WORDS,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=LENGTH,
    )
    sets = [
        DataLoader(sentences(samples, 3 * seed + part), batch_size=64, shuffle=part == 0)
        for part, samples in enumerate((1200, 300, 400))
    ]
    task = ep.Task(*sets, loss=own_loss, outputs="logits")
    ids = torch.ones(1, LENGTH, dtype=torch.long)
    return BertForSequenceClassification(config), task, {"input_ids": ids, "attention_mask": ids}


def main(out="runs/hf-text", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.6", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
