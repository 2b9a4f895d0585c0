"""Tables and pictures of what was computed before."""

from lossmith.report.curves import History, Shape, loss_shape, search_history
from lossmith.report.figures import plot_comparison, plot_history, plot_losses, save_figure

__all__ = [
    "History",
    "Shape",
    "loss_shape",
    "plot_comparison",
    "plot_history",
    "plot_losses",
    "save_figure",
    "search_history",
]
