"""Pictures: the data that they show, exactly, and files that are whole and the same each time."""

import importlib
import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread
from numpy.testing import assert_allclose

from lossmith import report
from lossmith.analysis import Comparison, Pair, Row
from lossmith.errors import InputError
from lossmith.losses import Loss, PowerLoss, Term, baikal, cross_entropy, gce, mae, mnist, mse, taylor
from lossmith.metrics.statistics import welch
from lossmith.report import (
    History,
    Shape,
    attraction_curve,
    draw_explained,
    draw_search,
    latex_page,
    loss_shape,
    plot_comparison,
    plot_explanation,
    plot_figure3,
    plot_history,
    plot_losses,
    rule_curve,
    save_figure,
    search_history,
    summarize,
)
from lossmith.report.figures import shown
from lossmith.study import Study
from lossmith.theory import attraction, sign_changes


def candidate(generation: int, fitness: float | None) -> dict[str, Any]:
    return {"generation": generation, "fitness": fitness}


def finalist(name: str, mean: float | None) -> dict[str, Any]:
    return {"name": name, "mean": mean, "origin": {"kind": name.split()[0]}}


class TestPackage:
    def test_every_name_has_one_home(self) -> None:
        names = [name for home in report.HOMES.values() for name in home]
        assert sorted(names) == sorted(report.__all__)
        for home, inside in report.HOMES.items():
            module = f"lossmith.report.{home}"
            for name in inside:
                found = getattr(report, name)
                assert found is getattr(importlib.import_module(module), name)
                # A constant says nothing of where it is from.
                assert getattr(found, "__module__", module) == module
        with pytest.raises(AttributeError, match="no attribute 'plot_nothing'"):
            getattr(report, "plot_nothing")  # noqa: B009

    def test_text_does_not_load_what_draws(self) -> None:
        code = (
            "import sys; from lossmith.report import latex_page\n"
            "print({'matplotlib', 'lossmith.study'} & set(sys.modules))\n"
            "from lossmith.report import summarize; print({'matplotlib'} & set(sys.modules))\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "set()\nset()\n"


@pytest.fixture
def going(tmp_path: Path) -> Path:
    """A search of two generations of which one is stored."""
    with Study(tmp_path / "study", 3, population=3, generations=2) as study:
        for score in (0.5, 0.25, 0.75):
            candidate = study.ask()
            assert candidate is not None
            study.tell(candidate, score)
    return tmp_path / "study"


class TestStudies:
    """What is said and drawn of a study's directory."""

    def test_a_summary(self, going: Path) -> None:
        before = {path.name: path.read_bytes() for path in going.iterdir() if not path.name.startswith("study.db-")}
        found = summarize(going)
        assert (found["state"], found["best"], found["candidates"]) == ("in generation 2 of 2", 0.75, {"ok": 3})
        assert (found["finalists"], found["winner"], found["comparison"], found["dropped"]) == ([], None, None, 0)
        assert found["settings"]["search"]["population"] == 3
        assert {path.name: path.read_bytes() for path in going.iterdir() if path.name in before} == before

    def test_what_has_not_ended_is_not_drawn(self, going: Path, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="holds no study that has ended"):
            draw_search(going)
        with pytest.raises(InputError, match="holds no study"):
            draw_search(tmp_path)
        assert not (going / "figures").exists()

    def test_figures_of_an_explanation(self, tmp_path: Path) -> None:
        """Losses come number by number; without any, figure 3 has those of the paper."""
        pairs = [(loss, n) for n in (2, 10) for loss in (mse(), baikal())]
        page, figure3 = tmp_path / "a.png", tmp_path / "b.svg"
        assert draw_explained(pairs, 2, page, figure3) == [page, figure3]
        text = figure3.read_text()
        assert "(b) Baikal" in text
        assert "(c)" not in text
        draw_explained([], 0, None, figure3, (10,))
        assert "(d) Baikal" in figure3.read_text()
        with pytest.raises(InputError, match="must end in"):
            draw_explained(pairs, 2, tmp_path / "c.png", tmp_path / "d.gif")
        assert not (tmp_path / "c.png").exists()

    def test_latex(self) -> None:
        text = latex_page([mse(), cross_entropy()])
        assert [line for line in text.splitlines() if line.startswith("%")] == ["% MSE", "% cross-entropy"]
        assert text.endswith("\n")


class TestSearchHistory:
    def test_by_hand(self) -> None:
        """Generation 2 has no fitness at all, generation 3 one, and the rows come in any order."""
        rows = [
            candidate(3, 0.7),
            candidate(0, 0.1),
            candidate(0, 0.5),
            candidate(0, None),
            candidate(0, 0.2),
            candidate(0, 0.4),
            candidate(1, 0.6),
            candidate(1, 0.2),
            candidate(2, None),
            candidate(2, None),
            candidate(3, None),
        ]
        history = search_history(rows, [])
        nan = math.nan
        assert history.generations.tolist() == [1, 2, 3, 4]
        assert_allclose(history.best, [0.5, 0.6, nan, 0.7])
        assert_allclose(history.mean, [0.3, 0.4, nan, 0.7])
        assert_allclose(history.low, [0.175, 0.3, nan, 0.7])
        assert_allclose(history.high, [0.425, 0.5, nan, 0.7])
        assert history.lines == []

    def test_a_fitness_of_zero_counts(self) -> None:
        history = search_history([candidate(0, 0.0), candidate(0, 0.4)], [])
        assert (history.mean[0], history.best[0]) == (0.2, 0.4)

    def test_lines_of_the_finalists(self) -> None:
        finalists = [
            finalist("candidate 3.1", 0.7),
            finalist("mean of the search", 0.75),
            finalist("candidate 4.0", None),
            finalist("cross-entropy", 0.5),
            finalist("label smoothing 0.3", 0.6),
        ]
        expected = [("cross-entropy", 0.5), ("label smoothing 0.3", 0.6), ("best found, fresh seeds", 0.75)]
        assert search_history([candidate(0, 0.4)], finalists).lines == expected

    def test_lines_where_finalists_diverged(self) -> None:
        assert search_history([], [finalist("candidate 0.0", None), finalist("cross-entropy", None)]).lines == []

    def test_nothing_yet(self) -> None:
        history = search_history([], [])
        assert len(history.generations) == len(history.best) == 0


class TestLossShape:
    @pytest.mark.parametrize("classes", [2, 10])
    def test_cross_entropy(self, classes: int) -> None:
        """L = −log h less log n, and ∂L/∂f = h − 1."""
        shape = loss_shape(cross_entropy(), classes)
        assert shape.name == "cross-entropy"
        assert len(shape.output) == 400
        assert (shape.output[0], shape.output[-1]) == pytest.approx((0.002, 0.998))
        assert_allclose(shape.value, -np.log(shape.output) - math.log(classes), atol=1e-12)
        assert_allclose(shape.gradient, shape.output - 1, atol=1e-12)

    @pytest.mark.parametrize("classes", [2, 10])
    def test_mse(self, classes: int) -> None:
        """Σ (y − h)² = u² + u²/(n − 1) with u = 1 − h: gradient −2 u² h − 2 u² h/(n − 1) … by h' = h u."""
        shape = loss_shape(mse(), classes)
        u, factor = 1 - shape.output, 1 + 1 / (classes - 1)
        start = (1 - 1 / classes) ** 2
        assert_allclose(shape.value, factor * (u**2 - start), atol=1e-12)
        assert_allclose(shape.gradient, -2 * factor * u * shape.output * u, atol=1e-12)

    def test_mae_and_generalized_cross_entropy(self) -> None:
        shape = loss_shape(mae(), 4, points=50)
        assert_allclose(shape.value, 0.25 - shape.output, atol=1e-12)
        assert_allclose(shape.gradient, -shape.output * (1 - shape.output), atol=1e-12)
        shape = loss_shape(gce(0.5), 4, points=50)
        assert_allclose(shape.value, 2 * (0.5 - np.sqrt(shape.output)), atol=1e-12)
        assert_allclose(shape.gradient, -np.sqrt(shape.output) * (1 - shape.output), atol=1e-12)

    @pytest.mark.parametrize("loss", [cross_entropy().smoothed(0.3, 5), cross_entropy() + 4 * mae()])
    def test_gradient_is_the_slope_of_the_value(self, loss: Loss) -> None:
        """∂L/∂f_T = dL/dh_T · h_T (1 − h_T) where the other outputs are equal."""
        shape = loss_shape(loss, 5, points=4000)
        h, slope = shape.output, np.gradient(shape.value, shape.output)
        assert_allclose(shape.gradient[50:-50], (slope * h * (1 - h))[50:-50], atol=1e-4)


def history(*best: float, lines: Sequence[tuple[str, float]] = ()) -> History:
    values = np.array(best)
    return History(np.arange(1.0, len(best) + 1), values, values - 0.1, values - 0.2, values - 0.05, list(lines))


def row(name: str, test: Sequence[float], baseline: bool = True, known: bool = True) -> Row:
    runs = [
        {"seed": n, "validation": share, "test": share, "nll": 0.5 if known else None} for n, share in enumerate(test)
    ]
    return Row(name, baseline, "α = 0.5" if name == "smooth" else "", 0.1, 8, 5, 25, test[0], {}, runs)


def comparison(*rows: Row) -> Comparison:
    pairs = [Pair(one.name, rows[0].name, welch(one.column("test"), rows[0].column("test")), 1.0) for one in rows[1:]]
    return Comparison(list(rows), pairs, rows[0].name)


LINES = (("cross-entropy", 0.5), ("label smoothing 0.3", 0.501), ("best found, fresh seeds", 0.502))
FIGURES = {
    "history": lambda: plot_history(history(0.4, 0.5, 0.6, lines=LINES)),
    "gap": lambda: plot_history(history(0.4, math.nan, 0.6)),
    "no fitness": lambda: plot_history(history(math.nan, math.nan, lines=LINES[:1])),
    "one generation": lambda: plot_history(history(0.4)),
    "losses": lambda: plot_losses([loss_shape(loss, 10) for loss in (cross_entropy(), mse())]),
    "comparison": lambda: plot_comparison(
        comparison(row("plain", [0.8, 0.9]), row("smooth", [0.85, 0.95]), row("mine", [0.9, 0.91], baseline=False))
    ),
    "diverged": lambda: plot_comparison(
        comparison(row("plain", [0.8, 0.9]), row("mine", [0.0, 0.0], baseline=False, known=False))
    ),
    "equal": lambda: plot_comparison(comparison(row("plain", [0.8, 0.8]), row("mine", [0.8, 0.8], baseline=False))),
    "one row": lambda: plot_comparison(comparison(row("plain", [0.8, 0.9]))),
}


class TestFigures:
    @pytest.mark.parametrize("name", FIGURES)
    @pytest.mark.parametrize("kind", ["png", "svg"])
    def test_files_are_whole_and_the_same_each_time(self, tmp_path: Path, name: str, kind: str) -> None:
        paths = [tmp_path / f"{number}.{kind}" for number in range(2)]
        for path in paths:
            save_figure(FIGURES[name](), path)
        content = paths[0].read_bytes()
        assert content == paths[1].read_bytes()
        assert sorted(tmp_path.iterdir()) == paths
        if kind == "png":
            assert content.startswith(b"\x89PNG\r\n\x1a\n")
            assert content.endswith(b"IEND\xaeB`\x82")
            picture = imread(paths[0])
            assert picture.shape[0] > 200
            assert picture.std() > 0.01
        else:
            assert content.startswith(b"<?xml")
            assert content.rstrip().endswith(b"</svg>")

    def test_history_shows_the_data(self) -> None:
        data = history(0.4, 0.5, 0.6, lines=LINES)
        (axes,) = plot_history(data).axes
        drawn = {line.get_label(): line.get_ydata() for line in axes.lines}
        assert_allclose(np.asarray(drawn["best of the generation"]), data.best)
        assert_allclose(np.asarray(drawn["mean of the generation"]), data.mean)
        assert [text.get_text() for text in axes.texts] == [f"{name}: {value:.3f}" for name, value in LINES]

    def test_labels_of_close_lines_do_not_overlap(self) -> None:
        figure = plot_history(history(0.4, 0.5, 0.6, lines=LINES))
        boxes = sorted((text.get_window_extent() for text in figure.axes[0].texts), key=lambda box: box.y0)
        assert boxes[0].y1 <= boxes[1].y0
        assert boxes[1].y1 <= boxes[2].y0

    @pytest.mark.parametrize("count", [1, 2, 5, 40])
    def test_generations_are_whole_numbers(self, count: int) -> None:
        figure = plot_history(history(*np.linspace(0.4, 0.6, count).tolist()))
        figure.draw_without_rendering()
        assert all(float(progress).is_integer() for progress in figure.axes[0].get_xticks())

    def test_the_legend_hides_no_data(self) -> None:
        figure = plot_history(history(0.4, 0.5, 0.6, lines=LINES))
        figure.draw_without_rendering()
        legend = figure.axes[0].get_legend()
        assert legend is not None
        assert legend.get_window_extent().y1 < figure.axes[0].get_window_extent().y0

    def test_losses_show_the_data(self) -> None:
        shapes = [loss_shape(loss, 10) for loss in (cross_entropy(), mse())]
        left, right = plot_losses(shapes).axes
        for shape, value, gradient in zip(shapes, left.lines, right.lines, strict=False):
            assert value.get_label() == shape.name
            assert_allclose(np.asarray(value.get_ydata()), shape.value)
            assert_allclose(np.asarray(gradient.get_ydata()), shape.gradient)

    def test_a_loss_that_grows_without_bound_leaves_the_rest_to_be_seen(self) -> None:
        steep = Shape("steep", np.array([0.01, 0.5, 0.99]), np.array([1e6, 0.0, -1.0]), np.zeros(3))
        shapes = [loss_shape(cross_entropy(), 10), steep]
        figure = plot_losses(shapes)
        assert np.isfinite(figure.axes[0].get_ylim()).all()

    def test_comparison_has_every_network_and_every_mean_inside(self) -> None:
        data = comparison(
            row("plain", [0.1, 0.2, 0.15]), row("smooth", [0.85, 0.95, 0.9]), row("mine", [0.9, 0.91, 0.93], False)
        )
        (axes,) = plot_comparison(data).axes
        labels = [label.get_text() for label in axes.get_yticklabels()]
        assert labels == ["plain", "smooth (α = 0.5)", "mine"]
        dots = [np.asarray(cloud.get_offsets())[:, 0].tolist() for cloud in _clouds(axes)]
        assert dots == [
            pytest.approx([100 * share for share in data.row(name).column("test")])
            for name in ("plain", "smooth", "mine")
        ]
        low, high = axes.get_xlim()
        assert all(low < 100 * one.mean("test") < high for one in data.rows)

    def test_a_folder_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "figures").write_text("in the way")
        with pytest.raises(InputError, match="figures cannot be made"):
            save_figure(Figure(), tmp_path / "figures" / "a.png")
        with pytest.raises(InputError, match="cannot be made"):
            save_figure(Figure(), tmp_path / "no" / "such" / "a.png")

    def test_style_and_pyplot_are_left_alone(self) -> None:
        """In a process of its own: what the package draws must not show in the figures of its user."""
        code = (
            "import sys, matplotlib; before = dict(matplotlib.rcParams)\n"
            "from lossmith.report import loss_shape, plot_losses, save_figure\n"
            "from lossmith import cross_entropy, mse; import pathlib, tempfile\n"
            "with tempfile.TemporaryDirectory() as folder:\n"
            "    figure = plot_losses([loss_shape(loss, 3) for loss in (cross_entropy(), mse())])\n"
            "    save_figure(figure, pathlib.Path(folder) / 'a.png')\n"
            "assert 'matplotlib.pyplot' not in sys.modules\n"
            "assert dict(matplotlib.rcParams) == before\n"
        )
        result = subprocess.run(
            [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
        )
        assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def _clouds(axes: Axes) -> list[Any]:
    return [cloud for cloud in axes.collections if len(np.asarray(cloud.get_offsets())) > 1]


class TestTheory:
    """The pictures of the theory."""

    def curves(self, losses: list[Loss], classes: int = 10) -> tuple[Any, Any, Any]:
        return (
            [attraction_curve(loss, classes) for loss in losses],
            [rule_curve(loss, classes) for loss in losses],
            [loss_shape(loss, classes) for loss in losses],
        )

    def test_what_is_drawn(self) -> None:
        (curve,), (rule,), (shape,) = self.curves([baikal()])
        assert curve.roots == sign_changes(baikal(), 10)
        assert np.allclose(curve.exact, attraction(baikal(), torch.from_numpy(curve.epsilon), 10))
        assert np.allclose(rule.difference, 1 / rule.output + 1 / rule.output**2 - 9 / (1 - rule.output))
        logits = torch.zeros(1, 10, dtype=torch.float64)
        output = torch.tensor(shape.output[7])
        logits[0, 0] = torch.log(output * 9 / (1 - output))
        target = torch.tensor([0])
        assert shape.gradient[7] == pytest.approx(baikal().logit_gradient(logits, target)[0, 0].item())
        start = baikal().value(0 * logits, target)
        assert shape.value[7] == pytest.approx((baikal().value(logits, target) - start).item())

    def test_more_losses_than_colors_can_be_told_apart(self) -> None:
        losses: list[Loss] = [taylor([0, 0, 1, -1, number, 2, 0, 0]) for number in range(10)]
        top = plot_explanation(*self.curves(losses)).axes[0]
        looks = {(line.get_color(), line.get_linestyle()) for line in top.lines if line.get_linewidth() == 2}
        assert len(looks) == 10

    def test_curves_are_whole_and_poles_are_cut(self) -> None:
        _, _, loss, gradient = plot_explanation(*self.curves([mnist()])).axes[:4]
        for axes in (loss, gradient):
            low, high = axes.get_ylim()
            values = np.asarray(axes.lines[0].get_ydata(), dtype=float)
            assert low < values.min() < values.max() < high
        rule = plot_explanation(*self.curves([baikal()])).axes[1]
        assert rule.get_ylim()[1] < 0.5 * np.asarray(rule.lines[0].get_ydata(), dtype=float).max()

    def test_numbers_that_cannot_be_drawn(self) -> None:
        beyond: Loss = PowerLoss((Term(1e308, 1, 1),), torch.ones(1, dtype=torch.float64))
        for losses in ([beyond], [mnist(), beyond]):
            with pytest.raises(InputError, match="their numbers are too large; divide them"):
                plot_explanation(*self.curves(losses))

    def test_figure_3(self) -> None:
        panels = [[attraction_curve(loss, n) for n in (2, 10)] for loss in (mse(), baikal(), cross_entropy())]
        axes = plot_figure3(panels).axes
        titles = [each.get_title(loc="left") for each in axes]
        assert titles == ["(a) MSE", "(b) Baikal", "(c) cross-entropy", ""]
        assert [each.get_visible() for each in axes] == [True, True, True, False]
        published = np.asarray(axes[0].lines[2].get_ydata(), dtype=float)
        assert np.array_equal(published, panels[0][1].published)

    def test_numbers_too_large(self) -> None:
        with pytest.raises(InputError, match="cannot be drawn"):
            plot_explanation(*self.curves([1e200 * mse()]))

    def test_names(self) -> None:
        assert shown("a\nb  c") == "a b c"
        assert shown("x" * 40) == "x" * 29 + "…"
        assert shown("$x^{$") == r"\$x^{\$"
