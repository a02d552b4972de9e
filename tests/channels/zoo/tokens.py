"""Transformers, mixers and recurrent networks."""

import math

import torch
from torch import nn
from torch.nn import functional


class Attention(nn.Module):
    """As timm writes it: one fused projection, heads by reshape, the width of all heads in an attribute."""

    def __init__(self, width, heads):
        super().__init__()
        self.num_heads, self.head_dim, self.attn_dim = heads, width // heads, width
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        batch, tokens, width = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        x = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(x.transpose(1, 2).reshape(batch, tokens, self.merged(width)))

    def merged(self, width):
        return self.attn_dim


class OldAttention(Attention):
    """As timm wrote it before: the heads together are as wide as the input."""

    def merged(self, width):
        return width


class Block(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attn = Attention(width, heads)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x):
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Vit(nn.Module):
    def __init__(self, width=12, heads=3):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.zeros(1, 5, width))
        self.blocks = nn.Sequential(Block(width, heads, 20), Block(width, heads, 20))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], 1) + self.position
        return self.head(self.norm(self.blocks(x))[:, 0])


class SeparateAttention(nn.Module):
    """As the Hugging Face models write it: three projections, heads by view with a head size of -1."""

    def __init__(self, width, heads, head_dim=4):
        super().__init__()
        self.head_dim = head_dim
        inner = heads * head_dim
        self.q, self.k, self.v = (nn.Linear(width, inner) for _ in range(3))
        self.o = nn.Linear(inner, width)

    def forward(self, x):
        shape = (*x.shape[:-1], -1, self.head_dim)
        q, k, v = (layer(x).view(shape).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / math.sqrt(self.head_dim)
        out = scores.softmax(-1) @ v
        return self.o(out.transpose(1, 2).reshape(*x.shape[:-1], -1))


class Gpt(nn.Module):
    """A decoder with tied embeddings and causal attention."""

    def __init__(self, vocabulary=11, width=12):
        super().__init__()
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(16, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn = nn.MultiheadAttention(width, 3, batch_first=True)
        self.local = SeparateAttention(width, 3)
        self.fc1, self.fc2 = nn.Linear(width, 24), nn.Linear(24, width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, ids):
        x = self.tokens(ids) + self.positions(torch.arange(ids.shape[1], device=ids.device))
        mask = torch.triu(torch.ones(ids.shape[1], ids.shape[1], dtype=torch.bool), 1)
        normed = self.norm1(x)
        x = x + self.attn(normed, normed, normed, attn_mask=mask, need_weights=False)[0]
        x = x + self.local(self.norm2(x))
        x = x + self.fc2(functional.gelu(self.fc1(self.norm3(x))))
        return self.head(x)


class Llama(nn.Module):
    """RMSNorm and a gated feed-forward layer."""

    def __init__(self, width=12):
        super().__init__()
        self.embed = nn.Embedding(11, width)
        self.norm1, self.norm2 = nn.RMSNorm(width), nn.RMSNorm(width)
        self.attn = SeparateAttention(width, 2)
        self.gate, self.up, self.down = nn.Linear(width, 20), nn.Linear(width, 20), nn.Linear(20, width)
        self.head = nn.Linear(width, 11)

    def forward(self, ids):
        x = self.embed(ids)
        x = x + self.attn(self.norm1(x))
        h = self.norm2(x)
        return self.head(x + self.down(functional.silu(self.gate(h)) * self.up(h)))


class SwinLike(nn.Module):
    """Attention in windows of 4x4, with a shift."""

    def __init__(self, width=12):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 2, 2)
        self.norm = nn.LayerNorm(width)
        self.attn = OldAttention(width, 2)
        self.reduce = nn.Linear(4 * width, 16)
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = self.patch(x).permute(0, 2, 3, 1)
        batch, height, width, channels = x.shape
        y = torch.roll(self.norm(x), (-2, -2), (1, 2))
        y = y.view(batch, height // 4, 4, width // 4, 4, channels).permute(0, 1, 3, 2, 4, 5).reshape(-1, 16, channels)
        y = self.attn(y).view(batch, height // 4, width // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
        x = x + torch.roll(y.reshape(batch, height, width, -1), (2, 2), (1, 2))
        merged = torch.cat([x[:, i::2, j::2] for i in (0, 1) for j in (0, 1)], -1)
        return self.head(self.reduce(merged).relu().mean((1, 2)))


class Mixer(nn.Module):
    def __init__(self, tokens=4, width=8):
        super().__init__()
        self.patch = nn.Conv2d(3, width, 4, 4)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.token1, self.token2 = nn.Linear(tokens, 6), nn.Linear(6, tokens)
        self.channel1, self.channel2 = nn.Linear(width, 16), nn.Linear(16, width)
        self.head = nn.Linear(width, 5)

    def forward(self, x):
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = x + self.token2(functional.gelu(self.token1(self.norm1(x).transpose(1, 2)))).transpose(1, 2)
        x = x + self.channel2(functional.gelu(self.channel1(self.norm2(x))))
        return self.head(x.mean(1))


class Tagger(nn.Module):
    """An embedding, two bidirectional recurrent layers, a linear layer per token."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.rnn = kind(6, 5, num_layers=2, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(10, 8)
        self.out = nn.Linear(8, 3)

    def forward(self, ids):
        return self.out(self.fc(self.rnn(self.embed(ids))[0]).relu())


def encoder():
    layer = nn.TransformerEncoderLayer(12, 3, 20, batch_first=True, norm_first=True)
    return nn.Sequential(
        nn.Linear(12, 12), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(12, 2)
    )
