"""What the filters of a search engine rejected before anything was trained, as a study keeps it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from lossmith.schema import conforming
from lossmith.study.rows import REMEDY
from lossmith.study.store import Store

RECORDS = "filters"


def keep_rejected(store: Store, generation: int, rejected: Mapping[str, int]) -> None:
    """Keep how many draws of a generation were rejected, by the reason; once."""
    if rejected and store.record(RECORDS, str(generation)) is None:
        store.add_record(RECORDS, str(generation), dict(rejected), 0.0)


def rejected_by_generation(store: Store) -> dict[int, dict[str, int]]:
    """How many draws the filters of the search engine rejected in each generation, by the reason.

    Raises:
        InputError: if what is kept is damaged.
    """
    what = f"{store.path} (what it holds of the filters)"
    kept = store.rows("SELECT chunk, result FROM run WHERE comparison = ?", RECORDS)
    texts = {row["chunk"]: json.loads(row["result"]) for row in kept}
    found = conforming(dict[Annotated[int, Field(strict=False, ge=0)], dict[str, int]], texts, what, REMEDY)
    return dict(sorted(found.items()))


def summed(rejected: Mapping[int, Mapping[str, int]]) -> dict[str, int]:
    """The same in all generations together, by the reason."""
    found = Counter[str]()
    for counts in rejected.values():
        found.update(counts)
    return dict(found)
