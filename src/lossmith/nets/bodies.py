"""The small networks: a multilayer perceptron and a convolutional network of two or three stages."""

import math

from torch import nn

from lossmith.nets.parts import Shape, connected

CONVOLUTION_CHANNELS = (16, 32, 32)
SMALLEST_SIDE_OF_THIRD_STAGE = 7


def mlp(input_shape: Shape, classes: int, hidden: tuple[int, ...] = (128,), dropout: float = 0.0) -> nn.Sequential:
    """Multilayer perceptron: ``[N, *input_shape]`` → ``[N,K]``.

    Args:
        input_shape: ``(C, H, W)``, which is flattened, or ``(F,)``.
        classes: Number of classes K.
        hidden: Widths of the hidden layers, each with ReLU after it; none gives multinomial logistic regression.
        dropout: Rate of dropout after each hidden layer's ReLU.
    """
    return nn.Sequential(nn.Flatten(), *connected((math.prod(input_shape), *hidden), classes, dropout))


def conv(input_shape: Shape, classes: int, hidden: tuple[int, ...] = (128,), dropout: float = 0.0) -> nn.Sequential:
    """Small convolutional network: ``[N,C,H,W]`` → ``[N,K]``.

    Stages of 3×3 convolution (16, then 32 channels), ReLU and 2×2 max pooling (left out when a side is 1), then fully
    connected layers. Images that are 7 pixels or more after two stages, such as 28×28 and 32×32, get a third.

    Args:
        input_shape: ``(C, H, W)``.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers.
        dropout: Rate of dropout after the ReLU of each fully connected hidden layer.
    """
    channels, height, width = input_shape
    layers: list[nn.Module] = []
    for stage, width_of_stage in enumerate(CONVOLUTION_CHANNELS):
        if stage == 2 and min(height, width) < SMALLEST_SIDE_OF_THIRD_STAGE:
            break
        layers += [nn.Conv2d(channels, width_of_stage, kernel_size=3, padding=1), nn.ReLU()]
        channels = width_of_stage
        if min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
    return nn.Sequential(*layers, nn.Flatten(), *connected((channels * height * width, *hidden), classes, dropout))
