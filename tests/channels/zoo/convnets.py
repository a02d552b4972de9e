"""Residual, dense, grouped and branching convolutional networks, at toy width."""

import torch
from torch import nn
from torch.nn import functional


def conv_norm(inputs, outputs, kernel=3, stride=1, groups=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Vgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            conv_norm(3, 8), conv_norm(8, 8), nn.MaxPool2d(2), conv_norm(8, 12), nn.Conv2d(12, 12, 3), nn.ELU(), nn.AvgPool2d(2)
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d(3)
        self.classifier = nn.Sequential(nn.Linear(108, 20), nn.ReLU(True), nn.Dropout(), nn.Linear(20, 5))

    def forward(self, x):
        return self.classifier(torch.flatten(self.pool(self.features(x)), 1))


class PadShortcut(nn.Module):
    """Option A of the CIFAR ResNets: subsample and pad with zeros."""

    def __init__(self, extra):
        super().__init__()
        self.extra = extra

    def forward(self, x):
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, self.extra // 2, self.extra // 2))


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride=1, projection=True):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = (
                nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
                if projection
                else PadShortcut(outputs - inputs)
            )

    def forward(self, x):
        out = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(out)) + self.shortcut(x))


class CifarResNet(nn.Module):
    def __init__(self, blocks=3, width=4, projection=False):
        super().__init__()
        self.stem = conv_norm(3, width)
        layers, inputs = [], width
        for stage in range(3):
            for block in range(blocks):
                outputs = width * 2**stage
                layers.append(BasicBlock(inputs, outputs, 2 if stage and not block else 1, projection))
                inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, 5)

    def forward(self, x):
        return self.fc(self.layers(self.stem(x)).mean((2, 3)))


class Bottleneck(nn.Module):
    def __init__(self, inputs, inner, outputs, groups=1):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, 1, 1, groups=groups, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
        self.down = conv_norm(inputs, outputs, 1) if inputs != outputs else None
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        out += x if self.down is None else self.down(x)
        return self.relu(out)


def bottleneck_resnet(groups=1):
    return nn.Sequential(
        conv_norm(3, 8), Bottleneck(8, 8, 16, groups), Bottleneck(16, 8, 16, groups), Bottleneck(16, 12, 20, groups),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(20, 5),
    )  # fmt: skip


class PreActivation(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(8) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.fc = nn.Linear(8, 5)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = x + conv(functional.leaky_relu(norm(x)))
        return self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))


class DenseNet(nn.Module):
    def __init__(self, growth=4):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.layers = nn.ModuleList()
        width = 8
        for _ in range(3):
            self.layers.append(
                nn.Sequential(
                    nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 6, 1), nn.BatchNorm2d(6), nn.ReLU(),
                    nn.Conv2d(6, growth, 3, padding=1),
                )
            )  # fmt: skip
            width += growth
        self.transition = nn.Sequential(nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, 10, 1), nn.AvgPool2d(2))
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        features = [self.stem(x)]
        for layer in self.layers:
            features.append(layer(torch.cat(features, 1)))
        return self.fc(self.transition(torch.cat(features, 1)).amax((2, 3)))


class Inception(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = conv_norm(3, 8)
        self.one = conv_norm(8, 4, 1)
        self.three = nn.Sequential(conv_norm(8, 5, 1), conv_norm(5, 6, 3))
        self.five = nn.Sequential(conv_norm(8, 3, 1), conv_norm(3, 4, (1, 5)[1]))
        self.pool = nn.Sequential(nn.MaxPool2d(3, 1, 1), conv_norm(8, 4, 1))
        self.fc = nn.Linear(18 * 4, 5)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([self.one(x), self.three(x), self.five(x), self.pool(x)], dim=1)
        return self.fc(functional.adaptive_max_pool2d(x, 2).reshape(x.shape[0], -1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2, self.middle = conv_norm(3, 6), conv_norm(6, 8), conv_norm(8, 10)
        self.up2 = nn.ConvTranspose2d(10, 8, 2, stride=2)
        self.merge2 = conv_norm(16, 8)
        self.up1 = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.merge1 = conv_norm(12, 6)
        self.out = nn.Conv2d(6, 2, 1)

    def forward(self, x):
        one = self.down1(x)
        two = self.down2(functional.max_pool2d(one, 2))
        x = self.middle(functional.max_pool2d(two, 2))
        x = self.merge2(torch.cat([self.up2(x), two], 1))
        x = self.merge1(torch.cat([self.up1(x), one], 1))
        return self.out(x)


class SuperResolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 5, padding=2), nn.Tanh(), nn.Conv2d(8, 24, 3, padding=1), nn.PixelShuffle(2)
        )
        self.tail = nn.Sequential(nn.PReLU(6), nn.Conv2d(6, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, x):
        return self.tail(self.body(x)) + functional.interpolate(x, scale_factor=4, mode="bilinear")


class TwoTower(nn.Module):
    """Two inputs by keyword, a dict as output."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(conv_norm(3, 6), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 8))
        self.table = nn.Sequential(nn.Linear(5, 10), nn.SiLU(), nn.Linear(10, 8))
        self.mix = nn.Linear(16, 9)
        self.score = nn.Linear(9, 1)

    def forward(self, image, table):
        one, two = self.image(image), self.table(table)
        mixed = torch.relu(self.mix(torch.cat([one * two, two], -1)))
        return {"score": self.score(mixed).squeeze(-1), "similarity": (one * two).tanh()}


class Detector(nn.Module):
    """A shared head over two levels, a tuple of lists as output."""

    def __init__(self):
        super().__init__()
        self.backbone1, self.backbone2 = conv_norm(3, 6), conv_norm(6, 8, stride=2)
        self.lateral1, self.lateral2 = nn.Conv2d(6, 7, 1), nn.Conv2d(8, 7, 1)
        self.tower = nn.Sequential(nn.Conv2d(7, 7, 3, padding=1), nn.GroupNorm(1, 7), nn.ReLU())
        self.boxes, self.classes = nn.Conv2d(7, 4, 1), nn.Conv2d(7, 3, 1)

    def forward(self, x):
        one = self.backbone1(x)
        two = self.backbone2(one)
        two = self.lateral2(two)
        one = self.lateral1(one) + functional.interpolate(two, scale_factor=2)
        levels = [self.tower(level) for level in (one, two)]
        return [self.boxes(level) for level in levels], [self.classes(level).sigmoid() for level in levels]
