"""What the user chooses about the network."""

from typing import Annotated, Literal

from pydantic import Field

from lossmith.nets.registry import known_networks
from lossmith.registry import Listed
from lossmith.settings import Settings


class ModelSettings(Settings):
    """Which network is trained, the widths of its hidden layers, and its dropout."""

    name: Annotated[str, Listed(known_networks)] = "mlp"
    """Network to train: {names}, where DEPTH of preresnet is 6n + 2 and that of wrn 6n + 4 (preresnet-20, wrn-16-8); or
    your own as FILE.py:Net or package.module:function (installed, or else in the current directory), called with the
    input shape and the number of classes, which gives an nn.Module. It is code, so every command must name it, even if
    a file does so already."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=10**6)], ...], Field(strict=False, max_length=1000)] = (128,)
    """Widths of the fully connected hidden layers of mlp, conv and embedding; other networks ignore them."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Rate of dropout (default: the network's own, 0.4 for "mnist-cnn", 0.5 for "allcnn-c", 0.3 for "wrn", else 0)."""

    normalize: Literal["auto", "none"] = "auto"
    """Input layer: auto normalizes each channel or feature by its mean and standard deviation in the training part;
    none is for networks that do so themselves, which get the data's own units as float32 (uint8 images as 0 to 255).
    Token ids and dicts of tensors always stay as they are."""
