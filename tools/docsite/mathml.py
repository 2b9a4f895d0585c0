"""Equations as MathML, which browsers draw themselves: no script, no font, nothing to fetch."""

from docutils.utils.math.latex2mathml import tex2mathml


def mathml(tex: str, block: bool) -> str:
    """An equation of LaTeX's mathematics as markup.

    Args:
        tex: The equation, without dollar signs.
        block: Whether it stands in lines of its own.

    Raises:
        docutils.utils.math.MathError: if a command is not known.
    """
    markup: str = tex2mathml(tex, as_block=block)
    return markup
