"""Data: where the samples come from, how they are split, and which labels are noisy."""

from lossmith.data.parts import Part, SearchParts, search_parts, test_part
from lossmith.data.pixels import pixel_white
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source, open_source

__all__ = ["DataSettings", "Part", "SearchParts", "Source", "open_source", "pixel_white", "search_parts", "test_part"]
