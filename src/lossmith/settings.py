"""What every group of settings has in common."""

from pydantic import BaseModel, ConfigDict


class Settings(BaseModel):
    """What a user chooses: it never changes, takes no key that it does not know, and converts nothing.

    The text under a setting is its description in the help of the commands.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)
