"""Pieces that the built-in networks share."""

from itertools import pairwise

import torch
from torch import Tensor, nn

Shape = tuple[int, ...]
# Of dicts of tensors: of each by its name.
Shapes = Shape | dict[str, Shape]


class Dropout(nn.Dropout):
    """Dropout that drops the same units however the activations lie in memory and whatever their precision.

    PyTorch's own draws its mask in the order of memory and in the type of the activations, so that networks in
    channels-last format or bfloat16 would be other networks than those in the population's format.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``[N, …]``: each value is 0 with the rate p and else divided by 1 − p; in evaluation, it stays."""
        if not self.training:
            return input
        kept = torch.rand(input.shape, device=input.device) >= self.p
        return input * kept / (1 - self.p)


def connected(widths: Shape, classes: int, dropout: float) -> list[nn.Module]:
    """Linear layers of some widths, with ReLU (and dropout) after each, and a linear layer to K logits."""
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [nn.Linear(before, after), nn.ReLU(), *pruned(dropout)]
    return [*layers, nn.Linear(widths[-1], classes)]


def pruned(rate: float) -> list[nn.Module]:
    """A dropout layer; none for a rate of 0, so that names of parameters and random numbers are those without."""
    return [Dropout(rate)] if rate else []


def he_initialized(network: nn.Sequential) -> nn.Sequential:
    """The network with new weights from N(0, 2 / fan-in), and biases of 0, in the layers that ReLU comes right after.

    The mean square of the activations is then the same in all layers. PyTorch's own initial weights have the variance
    1 / (3 fan-in), so that it shrinks to a sixth in each: without batch norm, nine layers leave next to nothing of the
    input in the logits, and training stalls. The layer of the logits keeps PyTorch's own weights: with He's, logits
    begin so large that AlexNet diverges at its learning rate of 0.1.

    Source: He et al. (2015), Delving Deep into Rectifiers, equation 10.
    """
    for layer, following in pairwise(network):
        if isinstance(layer, nn.Conv2d | nn.Linear) and isinstance(following, nn.ReLU):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return network
