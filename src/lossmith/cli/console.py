"""The console: where results are printed, and progress."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.segment import Segment
from rich.text import Text

from lossmith.cli.notebook import NotebookProgress
from lossmith.cli.streams import SPELLED, OneLine
from lossmith.errors import printable

if TYPE_CHECKING:
    from lossmith.study import Progress as Standing

PHASES = {
    "sweep": "finding the learning rate of the search",
    "known": "tuning known losses",
    "search": "search",
    "rates": "tuning the learning rates of what was found",
    "smoothing": "tuning label smoothing",
    "final": "training the finalists again",
    "done": "done",
}
# One clock for all stages.
WHOLE = "evolve"
NO_PROGRESS = (
    "The value of an evolved loss does not show progress, and may rise while networks learn: watch a metric, or "
    "cross-entropy by criterion.monitor(logits, targets)."
)
WIDTH = 132
LOG = logging.getLogger("lossmith")


class Plain(Console):
    """A console on which texts stand as they are; one of other people (a name in a file) cannot control it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, **settings)

    def render_str(self, text: str, **settings: Any) -> Text:
        """A text as it is laid out: spelled, where the encoding lacks characters, before its width counts."""
        harmless = printable(text, "\n\t")
        return super().render_str(harmless.encode(self.encoding, SPELLED).decode(self.encoding), **settings)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of what is printed."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, "\n\t"), segment.style)


def output() -> Console:
    """The console for results."""
    console = Plain()
    return console if console.is_terminal else Plain(width=WIDTH)


class _Lines(Progress):
    """A bar with the text of its task in a line of its own, so that both fit on a terminal of 80 columns."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bar and the text."""
        yield self.make_tasks_table(self.tasks)
        yield from (Text(task.fields["text"]) for task in self.tasks if task.visible and task.fields["text"])


class _Log(logging.Handler):
    """What the package logs, as lines of a console."""

    def __init__(self, console: Console) -> None:
        super().__init__()
        self.console = console
        self.setFormatter(OneLine())

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        self.console.print(self.format(record), soft_wrap=True)


class Bar:
    """Progress on standard error: a bar on a terminal and in a notebook, now and then a line elsewhere.

    If quiet, there is nothing. Meanwhile what the package logs is printed there, too.
    """

    def __init__(self, quiet: bool) -> None:
        self.console = Plain(stderr=True, quiet=quiet)
        self.live = self.console.is_terminal and not quiet
        self._progress = _Lines(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.live,
            transient=True,
        )
        self._log, self._level = _Log(self.console), LOG.level
        self._before: list[logging.Handler] = []
        self._tasks: dict[str, TaskID] = {}
        self._said = ""
        self._cell = NotebookProgress() if self.console.is_jupyter and not quiet else None

    def __enter__(self) -> Self:
        """Begin to draw."""
        # What is told without a bar would be written into it.
        self._level, self._before, LOG.handlers = LOG.level, LOG.handlers, [self._log]
        LOG.setLevel(logging.INFO)
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self._progress.stop()
        LOG.setLevel(self._level)
        LOG.handlers = self._before

    def quarter(self, phase: str, share: float, line: str | None = None) -> None:
        """Show a phase; where there is no terminal, with a line for each quarter, which may call it otherwise."""
        self.show(phase, share, line=f"{line or phase}, {int(4 * share) * 25} %")

    def show(self, phase: str, done: float, text: str = "", line: str = "") -> None:
        """Show a phase and its share that is done; ``line`` is printed where there is no terminal, if it is new."""
        if phase not in self._tasks:
            for task in self._tasks.values():
                self._progress.update(task, visible=False)
            self._tasks[phase] = self._progress.add_task(phase, total=1.0, text="")
        self._progress.update(self._tasks[phase], completed=done, text=text)
        if not self.live and line != self._said:
            self._said = line
            if self._cell is None:
                self.console.print(line)
            else:
                self._cell.show(line, done)


class SearchProgress(Bar):
    """Progress of a search: generation, best, mean, untrainable, diverged, time left."""

    def report(self, standing: Standing) -> None:
        """Show where the study stands."""
        phase = PHASES[standing.phase]
        if standing.phase != "search":
            self.show(WHOLE, standing.share, text=phase, line=phase)
            return
        sign = standing.by.sign
        best, mean = ("–" if value is None else f"{sign * value:.4f}" for value in (standing.best, standing.mean))
        text = (
            f"generation {standing.generation}/{standing.generations}  best {best}  mean {mean}  "
            f"untrainable {standing.untrainable}  diverged {standing.diverged}"
        )
        self.show(WHOLE, standing.share, text, line=text)


class CompareProgress(Bar):
    """Progress of a comparison: one clock for the whole."""

    def report(self, phase: str, done: float) -> None:
        """Show the share of the whole, and the phase."""
        self.show("comparison", done, text=phase, line=f"{phase} …")


class DistillProgress(Bar):
    """Progress of a distillation, whose rounds nobody knows before: a clock for each phase."""

    def report(self, phase: str, done: float) -> None:
        """Show a phase."""
        self.show(phase, done, line=f"{phase} …")
