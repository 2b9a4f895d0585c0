"""Data: where the samples come from, of which kind they are, how they are split, and which labels are noisy."""

from lossmith.data.folds import Folds, folded, seen_samples
from lossmith.data.hub import cache_directory
from lossmith.data.kept import keep_source
from lossmith.data.kinds import KINDS, InputLayer, Kind, Normalize, Plain, has_ids
from lossmith.data.noise import NOISES, Noise, absolute_noise, is_idle, is_noise_file, mistaken, portable_noise
from lossmith.data.npz import read_array
from lossmith.data.parts import Part, SearchParts, part_sizes, search_parts, test_part
from lossmith.data.pixels import find_max_pixel
from lossmith.data.readers import READERS, Reader, data_path
from lossmith.data.registry import open_source
from lossmith.data.settings import DataSettings
from lossmith.data.source import Source
from lossmith.data.splits import SPLITS, Split

__all__ = [
    "KINDS",
    "NOISES",
    "READERS",
    "SPLITS",
    "DataSettings",
    "Folds",
    "InputLayer",
    "Kind",
    "Noise",
    "Normalize",
    "Part",
    "Plain",
    "Reader",
    "SearchParts",
    "Source",
    "Split",
    "absolute_noise",
    "cache_directory",
    "data_path",
    "find_max_pixel",
    "folded",
    "has_ids",
    "is_idle",
    "is_noise_file",
    "keep_source",
    "mistaken",
    "open_source",
    "part_sizes",
    "portable_noise",
    "read_array",
    "search_parts",
    "seen_samples",
    "test_part",
]
