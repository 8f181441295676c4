"""Formulas as MathML, which browsers draw themselves: no script, nothing from the network."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.util import logging

_DIGITS = re.compile(r"\\([td]?frac)\s*(\d)\s*(\d)")
_ACCENT = re.compile(r"(\\(?:tilde|hat|bar)\s*(?:\\?\w+?|\{[^{}]*\}))(?=[_^])")
_DOTS = re.compile(r"\\dots\b")


def _plain(formula: str) -> str:
    """TeX as the converter of docutils wants it: braces around digits of a fraction and what has an accent."""
    return _ACCENT.sub(r"{\1}{}", _DIGITS.sub(r"\\\1{\2}{\3}", _DOTS.sub(r"\\ldots", formula)))


def _converted(node: nodes.Element, as_block: bool) -> str:
    try:
        return tex2mathml(_plain(node.astext()), as_block)
    except MathError as error:
        logging.getLogger(__name__).warning("%s in the formula %s", error, node.astext(), location=node)
        return ""


def visit_inline(writer, node: nodes.math) -> None:
    writer.body.append(f'<span class="math">{_converted(node, as_block=False)}</span>')
    raise nodes.SkipNode


def visit_block(writer, node: nodes.math_block) -> None:
    writer.body.append(f'<div class="math">{_converted(node, as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
