"""Losses that a search is told of: known ones that it tries, and the one that it starts from."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from lossmith.errors import InputError, brief
from lossmith.losses import Criterion, Loss, find
from lossmith.search import Genome, SearchSettings, Space, VectorSpace, build_space
from lossmith.study.config import validated
from lossmith.study.generation import checked, losses_of
from lossmith.study.nearest import nearest
from lossmith.study.rows import damaged
from lossmith.study.store import Store
from lossmith.theory import is_trainable

FIRST = "first candidates"
QUEUED = "queued candidates"
START = "start"
# Beyond, it is another loss.
FARTHEST = 0.5
LOG = logging.getLogger("lossmith")
Known = Loss | Criterion | str | Genome


def genome_of(given: Known, space: Space, classes: int, search: SearchSettings, project: bool = False) -> Genome:
    """The genome that stands for a loss, or for a multiple of it, which is then told.

    Args:
        given: A loss or a criterion, a text that names one, or a genome.
        space: Where it is searched for.
        classes: n.
        search: The settings of the search.
        project: Whether the nearest loss of the space stands for one that it does not hold, which is told, too.

    Raises:
        InputError: if the space does not hold it.
    """
    if isinstance(given, Criterion):
        given = given.loss
    if not isinstance(given, Loss | str):
        # As a list, what JSON has: so are genomes stored.
        given = list(given) if isinstance(given, tuple) else given.tolist() if hasattr(given, "tolist") else given
        if not space.holds(given):
            raise InputError(
                f"{brief(given)} is no genome of the space {search.space!r}, and no loss: give a Loss, its name, or a "
                "genome as candidates have it"
            )
        return given
    loss = find(given, classes) if isinstance(given, str) else given
    if loss.shape:
        raise InputError(f"{loss.name} is a population of {loss.shape[0]} losses; give them one by one")
    if loss.classes not in (None, classes):
        raise InputError(f"{loss.name} is made for {loss.classes} classes, and the study has {classes}; give another")
    found = space.place(loss, classes) or space.place(loss.simplest(), classes)
    if found is None and len(loss.moments()) > 1:
        raise InputError(
            f"the space {search.space!r} does not hold {loss.name}, which changes during the training; leave it "
            "out, or search residual-schedule with its knots, if these lie evenly and the losses are of that space"
        )
    if found is None and project and isinstance(space, VectorSpace):
        genome, factor, distance = nearest(loss, space, classes)
        if distance > FARTHEST:
            raise InputError(
                f"the space {search.space!r} holds nothing that is near {loss.name}: the nearest gradients differ by "
                f"{100 * distance:.0f} %; leave it out, or search another space"
            )
        LOG.warning(
            "the space %s does not hold %s: what is tried is the loss there of the nearest gradients, which times %.3g "
            "differ from its own by %.3g %%",
            search.space,
            loss.name,
            factor,
            100 * distance,
        )
        return genome
    if found is None:
        nearest_one = ", or let what is nearest stand for it: enqueue(…, project=True)"
        raise InputError(
            f"the space {search.space!r} holds no multiple of {loss.name}, or cannot say where it is; leave it out, "
            + (f"give more {space.wider} if it is a formula, " if space.wider else "")
            + f"or search another space{nearest_one if isinstance(space, VectorSpace) and not project else ''}"
        )
    genome, factor = found
    if abs(factor - 1) > 1e-9:
        LOG.warning(
            "the space %s holds %s up to its scale: what is tried is that loss divided by %.6g, which a learning rate "
            "makes up for",
            search.space,
            loss.name,
            factor,
        )
    return genome


def tell_untrainable(genomes: Sequence[Genome], space: Space, classes: int, search: SearchSettings) -> None:
    """Say of losses that are to be tried which ones the invariant will keep from being trained."""
    if search.invariant == "none" or not genomes:
        return
    passes = is_trainable(losses_of(space, genomes, classes, search.space), classes, search.invariant).tolist()
    for genome, can in zip(genomes, passes, strict=True):
        if not can:
            LOG.warning(
                "%s is untrainable by the %s form of the invariant: it is recorded, and not trained",
                brief(genome),
                search.invariant,
            )


def started_at(space: Space, genome: Genome | None, search: SearchSettings) -> Space:
    """A space whose search starts at a genome; None leaves it as it is.

    Raises:
        InputError: if its search has no starting point.
    """
    if genome is None:
        return space
    if not isinstance(space, VectorSpace):
        raise InputError(f"a search in the space {search.space!r} has no starting point; leave start out")
    return replace(space, start=tuple(map(float, genome)))


def agreed_start(store: Store, space: Space, wanted: Genome | None) -> Genome | None:
    """Where a study starts: where it began, or, if it begins, where it is wanted to, which is stored then.

    Raises:
        InputError: if it began somewhere else, or what is stored is damaged.
    """
    kept = store.setting(START)
    if store.setting("settings") is None:
        if wanted != kept:
            # Before the settings: a study that is killed in between is none that has begun otherwise.
            store.set(START, wanted)
        return wanted
    if kept is not None and not space.holds(kept):
        own = validated(SearchSettings, store.setting("settings")["search"], str(store.path))
        if build_space(own).holds(kept):
            # Of another space: that is told where settings are compared.
            return None
        raise damaged(store.path, "the search starts at what its space does not hold")
    if wanted is not None and wanted != kept:
        there = "where its space says" if kept is None else f"at {brief(kept)}"
        raise InputError(
            f"the study in {store.path.parent} has started {there}, not at {brief(wanted)}; leave start out, or choose "
            "another directory"
        )
    return kept


def check_first(genomes: Sequence[Genome], store: Store, search: SearchSettings) -> None:
    """See that the first generation of a study can begin with some genomes.

    Raises:
        InputError: if the study has begun, or they are more than a generation.
    """
    if store.setting(FIRST) is not None or store.generations():
        raise InputError(
            f"the study in {store.path.parent} has begun with other candidates; leave these out, or choose another "
            "directory"
        )
    if len(genomes) > search.population:
        raise InputError(f"{len(genomes)} genomes are more than a generation of {search.population}; give fewer")


def enqueued(store: Store, genomes: Sequence[Genome], space: Space, search: SearchSettings, first: int) -> list[Genome]:
    """Store genomes in the first free places from a generation on; those of them that were not queued before.

    Args:
        store: The study's.
        genomes: To be tried.
        space: Whose they are.
        search: The settings of the search.
        first: The first generation that can still be changed.

    Raises:
        InputError: if the space does not hold one, or the search has too few generations left.
    """
    genomes = checked(genomes, space, search.engine, search.space)
    queue, begins = queue_of(store.setting(QUEUED)), store.setting(FIRST)
    # What a search that tunes begins with is chosen later.
    taken = most_known(search) if begins is None and search.known_first else len(begins or [])
    known = [*(begins or []), *(genome for those in queue.values() for genome in those)]
    new = [genome for place, genome in enumerate(genomes) if genome not in [*known, *genomes[:place]]]
    if len(new) < len(genomes):
        LOG.info("%d of %d losses are queued already, or were", len(genomes) - len(new), len(genomes))
    if new:
        longer = queued_after(queue, new, first, taken, search)
        store.set(QUEUED, {str(generation): those for generation, those in longer.items()})
    return new


def most_known(search: SearchSettings) -> int:
    """How many known losses a search that tunes begins with at most: half a generation."""
    return search.population // 2


def genomes_to_try(space: Space, classes: int, search: SearchSettings) -> list[Genome]:
    """What a search tries first by its settings.

    Raises:
        InputError: if there is no such loss, the space holds nothing near it, or the search has no place for all.
    """
    genomes = [genome_of(name, space, classes, search, project=True) for name in search.start]
    queued_after({}, genomes, 0, most_known(search) if search.known_first else 0, search)
    return genomes


def queue_of(stored: Any) -> dict[int, list[Genome]]:
    """What is stored of queued genomes, by generation."""
    return {int(generation): list(genomes) for generation, genomes in (stored or {}).items()}


def queued_after(
    queue: Mapping[int, Sequence[Genome]], genomes: Sequence[Genome], first: int, taken: int, search: SearchSettings
) -> dict[int, list[Genome]]:
    """A queue with more genomes, in the first places that are free.

    Args:
        queue: Genomes by generation.
        genomes: More of them.
        first: The first generation that can still be changed.
        taken: How many of the first generation's places are taken by what else the search begins with.
        search: The settings of the search.

    Raises:
        InputError: if the search has too few generations left.
    """
    found, waiting, generation = {at: list(those) for at, those in queue.items()}, list(genomes), first
    while waiting:
        if generation >= search.generations:
            raise InputError(
                f"the search has {search.generations} generations of {search.population}, and no place left for "
                f"{len(waiting)} of the losses; give it more generations"
            )
        there = found.get(generation, [])
        room = search.population - len(there) - (taken if generation == 0 else 0)
        if room > 0:
            found[generation], waiting = [*there, *waiting[:room]], waiting[room:]
        generation += 1
    return found
