"""The fair comparison: every loss tuned with the same care on validation data, then judged once on test data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from lossmith.analysis.baselines import Family
from lossmith.analysis.curves import CurveTuning
from lossmith.analysis.judging import concluded, judge
from lossmith.analysis.records import Chunks, Comparison, Plan, Report, Samples
from lossmith.errors import InputError
from lossmith.training import Executor, Local, Task


def compare(
    task: Task,
    validation: Samples,
    test: Callable[[], Samples],
    families: Sequence[Family],
    plan: Plan,
    *,
    executor: Executor | None = None,
    recall: Callable[[str], Any] = lambda _: None,
    keep: Callable[[str, Any, float], None] = lambda *_: None,
    report: Report = lambda *_: None,
) -> Comparison:
    """Tune every loss on validation data, train it with fresh seeds, and compare on test data.

    Each family's strengths and learning rate are searched on their whole grid, and as long as a neighbour of its best
    setting is untried, that is tried, too. Where a given loss has got more settings than a baseline by then, the
    baseline gets as many. The number of epochs is the best of a setting's validation curve. The best settings of each
    family are then trained again with fresh seeds, and the best mean decides, since the maximum of many noisy values is
    partly luck. The deciding figure of the plan says what is best.

    Args:
        task: What is trained on what.
        validation: Inputs and class indices for tuning and for the temperature.
        test: Gives the test inputs and class indices; called once, after all tuning.
        families: Losses; the first must be cross-entropy, the others are compared with it.
        plan: How.
        executor: Runs the trainings; this process without it.
        recall: Gives a stored result for a key, or None.
        keep: Stores a result, so that a comparison that was stopped goes on.
        report: Called with the phase and the share of it that is done.

    Raises:
        InputError: if two losses have one name.
    """
    names = [family.name for family in families]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"two losses of the comparison are called {twice!r}; give each a name of its own")
    chunks, executor = Chunks(recall, keep), executor or Local()
    tuned = CurveTuning(task, validation, families, plan, executor, chunks, report).tune()
    return concluded(judge(task, validation, test, tuned, plan, executor, chunks, report), plan.deciding)
