"""What the filters of a search engine rejected before anything was trained, as a study keeps it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from lossmith.schema import conforming
from lossmith.study.rows import REMEDY
from lossmith.study.store import Store

RECORDS = "filters"


def keep_rejected(store: Store, generation: int, rejected: Mapping[str, int]) -> None:
    """Keep how many draws of a generation were rejected, by the reason; once."""
    if rejected and store.record(RECORDS, str(generation)) is None:
        store.add_record(RECORDS, str(generation), dict(rejected), 0.0)


def rejected_of(store: Store) -> dict[str, int]:
    """How many draws the filters of the search engine rejected in all generations, by the reason.

    Raises:
        InputError: if what is kept is damaged.
    """
    found = Counter[str]()
    for row in store.rows("SELECT result FROM run WHERE comparison = ? ORDER BY chunk", RECORDS):
        what = f"{store.path} (what it holds of the filters)"
        found.update(conforming(dict[str, int], json.loads(row["result"]), what, REMEDY))
    return dict(found)
