"""The search over formulas: how trees are varied, what its filters reject, and that a killed one ends alike."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import lossmith
from lossmith import InputError, Loss, baikal, cross_entropy, focal, gce, mae, mse
from lossmith.api.words import settings_of
from lossmith.cli import main
from lossmith.cli.evolve import Evolve
from lossmith.cli.flags import read
from lossmith.losses import CATALOG, Expression, expression, find
from lossmith.losses.expressions import depth, json_of, parse, simplified, size, text_of, trees_of, uses
from lossmith.report import draw_search, summarize
from lossmith.report.figures import plot_formulas
from lossmith.report.formulas import formulas_of
from lossmith.search import SearchSettings, build_engine, build_space
from lossmith.search.engines.genetic import Genetic
from lossmith.search.engines.variation import (
    MUTATIONS,
    crossed,
    grown,
    mutated,
    numbers,
    places,
    replaced,
    weighted,
    with_numbers,
)
from lossmith.search.filters import Archive, rehearsed, signature
from lossmith.search.spaces.expression import smoothed_cross_entropy
from lossmith.study import EvolveSettings, Store, Study, evolve, file_settings

CLASSES = 10
SMALL: dict[str, Any] = {
    "data": {"train_size": 60, "validation_size": 60},
    "model": {"hidden": [4]},
    "recipe": {"epochs": 1},
    "search": {"engine": "genetic", "population": 4, "generations": 4},
    "run": {"finalists": 1, "finalist_seeds": 2, "tune": False, "training": "mlp"},
}
seeds = st.integers(0, 10**6)


class TestVariation:
    @given(seeds, st.integers(0, 6))
    @settings(max_examples=200, deadline=None)
    def test_growth_keeps_to_its_depth(self, seed: int, most: int) -> None:
        assert depth(grown(random.Random(seed), most)) <= most
        assert depth(grown(random.Random(seed), most, full=True)) == most

    @given(seeds)
    @settings(max_examples=300, deadline=None)
    def test_a_crossover_splices(self, seed: int) -> None:
        source = random.Random(seed)
        one, other = grown(source, 4, full=True), grown(source, 4, full=True)
        child = crossed(source, one, other, 5)
        assert depth(child) <= 5
        # All of it is of the first, but for one part, which is of the other.
        theirs = list(places(other).values())
        assert any(replaced(one, at, part) == child for at in places(one) for part in theirs if at in places(child))

    def test_a_crossover_is_no_copy(self) -> None:
        source, changed = random.Random(0), 0
        for _ in range(200):
            one, other = grown(source, 3, full=True), grown(source, 3, full=True)
            changed += crossed(source, one, other, 6) not in (one, other)
        assert changed > 150

    @given(seeds, st.sampled_from(MUTATIONS))
    @settings(max_examples=300, deadline=None)
    def test_every_mutation_gives_a_tree(self, seed: int, mutation: Any) -> None:
        source = random.Random(seed)
        tree = grown(source, 4)
        found = mutation(source, tree, 5)
        assert parse(text_of(("+", "h", found))) == ("+", "h", found)
        assert depth(mutated(source, tree, 4)) <= 4

    def test_each_mutation_changes_what_it_says(self) -> None:
        tree = parse("2*log(h) - y/h")
        sizes = {mutation.__name__: set[int]() for mutation in MUTATIONS}
        for mutation in MUTATIONS:
            for seed in range(60):
                sizes[mutation.__name__].add(size(mutation(random.Random(seed), tree, 6)) - size(tree))
        assert sizes["_moved"] == {0}
        assert sizes["_exchanged"] == {0}
        assert max(sizes["_cut"]) == 0 > min(sizes["_cut"])
        assert max(sizes["_hoisted"]) == 0 > min(sizes["_hoisted"])
        assert min(sizes["_enlarged"]) >= 2
        assert sizes["_factored"] == {2}

    def test_the_same_source_gives_the_same(self) -> None:
        tree = parse("2*log(h) - y/h")
        for mutation in MUTATIONS:
            assert mutation(random.Random(3), tree, 6) == mutation(random.Random(3), tree, 6)

    def test_numbers(self) -> None:
        tree = parse("2*log(h) - y/(h + 0.5)")
        assert numbers(tree) == [2.0, 0.5]
        assert with_numbers(tree, [3.0, 1.0]) == parse("3*log(h) - y/(h + 1)")
        assert numbers(weighted(parse("log(h) - y/h + 3"))) == [1.0, 1.0, 3.0]
        assert simplified(weighted(parse("log(h) - y/h"))) == parse("log(h) - y/h")


class TestFilters:
    @pytest.mark.parametrize("name", list(CATALOG))
    def test_known_losses_pass_the_rehearsal(self, name: str) -> None:
        assert rehearsed(find(name, CLASSES), CLASSES)

    @pytest.mark.parametrize("text", ["-y*log(h)", "y/h", "h", "(1 - y)*log(h)", "y*h*h - 5*y*h", "0*y + tanh(h)"])
    def test_what_pushes_the_target_down_does_not(self, text: str) -> None:
        assert not rehearsed(Expression((parse(text),)), CLASSES)

    def test_losses_that_train_alike_have_one_signature(self) -> None:
        alike: list[tuple[Loss, Loss]] = [
            (cross_entropy(), expression("y*log(h) + 3*h - 7")),
            (cross_entropy(), expression("y*log(h) + y*y")),
            (baikal(), Expression((parse("log(h) - y/h"),))),
            (mse(), Expression((parse("2*y*h - h*h"),))),
            (focal(2), Expression((parse("(1 - h)^2*y*log(h)"),))),
        ]
        archive = Archive()
        for number, (one, other) in enumerate(alike):
            first, second = signature(one, CLASSES), signature(other, CLASSES)
            assert first is not None
            assert second is not None
            assert archive.holds(first) is (number == 1)
            archive.add(first)
            assert archive.holds(second)
        assert len(archive) == len(alike)

    def test_another_scale_or_sign_is_another_loss(self) -> None:
        archive = Archive()
        found = signature(mae(), CLASSES)
        assert found is not None
        archive.add(found)
        for other in (2 * mae(), -1.0 * mae(), 1.001 * mae(), gce(0.99)):
            changed = signature(other, CLASSES)
            assert changed is not None
            assert not archive.holds(changed)

    def test_without_a_gradient_there_is_none(self) -> None:
        assert signature(expression("h + y"), CLASSES) is None
        assert not rehearsed(expression("h + y"), CLASSES)


class TestEngine:
    def started(self, **changes: Any) -> Genetic:
        wanted = SearchSettings(engine="genetic", population=8, generations=6, **changes)
        found = build_engine(build_space(wanted), wanted)
        assert isinstance(found, Genetic)
        return found

    def test_formulas_are_its_usual_space(self) -> None:
        assert SearchSettings(engine="genetic").space == "expression"
        assert SearchSettings(engine="genetic", space="expression-residual").space == "expression-residual"
        assert SearchSettings(engine="cma").space == SearchSettings().space == "residual"
        for space in ("expression", "expression-residual"):
            assert SearchSettings(space=space).engine == "genetic"
        assert SearchSettings(space="taylor").engine == "cma"
        with pytest.raises(InputError, match="genetic searches formulas, which 'taylor' is not; give the space expres"):
            self.started(space="taylor")

    @pytest.mark.parametrize("space", ["expression", "expression-residual"])
    def test_what_it_asks_for_can_train_and_is_new(self, space: str) -> None:
        search = self.started(space=space, coefficients=0.0)
        place, known = build_space(search.settings), Archive()
        for generation in range(4):
            asked, redrawn = search.ask(lambda _: True)
            assert redrawn == [0] * 8
            assert set(search.rejected) <= {"untrainable", "equivalent", "rehearsal"}
            assert any(search.rejected.values())
            for loss in (place.build(asked, CLASSES)[number] for number in range(8)):
                found = signature(loss, CLASSES)
                assert found is not None
                assert not known.holds(found)
                assert rehearsed(loss, CLASSES)
                known.add(found)
            search.tell(asked, [float(generation + number) for number in range(8)])

    def test_the_last_generations_change_numbers_alone(self) -> None:
        search = self.started(coefficients=0.5)
        shapes: list[set[str]] = []
        for generation in range(11):
            asked, _ = search.ask(lambda _: True)
            shapes.append({text_of(_shape(genome)) for genome in asked})
            search.tell(asked, [float(generation * 8 + number) for number in range(8)])
        assert all(len(shape) > 1 for shape in shapes[:5])
        assert all(len(shape) == 1 for shape in shapes[5:10])
        assert all(shape == shapes[5] for shape in shapes[5:10])
        assert len(shapes[10]) > 1

    @pytest.mark.parametrize("population", [2, 3])
    def test_small_populations_are_tuned_without_a_word(self, population: int) -> None:
        wanted = SearchSettings(engine="genetic", population=population, generations=10, coefficients=0.8)
        search = build_engine(build_space(wanted), wanted)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            for generation in range(10):
                asked, _ = search.ask(lambda _: True)
                search.tell(asked, [float(generation + number) for number in range(population)])

    @pytest.mark.parametrize("invariant", ["none", "published"])
    def test_the_invariant_is_that_of_the_settings(self, invariant: Any) -> None:
        search = self.started(invariant=invariant)
        search.ask(lambda _: True)
        strict = self.started()
        strict.ask(lambda _: True)
        assert search.rejected != strict.rejected

    def test_a_space_that_is_worn_out_is_told(self, caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
        """Depth 1 has a few dozen formulas."""
        search = SearchSettings(engine="genetic", depth=1, population=8, generations=8, coefficients=0.0)
        with caplog.at_level("WARNING", "lossmith"), Study(tmp_path, CLASSES, search) as study:
            while (candidate := study.ask()) is not None:
                study.tell(candidate, random.Random(json.dumps(candidate.genome)).random())
        said = [record.message for record in caplog.records if "the search stagnates" in record.message]
        assert len(said) == 1
        assert "200 formulas in a row were known or would not train" in said[0]
        assert "give more depth" in said[0]
        assert self.started().stalled is None

    def test_selection_makes_it_better(self) -> None:
        """A fitness that the formula alone decides: how near its gradient is to that of a loss of three terms."""
        wanted = signature(expression("(0.3*y + 0.07)*log(h) + 2*h^2"), CLASSES)
        assert wanted is not None
        search, means = self.started(seed=3, coefficients=0.0), list[float]()
        for _ in range(10):
            asked, _ = search.ask(lambda _: True)
            found = [signature(search.space.build([one], CLASSES)[0], CLASSES) for one in asked]
            near = [-1.0 if one is None else float(one[:-1] @ wanted[:-1]) for one in found]
            means.append(sum(near) / len(near))
            search.tell(asked, near)
        assert sum(means[-3:]) > sum(means[:3]) + 0.3


def _shape(genome: Any) -> Any:
    """A tree whose numbers are all 1."""
    if isinstance(genome, list):
        return (genome[0], *map(_shape, genome[1:]))
    return genome if isinstance(genome, str) else 1.0


class TestSpace:
    @pytest.mark.parametrize("name", [name for name in CATALOG if find(name, CLASSES).kind == "power"])
    def test_known_losses_have_a_tree(self, name: str) -> None:
        loss = find(name, CLASSES)
        trees = trees_of(loss)
        assert trees is not None
        (tree,) = trees
        x = torch.log_softmax(2 * torch.randn(5, CLASSES, generator=torch.Generator().manual_seed(0)).double(), -1)
        y = torch.nn.functional.one_hot(torch.arange(5), CLASSES).double() * 0.9 + 0.01
        wanted = loss.slope(x, y).expand_as(x)
        found = Expression((tree,)).slope(x, y).expand_as(x)
        assert torch.allclose(found, wanted, rtol=1e-9, atol=1e-9 * (1 + wanted.abs().max().item()))

    def test_residual_formulas_are_added_to_smoothed_cross_entropy(self) -> None:
        space = build_space(SearchSettings(engine="genetic", space="expression-residual"))
        losses = space.build([json_of(parse("2*h^2")), "h"], CLASSES)
        smoothed = find("label-smoothing:0.1", CLASSES)
        x = torch.randn(4, CLASSES, generator=torch.Generator().manual_seed(1)).double()
        labels = torch.arange(4)
        assert torch.allclose(
            losses[1].logit_gradient(x, labels), smoothed.logit_gradient(x, labels), rtol=1e-12, atol=1e-12
        )
        assert uses(smoothed_cross_entropy(CLASSES), "y")
        assert not torch.allclose(losses[0].logit_gradient(x, labels), smoothed.logit_gradient(x, labels))

    def test_a_tree_that_is_too_deep(self) -> None:
        space = build_space(SearchSettings(engine="genetic", depth=2))
        assert space.holds(json_of(parse("y*log(h)")))
        assert not space.holds(json_of(parse("y*log(h + 1)")))
        assert not space.holds(json_of(parse("0*h")))
        assert not space.holds("y")


class TestNames:
    """The engine or the space alone, in every place where they are named."""

    @pytest.mark.parametrize(
        ("named", "engine", "space"),
        [
            ({"engine": "genetic"}, "genetic", "expression"),
            ({"space": "expression-residual"}, "genetic", "expression-residual"),
            ({"space": "taylor"}, "cma", "taylor"),
            ({}, "cma", "residual"),
        ],
    )
    def test_the_other_one_follows(self, tmp_path: Path, named: dict[str, str], engine: str, space: str) -> None:
        flags = [word for name, value in named.items() for word in (f"--{name}", value)]
        given = read(Evolve, ["--data", "digits", *flags], "evolve", lambda _: (EvolveSettings(), None))
        lines = [f'{name} = "{value}"' for name, value in named.items()]
        (tmp_path / "s.toml").write_text("\n".join(["[search]", *lines]))
        for found in (given.settings, settings_of(named, None), file_settings(tmp_path / "s.toml")):
            assert (found.search.engine, found.search.space) == (engine, space)

    def test_a_pair_that_does_not_fit_is_refused(self, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
        words = ["evolve", "--data", "digits", "--engine", "cma", "--space", "expression", "--out", str(tmp_path / "x")]
        with pytest.raises(SystemExit):
            main(words)
        assert "the search engine cma searches spaces of vectors" in capsys.readouterr().err
        assert not (tmp_path / "x").exists()


class TestStudy:
    def test_a_search_from_the_command_to_the_file(self, tmp_path: Path) -> None:
        outcome = evolve(tmp_path, EvolveSettings.model_validate(SMALL))
        assert outcome.provenance["candidates"]["candidates"] == 16
        summary = summarize(tmp_path)
        with Store(tmp_path, readonly=True) as store:
            kept = [row["chunk"] for row in store.rows("SELECT chunk FROM run WHERE comparison = 'filters'")]
        assert sum(summary["rejected"].values()) > 0
        assert set(kept) <= {"0", "1", "2", "3"}
        assert "0" in kept
        paths = {path.name for path in draw_search(tmp_path)}
        assert paths == {"history.png", "loss.png", "formulas.png"}
        told, drawn = summary["formulas"], 16 + sum(summary["rejected"].values())
        assert told["drawn"] == drawn
        assert told["archive_hit_rate"] == summary["rejected"].get("equivalent", 0) / drawn

    def test_what_it_went_through(self) -> None:
        def row(generation: int, member: int, text: str, fitness: float | None) -> dict[str, Any]:
            return {"generation": generation, "member": member, "genome": json_of(parse(text)), "fitness": fitness}

        rows = [
            row(1, 0, "y*log(h) + 0.123456*h", 0.4),
            row(0, 0, "h", 0.2),
            row(0, 1, "h*h", None),
            row(0, 2, "y*h", 0.3),
            row(1, 1, "2*y*h", 0.1),
        ]
        settings = {"search": {"space": "expression"}}
        rejected = {0: {"equivalent": 1, "untrainable": 2}, 1: {"equivalent": 2}}
        found = formulas_of(settings, rows, rejected)
        assert found is not None
        # Of h, of h² and of y h.
        assert found.sizes.tolist() == [2, (8 + 5) / 2]
        assert found.best_sizes.tolist() == [3, 8]
        assert found.records == [(1, 0.3, "h*y"), (2, 0.4, "y*log(h) + 0.1235*h")]
        assert found.hit_rate.tolist() == [1 / 6, 2 / 4]
        assert {why: counts.tolist() for why, counts in found.drawn.items()} == {
            "trained": [3, 2],
            "equivalent": [1, 2],
            "untrainable": [2, 0],
        }
        assert found.to_json() == {
            "best": "y*log(h) + 0.1235*h",
            "best_size": 8,
            "mean_size": 6.5,
            "drawn": 10,
            "archive_hit_rate": 0.3,
        }
        assert formulas_of({"search": {"space": "residual"}}, rows, {}) is None
        assert formulas_of(settings, [], {}) is None
        nothing = formulas_of(settings, [row(0, 0, "h", None)], {})
        assert nothing is not None
        assert nothing.to_json()["best"] is None
        plot_formulas(nothing)
        plot_formulas(found)

    def test_killed_it_ends_alike(self, tmp_path: Path) -> None:
        search = SearchSettings(engine="genetic", population=6, generations=7, coefficients=0.5)

        def worth(genome: Any) -> float:
            return random.Random(json.dumps(genome)).random()

        def go(directory: Path, stop: int | None = None, first: int = 7) -> tuple[list[dict[str, Any]], dict[str, int]]:
            begun = search.model_copy(update={"generations": first})
            with Study(directory, CLASSES, begun) as study:
                while (candidate := study.ask()) is not None:
                    if stop is not None and candidate.generation * 6 + candidate.member >= stop:
                        break
                    study.tell(candidate, worth(candidate.genome))
                return study.candidates(), study.rejected()

        whole = go(tmp_path / "whole")
        for stop in (0, 3, 17, 33, 40):
            go(tmp_path / str(stop), stop)
            assert go(tmp_path / str(stop)) == whole
        # One that is given more generations is what it would have been with all of them.
        go(tmp_path / "longer", first=6)
        assert go(tmp_path / "longer") == whole

    def test_a_loss_that_is_queued_while_numbers_are_tuned(self, tmp_path: Path) -> None:
        search = SearchSettings(engine="genetic", population=6, generations=8, coefficients=0.5)

        def go(study: Study, until: int) -> None:
            while study.generation < until and (candidate := study.ask()) is not None:
                study.tell(candidate, random.Random(json.dumps(candidate.genome)).random())

        with Study(tmp_path, CLASSES, search) as study:
            go(study, 5)
            study.enqueue("cross-entropy")
            go(study, 8)
        with Study(tmp_path, CLASSES, search) as study:
            assert study.finished
            assert len(study.candidates()) == 48

    def test_in_one_call(self, tmp_path: Path) -> None:
        generator = torch.Generator().manual_seed(0)
        data = (torch.randn(60, 4, generator=generator), torch.arange(60) % 3)
        small: dict[str, Any] = {"population": 3, "generations": 1, "finalists": 1, "finalist_seeds": 2, "epochs": 1}
        result = lossmith.evolve("mlp", data, engine="genetic", tune=False, out=tmp_path / "a", quiet=True, **small)
        assert result.provenance["candidates"]["candidates"] == 3
