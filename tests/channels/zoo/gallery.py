"""Architectures from all over: attention gates, cross-stage splits, generators, autoencoders, sequences, graphs."""

import torch
from torch import nn
from torch.nn import functional

from tests.channels.zoo.convnets import conv_norm


class SqueezeNet(nn.Module):
    """Fire modules; the classifier is a convolution."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.squeeze, self.one, self.three = nn.Conv2d(8, 4, 1), nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.classifier = nn.Conv2d(12, 5, 1)

    def forward(self, x):
        x = self.squeeze(self.stem(x).relu()).relu()
        x = torch.cat([self.one(x), self.three(x)], 1).relu()
        return self.classifier(x).relu().mean((2, 3))


class Cbam(nn.Module):
    """Gates over channels and over space; the second reduces over channels."""

    def __init__(self):
        super().__init__()
        self.conv = conv_norm(3, 8)
        self.mlp = nn.Sequential(nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 8))
        self.space = nn.Conv2d(2, 1, 7, padding=3)
        self.mid, self.fc = conv_norm(8, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.conv(x)
        gate = torch.sigmoid(self.mlp(x.mean((2, 3))) + self.mlp(x.amax((2, 3))))
        x = x * gate[:, :, None, None]
        both = torch.cat([x.mean(1, keepdim=True), x.max(1, keepdim=True)[0]], 1)
        return self.fc(self.mid(x * torch.sigmoid(self.space(both))).mean((2, 3)))


class CrossStage(nn.Module):
    """A YOLO C2f block: chunk, a chain of bottlenecks, concat of everything."""

    def __init__(self):
        super().__init__()
        self.stem, self.inner = conv_norm(3, 8), nn.ModuleList(conv_norm(4, 4) for _ in range(2))
        self.out, self.head = conv_norm(16, 10, 1), nn.Conv2d(10, 4, 1)

    def forward(self, x):
        parts = list(self.stem(x).chunk(2, 1))
        for block in self.inner:
            parts.append(parts[-1] + block(parts[-1]))
        return self.head(self.out(torch.cat(parts, 1)))


class Res2Net(nn.Module):
    """Splits of a width that is fixed in the module."""

    def __init__(self, width=3):
        super().__init__()
        self.width = width
        self.conv1, self.conv3 = conv_norm(3, 4 * width, 1), nn.Conv2d(4 * width, 8, 1)
        self.convs, self.fc = nn.ModuleList(conv_norm(width, width) for _ in range(3)), nn.Linear(8, 5)

    def forward(self, x):
        parts = torch.split(self.conv1(x), self.width, 1)
        outputs, running = [], None
        for part, conv in zip(parts, self.convs, strict=False):
            running = conv(part if running is None else running + part)
            outputs.append(running)
        return self.fc(self.conv3(torch.cat([*outputs, parts[3]], 1)).relu().mean((2, 3)))


class Ghost(nn.Module):
    """Cheap features from a depthwise convolution, cut to a fixed number."""

    def __init__(self):
        super().__init__()
        self.primary, self.cheap = conv_norm(3, 5), nn.Conv2d(5, 5, 3, padding=1, groups=5)
        self.mid, self.fc = conv_norm(9, 6), nn.Linear(6, 5)

    def forward(self, x):
        x = self.primary(x)
        return self.fc(self.mid(torch.cat([x, self.cheap(x)], 1)[:, :9]).mean((2, 3)))


class SplitAttention(nn.Module):
    """ResNeSt: softmax over two branches of a grouped convolution."""

    def __init__(self):
        super().__init__()
        self.stem, self.radix = conv_norm(3, 8), nn.Conv2d(8, 16, 3, padding=1, groups=2)
        self.fc1, self.fc2 = nn.Linear(8, 6), nn.Linear(6, 16)
        self.out = nn.Conv2d(8, 5, 1)

    def forward(self, x):
        x = self.radix(self.stem(x)).relu()
        branches = x.view(x.shape[0], 2, x.shape[1] // 2, *x.shape[2:])
        gate = self.fc2(self.fc1(branches.sum(1).mean((2, 3))).relu())
        gate = gate.view(x.shape[0], 2, -1).softmax(1)[..., None, None]
        return self.out((branches * gate).sum(1))


class Generator(nn.Module):
    """A latent vector unfolded to a fixed shape, then transposed convolutions."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 8 * 4)
        self.up1, self.norm = nn.ConvTranspose2d(8, 7, 4, 2, 1), nn.BatchNorm2d(7)
        self.up2 = nn.ConvTranspose2d(7, 3, 4, 2, 1)

    def forward(self, z):
        x = self.fc(z).view(-1, 8, 2, 2).relu()
        return torch.tanh(self.up2(functional.leaky_relu(self.norm(self.up1(x)), 0.2)))


class Autoencoder(nn.Module):
    """Variational: two heads, noise in the middle even in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.encode = nn.Sequential(nn.Linear(12, 10), nn.ELU())
        self.mean, self.log_var = nn.Linear(10, 4), nn.Linear(10, 4)
        self.decode = nn.Sequential(nn.Linear(4, 9), nn.ELU(), nn.Linear(9, 12))

    def forward(self, x):
        x = self.encode(x)
        mean, log_var = self.mean(x), self.log_var(x)
        return self.decode(mean + torch.randn_like(mean) * (0.5 * log_var).exp()), mean.sum(-1), log_var.sum(-1)


class WaveNet(nn.Module):
    """Dilated causal convolutions with gates by chunk, residual and skip paths."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv1d(1, 6, 1)
        self.gates = nn.ModuleList(nn.Conv1d(6, 12, 2, dilation=2**i, padding=2**i) for i in range(3))
        self.residuals, self.skips = (nn.ModuleList(nn.Conv1d(6, n, 1) for _ in range(3)) for n in (6, 8))
        self.out = nn.Conv1d(8, 4, 1)

    def forward(self, x):
        x, total = self.stem(x), 0
        for index, gate in enumerate(self.gates):
            one, two = gate(x)[..., : -(2**index)].chunk(2, dim=1)
            y = one.tanh() * two.sigmoid()
            total = total + self.skips[index](y)
            x = x + self.residuals[index](y)
        return self.out(total.relu())


class PointNet(nn.Module):
    """A learned transform of the points, shared layers, a maximum over points."""

    def __init__(self):
        super().__init__()
        self.transform = nn.Sequential(
            nn.Conv1d(3, 6, 1), nn.ReLU(), nn.AdaptiveMaxPool1d(1), nn.Flatten(), nn.Linear(6, 9)
        )
        self.conv1, self.conv2, self.fc = nn.Conv1d(3, 8, 1), nn.Conv1d(8, 10, 1), nn.Linear(18, 4)

    def forward(self, x):
        matrix = self.transform(x).view(-1, 3, 3) + torch.eye(3)
        x = torch.bmm(x.transpose(1, 2), matrix).transpose(1, 2)
        local = self.conv1(x).relu()
        top = torch.max(self.conv2(local), 2, keepdim=True)[0].expand(-1, -1, x.shape[2])
        return self.fc(torch.cat([local, top], 1).transpose(1, 2))


class Graph(nn.Module):
    """Graph convolution with a dense adjacency and attention between nodes."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(5, 8), nn.Linear(8, 6)
        self.left, self.right = nn.Linear(6, 1), nn.Linear(6, 1)
        self.out = nn.Linear(6, 3)

    def forward(self, nodes, edges):
        x = (edges @ self.first(nodes)).relu()
        x = self.second(x)
        scores = functional.leaky_relu(self.left(x) + self.right(x).transpose(-2, -1)).masked_fill(edges == 0, -1e9)
        return self.out(torch.einsum("bij,bjc->bic", scores.softmax(-1), x))


class Translator(nn.Module):
    """An encoder LSTM that hands its state to a decoder LSTM, with dot attention."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.encoder, self.decoder = nn.LSTM(6, 8, batch_first=True), nn.LSTM(6, 8, batch_first=True)
        self.out = nn.Linear(16, 11)

    def forward(self, source, target):
        memory, state = self.encoder(self.embed(source))
        hidden, _ = self.decoder(self.embed(target), state)
        context = torch.softmax(hidden @ memory.transpose(1, 2), -1) @ memory
        return self.out(torch.cat([hidden, context], -1))


class ConvLstm(nn.Module):
    """Gates from one convolution over input and state; the state starts at zeros of a fixed size."""

    def __init__(self):
        super().__init__()
        self.gates, self.out = nn.Conv2d(3 + 6, 24, 3, padding=1), nn.Conv2d(6, 2, 1)

    def forward(self, frames):
        h = c = torch.zeros(frames.shape[0], 6, *frames.shape[3:], dtype=frames.dtype)
        for x in frames.unbind(1):
            i, f, o, g = self.gates(torch.cat([x, h], 1)).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
        return self.out(h)


class Volume(nn.Module):
    """3d convolutions with instance norm."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6, affine=True), nn.LeakyReLU(0.1), nn.MaxPool3d(2),
            nn.Conv3d(6, 8, 3, padding=1), nn.GroupNorm(4, 8), nn.SiLU(), nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(8, 3),
        )  # fmt: skip

    def forward(self, x):
        return self.net(x)


class HighResolution(nn.Module):
    """HRNet: two branches that exchange features."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = conv_norm(3, 6), conv_norm(6, 8, stride=2)
        self.high, self.low = conv_norm(6, 6), conv_norm(8, 8)
        self.up, self.across = nn.Conv2d(8, 6, 1), conv_norm(6, 8, stride=2)
        self.head = nn.Conv2d(14, 3, 1)

    def forward(self, x):
        high = self.stem(x)
        low = self.down(high)
        high, low = self.high(high), self.low(low)
        high, low = (high + functional.interpolate(self.up(low), high.shape[2:])).relu(), low + self.across(high)
        return self.head(torch.cat([high, functional.interpolate(low, high.shape[2:], mode="bilinear")], 1))


class SkipMlp(nn.Module):
    """NeRF: sines of the input, a skip of it to the middle."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.third = nn.Linear(12, 10), nn.Linear(22, 9), nn.Linear(9, 4)

    def forward(self, x):
        x = torch.cat([f(x * 2**k) for k in range(2) for f in (torch.sin, torch.cos)], -1)
        y = torch.relu(self.first(x))
        return self.third(torch.sin(self.second(torch.cat([x, y], -1))))


class Fourier(nn.Module):
    """A spectral layer with complex weights beside a pointwise one."""

    def __init__(self):
        super().__init__()
        self.lift, self.local, self.out = nn.Conv1d(1, 6, 1), nn.Conv1d(6, 6, 1), nn.Conv1d(6, 1, 1)
        self.weights = nn.Parameter(torch.randn(6, 6, 3))

    def forward(self, x):
        x = self.lift(x)
        modes = torch.fft.rfft(x)[..., :3]
        mixed = torch.einsum("bcm,com->bom", modes, self.weights.to(modes.dtype))
        return self.out((self.local(x) + torch.fft.irfft(mixed, n=x.shape[-1])).relu())


class Decoder(nn.Module):
    """`nn.TransformerDecoder` over an encoder's memory."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 12)
        self.transformer = nn.Transformer(12, 3, 1, 1, 18, batch_first=True)
        self.out = nn.Linear(12, 11)

    def forward(self, source, target):
        return self.out(self.transformer(self.embed(source), self.embed(target)))


class LoRa(nn.Module):
    """A frozen layer with a low-rank addition, merged on the fly."""

    def __init__(self):
        super().__init__()
        self.base, self.out = nn.Linear(12, 10), nn.Linear(10, 3)
        self.down, self.up = nn.Parameter(torch.randn(4, 12)), nn.Parameter(torch.randn(10, 4))
        self.base.requires_grad_(False)

    def forward(self, x):
        return self.out(functional.linear(x, self.base.weight + self.up @ self.down, self.base.bias).relu())
