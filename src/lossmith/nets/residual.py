"""Residual networks with pre-activation: PreResNet and Wide ResNet are one architecture at two widths."""

from torch import Tensor, nn
from torch.nn import functional

from lossmith.nets.parts import Dropout, Shape

STEM = 16


class Block(nn.Module):
    """Basic block with pre-activation, ``s(x) + W2 · drop(a2(W1 · a1(x)))`` with aᵢ = ReLU ∘ batch norm.

    The shortcut s is the identity where shape and number of channels stay, and else a 1×1 convolution of ``a1(x)``.

    Args:
        channels: C of the input ``[N,C,H,W]``.
        filters: C of the output.
        stride: Of the first convolution.
        dropout: Rate of dropout between the convolutions, after the ReLU.
    """

    def __init__(self, channels: int, filters: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, filters, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(filters)
        self.dropout = Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(filters, filters, 3, padding=1, bias=False)
        self.projection = (
            None if stride == 1 and channels == filters else nn.Conv2d(channels, filters, 1, stride=stride, bias=False)
        )

    def forward(self, x: Tensor) -> Tensor:
        """``[N,C,H,W]`` → ``[N,filters,⌈H/stride⌉,⌈W/stride⌉]``."""
        active = functional.relu(self.norm1(x))
        change: Tensor = self.conv2(self.dropout(functional.relu(self.norm2(self.conv1(active)))))
        shortcut = x if self.projection is None else self.projection(active)
        return shortcut + change


def residual(
    input_shape: Shape, classes: int, blocks: int, width: int = 1, dropout: float = 0.0, stem: int = STEM
) -> nn.Sequential:
    """Residual network with pre-activation for small images: ``[N,C,H,W]`` → ``[N,K]``.

    A 3×3 convolution of 16 channels; three stages of n blocks with 16k, 32k and 64k channels, the second and third of
    half the image's size each; batch norm, ReLU, mean over the image, linear layer. k = 1 without dropout is
    PreResNet-(6n+2); any k is WRN-(6n+4)-k, whose depth counts the shortcuts' convolutions. Convolutions begin with
    N(0, 2 / fan-out), biases with 0, as the authors' do. At 10 classes PreResNet-20 has 272,282 parameters, WRN-16-8
    10,961,370, and WRN-28-10 36,479,194.

    Args:
        input_shape: ``(C, H, W)``, sides of 3 or more.
        classes: Number of classes K.
        blocks: n, blocks of a stage.
        width: k.
        dropout: Rate of dropout between the convolutions of a block.
        stem: Channels of the first convolution; the others are in proportion.

    Source: He et al. (2016), Identity Mappings in Deep Residual Networks; Zagoruyko & Komodakis (2016), Wide Residual
    Networks, table 1.
    """
    layers: list[nn.Module] = [nn.Conv2d(input_shape[0], stem, 3, padding=1, bias=False)]
    channels = stem
    for stage in range(3):
        filters = stem * width * 2**stage
        for block in range(blocks):
            layers.append(Block(channels, filters, 2 if stage and not block else 1, dropout))
            channels = filters
    head = nn.Linear(channels, classes)
    network = nn.Sequential(*layers, nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
    nn.init.zeros_(head.bias)
    return network
