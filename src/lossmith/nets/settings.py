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
    your own as package.module:function, called with the input shape and the number of classes, returning an nn.Module,
    given inputs as --normalize says. The module is an installed one or else lies in the current directory; it is code,
    so each command must name it, even if a file already does."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1, le=10**6)], ...], Field(strict=False, max_length=1000)] = (128,)
    """Widths of the fully connected hidden layers of mlp, conv and embedding; other networks do not see them."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Rate of dropout (default: the network's own, 0.4 for "mnist-cnn", 0.5 for "allcnn-c", 0.3 for "wrn", else 0)."""

    normalize: Literal["auto", "none"] = "auto"
    """Input layer: auto normalises each channel or feature by mean and standard deviation of the training part; none
    hands inputs on in the data's own units, as float32 (uint8 images as 0 to 255), to a network that does so itself.
    Token ids and dicts of tensors stay as they are with both."""
