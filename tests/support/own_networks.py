"""Networks and training functions as a user of `deep` may have them: nothing here knows linpoison."""

from __future__ import annotations

import torch
from torch import nn
from torch.utils.data import DataLoader


class Block(nn.Module):
    """Two convolutions with batch normalisation, and the way past them."""

    def __init__(self, width):
        super().__init__()
        self.one, self.two = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        self.norm_one, self.norm_two = (nn.BatchNorm2d(width) for _ in range(2))

    def forward(self, x):
        return torch.relu(x + self.norm_two(self.two(torch.relu(self.norm_one(self.one(x))))))


def resnet(width=8, classes=10):
    """A residual network of pictures of one channel."""
    stem = nn.Sequential(nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())
    return nn.Sequential(stem, Block(width), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16 * width, classes))


def train_resnet(module, dataset, seed):
    """SGD with momentum and a schedule, on pictures that are moved at random."""
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(dataset, batch_size=50, shuffle=True, generator=generator)
    optimiser = torch.optim.SGD(module.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 0.2, total_steps=10 * len(loader))
    module.train()
    for _ in range(10):
        for x, y in loader:
            move = int(torch.randint(-1, 2, (1,), generator=generator))
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(torch.roll(x, move, dims=3)), y).backward()
            optimiser.step()
            schedule.step()
    return module.eval()


class Transformer(nn.Module):
    """The rows of a picture as words: attention, layer normalisation, dropout."""

    def __init__(self, width=16, classes=10):
        super().__init__()
        self.words = nn.Linear(8, width)
        self.places = nn.Parameter(torch.empty(8, width))
        self.block = nn.TransformerEncoderLayer(width, 2, 32, dropout=0.1, activation="gelu", batch_first=True)
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, classes)
        self.reset_parameters()

    def reset_parameters(self):
        """Draw the parameters that are no layer's."""
        nn.init.normal_(self.places, std=0.1)

    def forward(self, x):
        return self.head(self.norm(self.block(self.words(x) + self.places)).mean(dim=1))


def train_transformer(module, dataset, seed):
    """AdamW with clipped gradients and smoothed labels; it starts anew by itself."""
    torch.manual_seed(seed)
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-2)
    for x, y in (batch for _ in range(15) for batch in DataLoader(dataset, batch_size=32, shuffle=True)):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(x), y, label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
    return module


def head_on_frozen(extractor, features, classes=10):
    """A new last layer on an extractor that stays as it is."""
    return nn.Sequential(extractor.requires_grad_(False).eval(), nn.Linear(features, classes))


def train_head(module, dataset, seed):
    """The last layer alone, to its optimum by L-BFGS."""
    x, y = dataset.tensors
    with torch.no_grad():
        seen = module[0](x)
    optimiser = torch.optim.LBFGS(module[1].parameters(), max_iter=50, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = nn.functional.cross_entropy(module[1](seen), y) + 0.005 * (module[1].weight ** 2).sum()
        value.backward()
        return value

    optimiser.step(loss)
    return module
