"""The pictures of the gallery: lossmith's figures belong to no window, so sphinx-gallery does not find them itself."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

TAKEN = "_docsite_taken"


def new_figures(variables: Mapping[str, Any]) -> Iterator[Figure]:
    """The figures among the variables of a script that were not given before."""
    for value in variables.values():
        if isinstance(value, Figure) and not hasattr(value, TAKEN):
            setattr(value, TAKEN, True)
            yield value


class Scraper:
    """Saves what a block of a script has drawn; called as sphinx-gallery calls a scraper."""

    def __call__(self, _: Any, variables: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
        """Save the new figures, and give the text that shows them.

        Args:
            variables: Has the script's variables, and paths for pictures.
            settings: Of sphinx-gallery.
        """
        from sphinx_gallery.scrapers import figure_rst

        paths: list[str] = []
        for figure in new_figures(variables["example_globals"]):
            path = next(variables["image_path_iterator"])
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            figure.savefig(path, dpi=150, bbox_inches="tight", facecolor="white")
            paths.append(path)
        text: str = figure_rst(paths, settings["src_dir"])
        return text

    def __repr__(self) -> str:
        """The same in every run, so that Sphinx sees that nothing has changed."""
        return "Scraper()"
