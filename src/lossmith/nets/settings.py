"""What the user chooses about the network."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ModelSettings(BaseModel):
    """Which network is trained, and the widths of its hidden layers."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    model: str = "mlp"
    """Network to train: "mlp", "cnn" (images only), or your own as "package.module:function", called with the input
    shape and the number of classes, given inputs that are already normalised, returning an nn.Module."""

    hidden: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(strict=False)] = (128,)
    """Widths of the fully connected hidden layers of "mlp" and "cnn"; your own network does not see them."""
