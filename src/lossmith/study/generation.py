"""The generation in work: what is asked of it, what is known of it, and its stored genomes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lossmith.errors import InputError, brief
from lossmith.losses import Loss
from lossmith.search import Genome, Space
from lossmith.study.records import Candidate, Result


def checked(genomes: Sequence[Genome], space: Space, engine: str, called: str) -> list[Genome]:
    """Genomes that a search engine asks for, as a study stores them.

    Args:
        genomes: Of one generation.
        space: Where it searches.
        engine: Its name, for messages.
        called: The name of the space.

    Raises:
        InputError: if one is no value of JSON that comes back as it was, or the space does not hold it: then a study
            could not go on with what it stored.
    """
    for genome in genomes:
        try:
            same = json.loads(json.dumps(genome, allow_nan=False)) == genome
        except (TypeError, ValueError):
            same = False
        if not same or not space.holds(genome):
            why = "the space does not hold it" if same else "JSON does not give it back as it was"
            raise InputError(
                f"the search engine {engine!r} asks for the genome {brief(genome)} in the space {called!r}, but {why}; "
                "let it draw lists, numbers, texts and objects that the space's holds is true of"
            )
    return list(genomes)


def restored(
    genomes: Sequence[Genome], rows: Mapping[int, Mapping[str, Any]], generation: int, space: Space, path: Path
) -> tuple[list[Genome], bool]:
    """The genomes of a generation with the stored ones in their places, and whether they agree but for rounding.

    Args:
        genomes: As the search engine asks for them.
        rows: Stored candidates of the generation, by their members.
        generation: Which.
        space: Whose genomes they are.
        path: The database, for messages.

    Raises:
        InputError: if a row cannot be of this search.
    """
    found, agree = list(genomes), True
    for member, row in rows.items():
        if not 0 <= member < len(genomes) or not space.holds(row["genome"]):
            raise InputError(
                f"{path} is damaged (candidate {member} of generation {generation} is none of this search); restore a "
                "copy or start in another directory"
            )
        found[member] = row["genome"]
        agree = agree and space.agree(row["genome"], genomes[member])
    return found, agree


def losses_of(space: Space, genomes: Sequence[Genome], classes: int, called: str) -> Loss:
    """The losses ``[P]`` that P genomes stand for.

    Args:
        space: Whose genomes they are.
        genomes: One or more.
        classes: n.
        called: The name of the space, for messages.

    Raises:
        InputError: if the space builds none, or another number of them.
    """
    losses = space.build(genomes, classes)
    if losses.shape != (len(genomes),):
        raise InputError(
            f"the search space {called!r} builds a loss of population {list(losses.shape)} of "
            f"{len(genomes)} genomes; let it build one loss for each (lossmith.Loss.stack)"
        )
    return losses


class Generation:
    """The candidates of a generation, whose fitness is known of them, and who is out to be trained.

    Args:
        candidates: All of them, in order.
        known: Fitness by member, None where there is none.
        errors: Of the members whose training failed, by member.
    """

    def __init__(
        self,
        candidates: Sequence[Candidate],
        known: Mapping[int, float | None],
        errors: Mapping[int, str] | None = None,
    ) -> None:
        self.candidates = tuple(candidates)
        self._by_member = {candidate.member: candidate for candidate in self.candidates}
        self._known = dict(known)
        self._errors = dict(errors or {})
        self._out: set[int] = set()

    @property
    def complete(self) -> bool:
        """Whether all are known."""
        return len(self._known) == len(self.candidates)

    @property
    def genomes(self) -> list[Genome]:
        """Of each member."""
        return [candidate.genome for candidate in self.candidates]

    @property
    def fitness(self) -> list[float | None]:
        """Of each member, when all are known."""
        return [self._known[candidate.member] for candidate in self.candidates]

    @property
    def errors(self) -> list[str]:
        """Of the members whose training failed."""
        return list(self._errors.values())

    def pending(self) -> list[Candidate]:
        """Those that wait for a fitness."""
        return [candidate for candidate in self.candidates if candidate.member not in self._known]

    def give(self) -> Candidate | None:
        """The next that waits and is not out, which is out then; None if there is none."""
        for candidate in self.pending():
            if candidate.member not in self._out:
                self._out.add(candidate.member)
                return candidate
        return None

    @property
    def has_more(self) -> bool:
        """Whether one waits that is not out."""
        return any(candidate.member not in self._out for candidate in self.pending())

    @property
    def is_out(self) -> bool:
        """Whether one of them is out to be trained."""
        return bool(self._out)

    def give_back(self, candidates: Iterable[Candidate]) -> None:
        """Let some that are out be given again."""
        for candidate in candidates:
            if any(candidate is one for one in self.candidates):
                self._out.discard(candidate.member)

    def check(self, results: Sequence[Result]) -> None:
        """See that results are of candidates that wait, each once.

        Raises:
            InputError: if one is not.
        """
        told = set[int]()
        for candidate in (result.candidate for result in results):
            mine = self._by_member.get(candidate.member)
            known = candidate.member in self._known or candidate.member in told
            told.add(candidate.member)
            if mine is None or known or (mine.generation, mine.genome) != (candidate.generation, candidate.genome):
                raise InputError(
                    f"candidate {candidate.member} of generation {candidate.generation} is not waiting for a fitness; "
                    "tell those of this study that ask gave, each once"
                )

    def take(self, results: Sequence[Result]) -> None:
        """Know some results."""
        for result in results:
            self._known[result.candidate.member] = result.fitness
            if result.error is not None:
                self._errors[result.candidate.member] = result.error
            self._out.discard(result.candidate.member)
