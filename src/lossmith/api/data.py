"""The user's data, however it comes, as a source."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from lossmith.data import Source
from lossmith.errors import InputError, brief

LOG = logging.getLogger("lossmith")
Pair = tuple[Any, Any]


def source_of(data: Any, parts: Mapping[str, Any], words: dict[str, Any]) -> Source | str:
    """The source of some data; the text of a name or path, which the settings say.

    Args:
        data: As :func:`lossmith.evolve` takes it.
        parts: What was given as ``validation``, ``test`` and ``groups``, or None.
        words: Settings by their words; those that say how data in memory is read are taken out.

    Raises:
        InputError: if it cannot be used.
    """
    if isinstance(data, str | Path | Source):
        for name in ("validation", "test"):
            if parts[name] is not None:
                raise InputError(f"{name} has no effect beside data that is named; leave it out, or give arrays")
        if parts["groups"] is not None:
            words["groups"] = parts["groups"]
        return data if isinstance(data, Source) else str(data)
    if data is None:
        raise InputError("no data is given; give (X, y), a Dataset, a DataFrame with target=…, a path or a name")
    if isinstance(data, DataLoader):
        raise InputError("data is a DataLoader; give its dataset (loader.dataset), which is batched anew")
    given = {name: value for name, value in parts.items() if value is not None}
    if given.get("groups") is not None:
        words.setdefault("split", "groups")
    if is_frame(data):
        return _of_frame(data, given, words)
    if words.get("target") is not None:
        raise InputError("target has no effect here, where the data has its labels; leave it out")
    own = {"kind": words.get("kind", "auto"), "padding_id": words.pop("padding_id", None)}
    if isinstance(data, Dataset):
        for name in ("validation", "test"):
            if name in given and not isinstance(given[name], Dataset):
                raise InputError(f"{name} is {_a(given[name])}; give a Dataset, as data is")
        return Source.from_dataset(data, given.pop("test", None), **given, **own)
    return _of_arrays(data, given, own)


def _of_frame(frame: Any, given: dict[str, Any], words: dict[str, Any]) -> Source:
    target = words.pop("target", None)
    if target is None:
        some = str(list(frame.columns)[-1]) if len(frame.columns) else "column"
        raise InputError(f"data is a DataFrame, and the column of its labels is not named; add target={some!r}")
    own: dict[str, Any] = {name: words.pop(name) for name in ("drop", "categories", "missing") if name in words}
    groups = given.pop("groups", None)
    if isinstance(groups, str):
        own["groups"] = groups
    for name, part in given.items():
        if not is_frame(part):
            raise InputError(f"{name} is {_a(part)}; give a DataFrame with the columns of data")
    parts = {name: part.rename(columns=str) for name, part in given.items()}
    source = Source.from_frame(frame.rename(columns=str), str(target), **parts, **own)
    return source if groups is None or isinstance(groups, str) else source.with_groups(groups, "groups")


def is_frame(data: Any) -> bool:
    """Whether something is a DataFrame of pandas or the like, which is not imported for that."""
    return hasattr(data, "columns") and hasattr(data, "iloc")


def _of_arrays(data: Any, given: Mapping[str, Any], own: Mapping[str, Any]) -> Source:
    inputs, labels = _pair(data, "data")
    found, names = _encoded(labels, None, "data")
    parts: dict[str, tuple[Any, Tensor]] = {}
    for name in ("validation", "test"):
        if name in given:
            those, theirs = _pair(given[name], name)
            parts[name] = _inputs(those, name), _encoded(theirs, names, name)[0]
    more, targets = parts.get("test", (None, None))
    source = Source.from_tensors(
        _inputs(inputs, "data"),
        found,
        more,
        targets,
        "arrays",
        validation=parts.get("validation"),
        groups=given.get("groups"),
        **own,
    )
    return source if names is None else replace(source, class_names=names)


def _inputs(given: Any, what: str) -> Any:
    """Inputs as tensors: a dict of them, sequences of uneven lengths as they are, or one."""
    if isinstance(given, Mapping):
        return {name: _tensor(value, f"{name} of {what}") for name, value in given.items()}
    lengths = {len(one) if hasattr(one, "__len__") else 1 for one in given} if isinstance(given, list) else set()
    if len(lengths) > 1:
        return given
    return _tensor(given, f"the inputs of {what}")


def _pair(given: Any, name: str) -> Pair:
    if not isinstance(given, tuple | list) or len(given) != 2:
        others = ", a Dataset, a DataFrame with target=…, a path or a name" if name == "data" else ", as data is"
        raise InputError(f"{name} is {_a(given)}; give (X, y){others}")
    return given[0], given[1]


def _a(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)}"
    shape = getattr(value, "shape", None)
    return brief(value) if shape is None else f"one array of shape {list(shape)}, without labels"


def _encoded(labels: Any, names: tuple[str, ...] | None, what: str) -> tuple[Tensor, tuple[str, ...] | None]:
    """Labels as numbers; texts by their place among the sorted ones, which are told.

    Args:
        labels: As they came.
        names: What those of the training part are called, if they are texts.
        what: Whose labels they are.
    """
    array = None if isinstance(labels, Tensor) else np.asarray(labels)
    if array is not None and array.dtype.kind == "O" and array.size:
        _check_known(array, what)
        if all(isinstance(one, int | np.integer) and not isinstance(one, bool) for one in array.ravel().tolist()):
            array = labels = array.astype(np.int64)
    if array is None or array.dtype.kind not in "OUS":
        if names is not None:
            raise InputError(f"the labels of data are texts and those of {what} numbers; give both alike")
        return _tensor(labels, f"the labels of {what}"), None
    if names is None and what != "data":
        raise InputError(f"the labels of data are numbers and those of {what} texts; give both alike")
    listed = array.ravel().tolist()
    texts = [one.decode("utf-8", "replace") if isinstance(one, bytes) else str(one) for one in listed]
    known = tuple(sorted(set(texts))) if names is None else names
    if names is None:
        LOG.info("the classes are %s", ", ".join(f"{place} = {name}" for place, name in enumerate(known)))
    places = {name: place for place, name in enumerate(known)}
    strange = next((text for text in texts if text not in places), None)
    if strange is not None:
        raise InputError(f"{what} holds the label {brief(strange)}, which no sample of data has; remove these samples")
    return torch.tensor([places[text] for text in texts]), known


def _check_known(labels: Any, what: str) -> None:
    """See that no label is missing: None, NaN, or what pandas has for it.

    Raises:
        InputError: if one is.
    """
    for place, one in enumerate(labels.ravel().tolist()):
        if one is None or type(one).__name__ in ("NAType", "NaTType") or (isinstance(one, float) and one != one):
            raise InputError(f"the label of sample {place} of {what} is missing; leave such samples out")


def _tensor(values: Any, what: str) -> Tensor:
    """A tensor of numbers.

    Raises:
        InputError: if they are none.
    """
    if isinstance(values, Tensor):
        return values.detach().cpu()
    try:
        array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)
    except ValueError:
        raise InputError(f"{what} are lists of uneven lengths; give all samples one shape") from None
    if array.dtype.kind not in "buif":
        raise InputError(
            f"{what} hold values of type {array.dtype}, but have to be numbers; give a DataFrame with target=…, whose "
            "columns may be texts, or convert them"
        )
    return torch.from_numpy(np.ascontiguousarray(array))
