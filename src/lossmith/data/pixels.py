"""The range of an image's pixels, in which attacks and noise have their units."""

import torch

from lossmith.data.kinds import KINDS
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.errors import InputError

DARK = 0.25


def find_max_pixel(source: Source, settings: DataSettings) -> float:
    """The value w of a white pixel: pixels lie in [0, w], and a strength ε of an attack means ε · w.

    ``settings.max_pixel``, or else 16 for digits, 255 for other uint8 images, and 1 for floating images.

    Raises:
        InputError: if the data is no images, a pixel lies outside [0, w], or all pixels are so dark that w was hardly
            meant.
    """
    if source.kind != "image":
        raise InputError(
            f"{source.name} has {KINDS[source.kind].called}, but an attack needs images [N, channels, height, width] "
            "with pixels in [0, 1]; give such data"
        )
    # What the user says comes first, then what the reader knows, then what the type suggests.
    usual = 255.0 if source.inputs.dtype == torch.uint8 else 1.0
    max_pixel = settings.max_pixel or source.max_pixel or usual
    for inputs in (source.inputs, source.validation_inputs, source.test_inputs):
        if inputs is not None:
            low, high = float(inputs.min()), float(inputs.max())
            if low < 0 or high > max_pixel:
                remedy = "" if low < 0 else ", or say what a white pixel is (--max-pixel)"
                raise InputError(
                    f"{source.name} has pixels from {low:g} to {high:g}, but an attack works on pixels from 0 to "
                    f"{max_pixel:g}; give images that are not normalised (the network does that){remedy}"
                )
            if high == 0:
                raise InputError(f"all pixels of {source.name} are 0, so there is nothing to attack; give other images")
            if high < DARK * max_pixel and settings.max_pixel is None:
                raise InputError(
                    f"the brightest pixel of {source.name} is {high:g}, but a white one would be {max_pixel:g}, to "
                    f"which the strength of an attack relates; say what the largest pixel is (--max-pixel {high:g}, if "
                    "that is white)"
                )
    return max_pixel
