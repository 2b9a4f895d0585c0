"""Whether a study goes on with the settings that it began with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lossmith.errors import InputError
from lossmith.io import read_toml, without_none, write_toml
from lossmith.study.config import differences, is_moved
from lossmith.study.legacy import modernized
from lossmith.study.store import Store


@dataclass(frozen=True)
class Agreement:
    """What a study holds from now on.

    Args:
        document: Its settings.
        changes_file: Whether ``study.toml`` says something else, or is not there.
        changes_store: Whether the database says something else, or nothing.
        is_longer: Whether the search goes on after its end, so that its finalists are none any more.
    """

    document: dict[str, Any]
    changes_file: bool
    changes_store: bool
    is_longer: bool


def make_directory(directory: Path) -> None:
    """Make the directory of a study, if it is not there.

    Raises:
        InputError: if that cannot be done.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{directory} cannot be made a study directory: {error.strerror}") from None


def agree(store: Store, document: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    """See that a study goes on with the settings that it began with, and store those that may change.

    Args:
        store: The study's.
        document: Its settings, as they are wanted.
        defaults: Values of settings that a study begun by an older version does not hold.

    Raises:
        InputError: if something else was changed.
    """
    directory, stored = store.path.parent, store.setting("settings")
    path = directory / "study.toml"
    # A study file without stored settings is the remains of a begin that was killed, or a file of the user's.
    written = read_toml(path) if stored is not None and path.exists() else None
    agreed = reconciled(document, stored, written, defaults, store.generations(), directory)
    if agreed.changes_file or agreed.changes_store:
        store.checked_candidates()
    if agreed.changes_file:
        write_toml(document, path)
    if agreed.is_longer:
        store.set_and_forget_finalists("settings", agreed.document)
    elif agreed.changes_store:
        store.set("settings", agreed.document)


def reconciled(
    wanted: Mapping[str, Any],
    stored: dict[str, Any] | None,
    written: dict[str, Any] | None,
    defaults: Mapping[str, Any],
    done: int,
    directory: Path,
) -> Agreement:
    """The settings with which a study goes on: those that are wanted, if what it began with allows them.

    The place of the data may change where its digest stays, and a search can be given more generations.

    Args:
        wanted: The settings that are asked for.
        stored: Those of the database; None if it holds none.
        written: Those of ``study.toml``; None if there is none, or nothing is stored that it could contradict.
        defaults: Values of settings that a study begun by an older version does not hold.
        done: Generations that are begun.
        directory: The study's directory, for messages.

    Raises:
        InputError: if something else was changed, in what is wanted or by hand in ``study.toml``.
    """
    document: dict[str, Any] = json.loads(json.dumps(wanted))
    if stored is None:
        if done:
            raise InputError(f"{directory / 'study.db'} holds candidates but no settings; start in another directory")
        return Agreement(document, changes_file=True, changes_store=True, is_longer=False)
    kept = modernized(stored, begun=True)[0]
    _check_wanted(document, kept, defaults, done, directory)
    found = None if written is None else modernized(json.loads(json.dumps(written, default=str)), begun=True)[0]
    usual = without_none(dict(defaults))
    if found is not None:
        _check_written(_completed(found, usual), _completed(without_none(kept), usual), directory / "study.toml")
    return Agreement(
        document,
        changes_file=found is None or _completed(found, usual) != without_none(document),
        changes_store=kept != document,
        is_longer=any(key == "search.generations" for key, *_ in differences(document, kept)),
    )


def _check_wanted(
    wanted: dict[str, Any], kept: dict[str, Any], defaults: Mapping[str, Any], done: int, directory: Path
) -> None:
    same_data = wanted.get("digest") == kept.get("digest") is not None
    for key, ours, theirs in differences(wanted, _completed(kept, defaults)):
        if same_data and is_moved(key, ours, theirs):
            continue
        if key == "digest":
            raise InputError(
                f"the data is not the data that the study in {directory} began with (their digests differ); "
                "give that data (of a folder of images: the same files under the same names), or choose another "
                "directory"
            )
        if key == "search.generations":
            if ours < done:
                raise InputError(
                    f"the study in {directory} has {done} generations already, more than "
                    f"generations = {ours}; give at least {done}"
                )
            continue
        raise InputError(
            f"the study in {directory} has {key} = {theirs!r}, not {ours!r}; "
            "leave that setting out to go on with the study, or choose another directory"
        )


def _check_written(written: dict[str, Any], kept: dict[str, Any], path: Path) -> None:
    for key, ours, theirs in differences(kept, written):
        if key != "search.generations" and not is_moved(key, ours, theirs):
            raise InputError(
                f"{path} was changed after the study began: {key} is {theirs!r} there, the study has {ours!r}; "
                "change it back or begin another study"
            )


def _completed(document: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """A document with the defaults of what it lacks."""
    found = dict(document)
    for key, value in defaults.items():
        if isinstance(value, dict) and isinstance(found.get(key, {}), dict):
            found[key] = _completed(found.get(key, {}), value)
        else:
            found.setdefault(key, value)
    return found
