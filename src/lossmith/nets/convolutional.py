"""Convolutional networks without shortcuts: the paper's MNIST CNN, AlexNet and AllCNN-C, and that of noisy labels.

The paper's three have no batch norm, so that the scale of the initial weights decides whether a signal reaches the
logits: they begin with He's (:func:`~lossmith.nets.parts.he_initialized`).
"""

from torch import nn

from lossmith.nets.parts import Shape, connected, he_initialized, pruned

INPUT_DROPOUT = 0.2


def mnist_cnn(input_shape: Shape, classes: int, dropout: float = 0.4, width: int = 32) -> nn.Sequential:
    """The CNN for MNIST: ``[N,C,H,W]`` → ``[N,K]``.

    Two stages of 5×5 convolution that keeps the size (32, 64 channels), ReLU and 2×2 max pooling; a fully connected
    layer of 1024 with ReLU and dropout; logits. 3,274,634 parameters for images 1×28×28 of 10 classes.

    Args:
        input_shape: ``(C, H, W)``, sides of 4 or more.
        classes: Number of classes K.
        dropout: Rate of dropout before the logits.
        width: Channels of the first convolution; the others are in proportion.
    """
    channels, height, side = input_shape
    flat = 2 * width * (height // 4) * (side // 4)
    return he_initialized(
        nn.Sequential(
            *_convolution(channels, width, 5, padding=2),
            nn.MaxPool2d(2),
            *_convolution(width, 2 * width, 5, padding=2),
            nn.MaxPool2d(2),
            nn.Flatten(),
            *connected((flat, 32 * width), classes, dropout),
        )
    )


def alexnet(input_shape: Shape, classes: int, dropout: float = 0.0, width: int = 64) -> nn.Sequential:
    """AlexNet for 32×32 images: ``[N,C,H,W]`` → ``[N,K]``.

    Convolutions 11×11 (64 channels, stride 4), 5×5 (192), 3×3 (384, 256, 256), each with ReLU; 2×2 max pooling after
    the first, second and fifth; one linear layer. 2,472,266 parameters for images 3×32×32 of 10 classes. Pooling rounds
    sizes up, which changes nothing at 32×32 and lets 28×28 end in one pixel as well.

    Args:
        input_shape: ``(C, H, W)``, sides of 17 or more.
        classes: Number of classes K.
        dropout: Rate of dropout before the linear layer; this variant is usually trained without.
        width: Channels of the first convolution; the others are in proportion.

    Source: Krizhevsky et al. (2012), ImageNet Classification with Deep Convolutional Neural Networks.
    """
    channels, *sides = input_shape
    for halvings in (4, 2, 2, 2):
        sides = [-(-side // halvings) for side in sides]
    layers: list[nn.Module] = []
    for filters, kernel, stride, padding, pooled in (
        (width, 11, 4, 5, True),
        (3 * width, 5, 1, 2, True),
        (6 * width, 3, 1, 1, False),
        (4 * width, 3, 1, 1, False),
        (4 * width, 3, 1, 1, True),
    ):
        layers += _convolution(channels, filters, kernel, stride, padding)
        channels = filters
        if pooled:
            layers.append(nn.MaxPool2d(2, ceil_mode=True))
    flat = channels * sides[0] * sides[1]
    return he_initialized(nn.Sequential(*layers, nn.Flatten(), *pruned(dropout), nn.Linear(flat, classes)))


def allcnn_c(input_shape: Shape, classes: int, dropout: float = 0.5, width: int = 96) -> nn.Sequential:
    """AllCNN-C without batch norm: ``[N,C,H,W]`` → ``[N,K]``.

    3×3 convolutions of 96, 96, 96 (stride 2), 192, 192, 192 (stride 2), 192 (no padding) channels, 1×1 convolutions of
    192 and K, each but the last with ReLU, and the mean over the image. 1,369,738 parameters for images 3×32×32 of 10
    classes. Dropout follows the convolutions with stride 2; inputs are dropped at 0.2, or at the given rate if that is
    less. Springenberg et al. have ReLU on the logits, too; here it is left out, since a loss that pushes a class below
    zero would leave it without gradient for good.

    Args:
        input_shape: ``(C, H, W)``, sides of 9 or more.
        classes: Number of classes K.
        dropout: Rate of dropout.
        width: Channels of the first convolution; the others are in proportion.

    Source: Springenberg et al. (2015), Striving for Simplicity: The All Convolutional Net, table 1 and section 3.
    """
    double = 2 * width
    return he_initialized(
        nn.Sequential(
            *pruned(min(INPUT_DROPOUT, dropout)),
            *_convolution(input_shape[0], width, 3, padding=1),
            *_convolution(width, width, 3, padding=1),
            *_convolution(width, width, 3, stride=2, padding=1),
            *pruned(dropout),
            *_convolution(width, double, 3, padding=1),
            *_convolution(double, double, 3, padding=1),
            *_convolution(double, double, 3, stride=2, padding=1),
            *pruned(dropout),
            *_convolution(double, double, 3),
            *_convolution(double, double, 1),
            nn.Conv2d(double, classes, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
    )


def cnn_8(input_shape: Shape, classes: int, dropout: float = 0.0, width: int = 64) -> nn.Sequential:
    """The network of losses for noisy labels on CIFAR-10: ``[N,C,H,W]`` → ``[N,K]``.

    Three stages of two 3×3 convolutions (64, 128 and 196 channels), each with batch norm and ReLU, and 2×2 max pooling;
    a fully connected layer of 256 with batch norm and ReLU; logits. The weights begin with He's uniform ones in
    convolutions and with Glorot's in linear layers. 1,639,794 parameters for images 3×32×32 of 10 classes.

    Args:
        input_shape: ``(C, H, W)``, sides of 8 or more.
        classes: Number of classes K.
        dropout: Rate of dropout before the logits; this network is usually trained without.
        width: Channels of the first convolution; the others are in proportion.

    Source: Ma et al. (2020), Normalized Loss Functions for Deep Learning with Noisy Labels, section 4.
    """
    before, height, width_of_image = input_shape
    layers: list[nn.Module] = []
    for filters in (width, 2 * width, 49 * width // 16):
        for _ in range(2):
            layers += [nn.Conv2d(before, filters, 3, padding=1), nn.BatchNorm2d(filters), nn.ReLU()]
            before = filters
        layers.append(nn.MaxPool2d(2))
    flat, wide = before * (height // 8) * (width_of_image // 8), 4 * width
    layers += [nn.Flatten(), nn.Linear(flat, wide), nn.BatchNorm1d(wide), nn.ReLU(), *pruned(dropout)]
    network = nn.Sequential(*layers, nn.Linear(wide, classes))
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
    return network


def _convolution(channels: int, filters: int, kernel: int, stride: int = 1, padding: int = 0) -> list[nn.Module]:
    return [nn.Conv2d(channels, filters, kernel, stride=stride, padding=padding), nn.ReLU()]
