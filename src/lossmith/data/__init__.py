"""Data: where the samples come from, how they are split, and which labels are noisy."""

from lossmith.data.parts import Part, SearchParts, part_sizes, search_parts, test_part
from lossmith.data.pixels import find_max_pixel
from lossmith.data.registry import data_path, open_source
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source

__all__ = [
    "DataSettings",
    "Part",
    "SearchParts",
    "Source",
    "data_path",
    "find_max_pixel",
    "open_source",
    "part_sizes",
    "search_parts",
    "test_part",
]
