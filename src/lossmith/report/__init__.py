"""Tables and pictures of what was computed before."""

from typing import TYPE_CHECKING

from lossmith.lazy import lazily

if TYPE_CHECKING:
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
    from lossmith.report.distillation import plot_distillation
    from lossmith.report.drawing import draw_comparison, draw_distillation, draw_explained, draw_search, draw_trace
    from lossmith.report.figures import (
        EVOLVED,
        OTHER,
        PLAIN,
        STYLE,
        check_picture,
        plot_comparison,
        plot_history,
        plot_losses,
        save_figure,
        save_figures,
        styled,
    )
    from lossmith.report.minima import plot_basin, plot_corruption
    from lossmith.report.page import latex_page, page_tables, strength_table, words_table
    from lossmith.report.summary import summarize
    from lossmith.report.suspects import plot_suspects
    from lossmith.report.theory import plot_explanation, plot_figure3, plot_trace
    from lossmith.report.web.document import Section, document
    from lossmith.report.web.explorer import explorer, write_explorer
    from lossmith.report.web.page import report_beside, report_page, write_report
    from lossmith.report.web.serve import Served
    from lossmith.report.words import plain_words

__all__ = [
    "EVOLVED",
    "OTHER",
    "PLAIN",
    "STYLE",
    "Attraction",
    "History",
    "Rule",
    "Section",
    "Served",
    "Shape",
    "attraction_curve",
    "check_picture",
    "document",
    "draw_comparison",
    "draw_distillation",
    "draw_explained",
    "draw_search",
    "draw_trace",
    "explorer",
    "latex_page",
    "loss_shape",
    "page_tables",
    "plain_words",
    "plot_attacks",
    "plot_basin",
    "plot_comparison",
    "plot_corruption",
    "plot_distillation",
    "plot_explanation",
    "plot_figure3",
    "plot_history",
    "plot_losses",
    "plot_pareto",
    "plot_suspects",
    "plot_trace",
    "report_beside",
    "report_page",
    "rule_curve",
    "save_figure",
    "save_figures",
    "search_history",
    "strength_table",
    "styled",
    "summarize",
    "words_table",
    "write_explorer",
    "write_report",
]

# Each loads on first use: a page of text must not wait for what draws.
HOMES = {
    "attacks": ("plot_attacks", "plot_pareto"),
    "curves": (
        *("Attraction", "History", "Rule", "Shape"),
        *("attraction_curve", "loss_shape", "rule_curve", "search_history"),
    ),
    "distillation": ("plot_distillation",),
    "drawing": ("draw_comparison", "draw_distillation", "draw_explained", "draw_search", "draw_trace"),
    "figures": (
        *("EVOLVED", "OTHER", "PLAIN", "STYLE", "styled"),
        *("check_picture", "plot_comparison", "plot_history", "plot_losses"),
        *("save_figure", "save_figures"),
    ),
    "minima": ("plot_basin", "plot_corruption"),
    "page": ("latex_page", "page_tables", "strength_table", "words_table"),
    "summary": ("summarize",),
    "suspects": ("plot_suspects",),
    "theory": ("plot_explanation", "plot_figure3", "plot_trace"),
    "web.document": ("Section", "document"),
    "web.explorer": ("explorer", "write_explorer"),
    "web.page": ("report_beside", "report_page", "write_report"),
    "web.serve": ("Served",),
    "words": ("plain_words",),
}

__getattr__ = lazily(__name__, HOMES)
