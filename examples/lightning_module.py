"""A LightningModule, fine-tuned and retrained by Lightning's own Trainer.

    pip install lightning
    python examples/lightning_module.py

The pruned network is put into a module of yours, whose optimiser, loss and hooks then train it as always.
"""

import lightning
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import evoprune as ep

SETTINGS = {"training": {"epochs": 6, "retrain_epochs": 8, "lr": 0.01, "finetune_lr": 0.01, "retrain_lr": 0.01}}


class Classifier(lightning.LightningModule):
    """Yours, with the network as an argument."""

    def __init__(self, network, lr, steps):
        super().__init__()
        self.network, self.lr, self.steps = network, lr, steps

    def training_step(self, batch, index):
        inputs, targets = batch
        return nn.functional.cross_entropy(self.network(inputs), targets, label_smoothing=0.05)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.9)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, self.lr, total_steps=self.steps + 1)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def train(network, budget):
    """What the task's `train_fn` is: a Trainer for as many steps as there are, on the samples that there are."""
    trainer = lightning.Trainer(
        max_steps=budget.steps,
        max_epochs=-1,
        accelerator="auto" if budget.device.type != "cpu" else "cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    batches = DataLoader([tuple(batch) for batch in budget.batches()], batch_size=None)
    trainer.fit(Classifier(network, budget.lr, budget.steps), batches)


def blobs(samples, seed):
    """Points around six centres, of three classes."""
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(6, 8, generator=torch.Generator().manual_seed(0)) * 2
    which = torch.randint(6, (samples,), generator=generator)
    return TensorDataset(centres[which] + torch.randn(samples, 8, generator=generator), which % 3)


def recipe(*, seed=0):
    network = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3))
    sets = [
        DataLoader(blobs(samples, 3 * seed + part + 1), batch_size=64, shuffle=part == 0)
        for part, samples in enumerate((900, 300, 400))
    ]
    return network, ep.Task(*sets, train_fn=train), torch.zeros(1, 8)


def main(out="runs/lightning", config=SETTINGS):
    result = ep.evolve(*recipe(), constraints="macs<=0.3", out=out, config=config)
    print(result.table())
    return result


if __name__ == "__main__":
    main()
