"""How the parameters and inputs of a network lie in memory for the compiled program."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from lossmith.training.engines.design import Design, Layer
from lossmith.training.networks import State

CHUNK = 12  # the rows of a product in registers


@dataclass
class Dense:
    """A linear layer and what follows it.

    Args:
        name: Prefix of its parameters' names.
        rows: Inputs, or outputs where the weight lies turned: as ``[out, in]``.
        columns: The other number.
        turned: Whether it does: so as to be filled up by fewer zeros.
        weight: Where the weight begins in a member's numbers, ``[rows, columns]`` with rows filled up.
        bias: Where the bias begins, or −1.
        relu: Whether a ReLU follows.
        dropout: Layers of dropout that follow.
    """

    name: str
    rows: int
    columns: int
    turned: bool
    weight: int
    bias: int
    relu: bool = False
    dropout: list[nn.Module] = field(default_factory=list)

    @property
    def widths(self) -> tuple[int, int]:
        """Inputs and outputs."""
        return (self.columns, self.rows) if self.turned else (self.rows, self.columns)


@dataclass
class Convolved:
    """A convolution of stride 1 and what follows it.

    Args:
        name: Prefix of its parameters' names.
        channels: Of the images that enter.
        row: From a sample to the next one in memory: the channels, filled up but in the inputs.
        sides: Height and width of the images that enter.
        window: Of the convolution.
        border: Zeros around the images.
        filters: Channels of what it gives.
        weight: Where the weight begins in a member's numbers, ``[filters, window, channels]`` with rows filled up.
        bias: Where the bias begins, or −1.
        pool: Windows of the maximum.
        relu: Whether a ReLU follows.
        dropout: Layers of dropout that follow.
    """

    name: str
    channels: int
    row: int
    sides: tuple[int, int]
    window: tuple[int, int]
    border: tuple[int, int]
    filters: int
    weight: int
    bias: int
    pool: tuple[int, int] = (1, 1)
    relu: bool = False
    dropout: list[nn.Module] = field(default_factory=list)

    @property
    def given(self) -> tuple[int, int]:
        """Height and width of what it gives."""
        high, wide = (
            (side + 2 * border - window + 1) // pool
            for side, border, window, pool in zip(self.sides, self.border, self.window, self.pool, strict=True)
        )
        return high, wide

    @property
    def numbers(self) -> list[int]:
        """What the program is told, in its order."""
        return [
            *(self.channels, self.row, *self.sides, *self.window, *self.border, self.filters, *self.pool),
            *(int(self.relu), self.weight, self.bias),
        ]


class Shape:
    """How a member lies in memory.

    Args:
        design: What the networks are.
        parameters: ``[P, …]`` each.
        lanes: Numbers of a vector of the processor, to whose multiples rows are filled up.
        entering: The shape of one input behind the stem.
    """

    def __init__(self, design: Design, parameters: State, lanes: int, entering: tuple[int, ...]) -> None:
        self.lanes, self.size, self.entering = lanes, 0, entering
        self.before: list[nn.Module] = []
        self.stages: list[Convolved] = []
        self.layers: list[Dense] = []
        for layer in design.layers:
            if layer.kind == "convolution":
                self._convolve(layer, parameters[f"{layer.name}.weight"].shape[1])
            elif layer.kind == "maximum":
                self.stages[-1].pool = layer.window
            elif layer.kind == "linear":
                outputs, inputs = parameters[f"{layer.name}.weight"].shape[1:]
                if self.stages and not self.layers:
                    inputs = self._flat()
                turned = outputs * self.filled(inputs) < inputs * self.filled(outputs)
                rows, columns = (outputs, inputs) if turned else (inputs, outputs)
                weight, bias = self.size, self.size + rows * self.filled(columns)
                self.size = bias + self.filled(outputs) * layer.biased
                self.layers.append(Dense(layer.name, rows, columns, turned, weight, bias if layer.biased else -1))
            elif not self.layers and not self.stages:
                self.before.append(nn.ReLU() if layer.dropout is None else layer.dropout)
            elif layer.dropout is None:
                (self.layers or self.stages)[-1].relu = True
            else:
                (self.layers or self.stages)[-1].dropout.append(layer.dropout)

        self.convolved = self.layers[0].weight
        self.widths = [self.layers[0].widths[0], *(layer.widths[1] for layer in self.layers)]
        self.lists = {
            "geometry": torch.tensor([stage.numbers for stage in self.stages], dtype=torch.int64),
            "widths": torch.tensor(self.widths),
            "relu": torch.tensor([int(layer.relu) for layer in self.layers]),
            "turned": torch.tensor([int(layer.turned) for layer in self.layers]),
            "weight": torch.tensor([layer.weight for layer in self.layers]),
            "bias": torch.tensor([layer.bias for layer in self.layers]),
        }

    def _convolve(self, layer: Layer, filters: int) -> None:
        channels, *sides = (self.stages[-1].filters, *self.stages[-1].given) if self.stages else self.entering
        row = self.filled(channels) if self.stages else channels
        weight = self.size
        bias = weight + filters * self.filled(channels * math.prod(layer.window))
        self.size = bias + self.filled(filters) * layer.biased
        self.stages.append(
            Convolved(
                layer.name,
                channels,
                row,
                (sides[0], sides[1]),
                layer.window,
                layer.border,
                filters,
                weight,
                bias if layer.biased else -1,
            )
        )

    def _flat(self) -> int:
        """Numbers of a sample behind the convolutions, ``[height, width, filters]`` with the filters filled up."""
        return math.prod(self.stages[-1].given) * self.filled(self.stages[-1].filters)

    @property
    def whole(self) -> bool:
        """Whether each layer gives something."""
        return all(self.widths) and all(min(*stage.given, stage.channels, stage.filters) > 0 for stage in self.stages)

    def chunk(self, batch: int) -> int:
        """Samples that convolutions take at a time: nearly equal parts of a batch."""
        return -(-batch // -(-batch // CHUNK))

    def entered(self, batch: int) -> int:
        """Numbers of a batch of inputs in memory."""
        if not self.stages:
            return batch * self.filled(self.widths[0])
        first, chunk = self.stages[0], self.chunk(batch)
        pixels = math.prod(side + 2 * border for side, border in zip(first.sides, first.border, strict=True))
        return -(-batch // chunk) * chunk * pixels * first.channels

    def laid_out(self, inputs: Tensor) -> Tensor:
        """Batches ``[…, B, *entering]`` in memory, each ``entered`` numbers; the program reads a vector beyond them."""
        batch = inputs.shape[-len(self.entering) - 1]
        if not self.stages:
            first = self.widths[0]
            return nn.functional.pad(inputs, (0, self.filled(first) - first)).contiguous()
        leading, chunk, (up, side) = inputs.shape[: -len(self.entering) - 1], self.chunk(batch), self.stages[0].border
        numbers = math.prod(leading) * self.entered(batch)
        found = inputs.new_zeros(numbers + self.lanes)
        channels, height, width = self.entering
        images = found[:numbers].view(-1, -(-batch // chunk), height + 2 * up, width + 2 * side, chunk, channels)
        # From whole chunks, [batch of all, chunk, sample, channel, y, x].
        filled = nn.functional.pad(inputs.flatten(0, len(leading) - 1), (0, 0) * 3 + (0, -batch % chunk))
        inner = images[:, :, up : up + height, side : side + width]
        inner.copy_(filled.unflatten(1, (-1, chunk)).permute(0, 1, 4, 5, 2, 3))
        return found

    def drop(self, place: int, masks: Tensor) -> Tensor:
        """Masks of dropout behind a stage ``[T, B, C, H, W]``, as what the stage gives lies in memory."""
        stage, chunk = self.stages[place], self.chunk(masks.shape[1])
        up, side = self.stages[place + 1].border if place + 1 < len(self.stages) else (0, 0)
        spare = (0, self.filled(stage.filters) - stage.filters)
        chunks = nn.functional.pad(masks, (0, 0) * 3 + (0, -masks.shape[1] % chunk)).unflatten(1, (-1, chunk))
        return nn.functional.pad(chunks.permute(0, 1, 4, 5, 2, 3), (*spare, 0, 0, side, side, up, up)).contiguous()

    def filled(self, columns: int) -> int:
        """The length of a row in memory."""
        return -(-columns // self.lanes) * self.lanes

    def packed(self, parameters: State) -> Tensor:
        """The numbers of members ``[P, size]`` of their parameters ``[P, …]``."""
        first = next(iter(parameters.values()))
        state = first.new_zeros(len(first), self.size)
        for name, value in self.views(state).items():
            value.copy_(parameters[name].reshape(value.shape))
        return state

    def views(self, state: Tensor) -> State:
        """The parameters in members' numbers ``[P, size]``, some with more dimensions than they have."""
        found: State = {}
        for stage in self.stages:
            long, own = self.filled(stage.channels * math.prod(stage.window)), stage.channels * math.prod(stage.window)
            part = state[:, stage.weight : stage.weight + stage.filters * long].unflatten(1, (stage.filters, long))
            weight = part[..., :own].unflatten(2, (*stage.window, stage.channels))
            found[f"{stage.name}.weight"] = weight.permute(0, 1, 4, 2, 3)
            if stage.bias >= 0:
                found[f"{stage.name}.bias"] = state[:, stage.bias : stage.bias + stage.filters]
        for layer in self.layers:
            long = self.filled(layer.columns)
            part = state[:, layer.weight : layer.weight + layer.rows * long]
            weight = part.unflatten(1, (layer.rows, long))[..., : layer.columns]
            weight = weight if layer.turned else weight.mT
            if self.stages and layer is self.layers[0]:
                last = self.stages[-1]
                weight = weight.unflatten(2, (*last.given, self.filled(last.filters)))
                weight = weight[..., : last.filters].permute(0, 1, 4, 2, 3)
            found[f"{layer.name}.weight"] = weight
            if layer.bias >= 0:
                found[f"{layer.name}.bias"] = state[:, layer.bias : layer.bias + layer.widths[1]]
        return found
