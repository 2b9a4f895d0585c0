"""The built-in networks, without the normalisation before them: plain stacks of PyTorch layers."""

from itertools import pairwise

from torch import nn

from lossmith.errors import InputError

CONVOLUTION_CHANNELS = (16, 32, 32)
SMALLEST_SIDE_OF_THIRD_STAGE = 7


def mlp(input_shape: tuple[int, ...], classes: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Multilayer perceptron: ``[N, *input_shape]`` → ``[N,K]``.

    Args:
        input_shape: ``(C, H, W)``, which is flattened, or ``(F,)``.
        classes: Number of classes K.
        hidden: Widths of the hidden layers, each with ReLU after it; none gives multinomial logistic regression.
    """
    features = 1
    for side in input_shape:
        features *= side
    return nn.Sequential(nn.Flatten(), *_connected((features, *hidden), classes))


def cnn(input_shape: tuple[int, ...], classes: int, hidden: tuple[int, ...]) -> nn.Sequential:
    """Small convolutional network: ``[N,C,H,W]`` → ``[N,K]``.

    Stages of 3×3 convolution (16, then 32 channels), ReLU and 2×2 max pooling (left out when a side is 1), then fully
    connected layers. Images that are 7 pixels or more after two stages, such as 28×28 and 32×32, get a third.

    Args:
        input_shape: ``(C, H, W)``.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers.

    Raises:
        InputError: If the data is not images.
    """
    if len(input_shape) != 3:
        raise InputError(
            f"the model cnn takes images, but this data has {input_shape[0]} flat features: use the model mlp, or give "
            "images [N, channels, height, width]"
        )
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
    return nn.Sequential(*layers, nn.Flatten(), *_connected((channels * height * width, *hidden), classes))


def _connected(widths: tuple[int, ...], classes: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return [*layers, nn.Linear(widths[-1], classes)]
