"""Tables and pictures of what was computed before."""

from lossmith.report.attacks import plot_attacks, plot_pareto
from lossmith.report.curves import (
    Attraction,
    History,
    Rule,
    Shape,
    attraction_curve,
    loss_shape,
    rule_curve,
    search_history,
)
from lossmith.report.figures import plot_comparison, plot_history, plot_losses, save_figure, save_figures
from lossmith.report.theory import plot_explanation, plot_figure3, plot_trace

__all__ = [
    "Attraction",
    "History",
    "Rule",
    "Shape",
    "attraction_curve",
    "loss_shape",
    "plot_attacks",
    "plot_comparison",
    "plot_explanation",
    "plot_figure3",
    "plot_history",
    "plot_losses",
    "plot_pareto",
    "plot_trace",
    "rule_curve",
    "save_figure",
    "save_figures",
    "search_history",
]
