"""What the user chooses about the network."""

from typing import Annotated

from pydantic import Field

from lossmith.settings import Settings


class ModelSettings(Settings):
    """Which network is trained, the widths of its hidden layers, and its dropout."""

    name: str = "mlp"
    """Network to train: "mlp", "conv", "mnist-cnn", "alexnet", "allcnn-c", "preresnet-DEPTH" (20, 32, 56, any 6n + 2),
    "wrn-DEPTH-WIDTH" (16-8, 28-5, 28-10, any depth 6n + 4), all but the first for images only; or your own as
    "package.module:function", called with the input shape and the number of classes, given inputs that are already
    normalised, returning an nn.Module."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (128,)
    """Widths of the fully connected hidden layers of "mlp" and "conv"; other networks do not see them."""

    dropout: float | None = Field(default=None, ge=0, lt=1)
    """Rate of dropout (default: the network's own, 0.4 for "mnist-cnn", 0.5 for "allcnn-c", 0.3 for "wrn", else 0)."""
