"""The small networks: a multilayer perceptron, a convolutional network, and embeddings of tokens."""

import math

from torch import Tensor, nn

from lossmith.nets.parts import Shape, connected

CONVOLUTION_CHANNELS = (16, 32, 32)
SMALLEST_SIDE_OF_THIRD_STAGE = 7
EMBEDDING_WIDTH = 64


class Mean(nn.Module):
    """Mean over positions, ``[N,L,E]`` → ``[N,E]``."""

    def forward(self, embedded: Tensor) -> Tensor:
        """Each position counts alike, one of padding too."""
        return embedded.mean(1)


class MeanEmbedding(nn.Embedding):
    """Mean of the embeddings of ids that are no padding, ``[N,L]`` → ``[N,E]``; 0 where all are.

    Args:
        vocabulary: Number of ids.
        width: E.
        padding: The id of padding.
    """

    def __init__(self, vocabulary: int, width: int, padding: int) -> None:
        super().__init__(vocabulary, width)
        self.padding = padding

    def forward(self, input: Tensor) -> Tensor:
        """Each token counts alike."""
        kept = (input != self.padding).to(self.weight.dtype)[..., None]
        return (super().forward(input) * kept).sum(1) / kept.sum(1).clamp(min=1)


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


def embedding(
    vocabulary: int,
    classes: int,
    hidden: tuple[int, ...] = (128,),
    dropout: float = 0.0,
    padding: int | None = None,
) -> nn.Sequential:
    """Mean of embeddings: token ids ``[N,L]`` → ``[N,K]``.

    A vector of 64 numbers for each id, the mean over all positions, and fully connected layers: fastText's classifier,
    with hidden layers.

    Args:
        vocabulary: Number of ids.
        classes: Number of classes K.
        hidden: Widths of the fully connected hidden layers; none gives fastText's.
        dropout: Rate of dropout after each hidden layer's ReLU.
        padding: The id that fills sequences up, which the mean leaves out; None if none does.

    Source: Joulin et al. (2017), Bag of Tricks for Efficient Text Classification.
    """
    layers = connected((EMBEDDING_WIDTH, *hidden), classes, dropout)
    if padding is not None:
        return nn.Sequential(MeanEmbedding(vocabulary, EMBEDDING_WIDTH, padding), *layers)
    return nn.Sequential(nn.Embedding(vocabulary, EMBEDDING_WIDTH), Mean(), *layers)
