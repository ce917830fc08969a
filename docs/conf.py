"""Sphinx: furo, MyST, no network."""

from __future__ import annotations

from collections.abc import Mapping

from pygments.lexers.special import TextLexer

from daplug_supervisor import __version__
from daplug_supervisor.workers import registry

registry.Mapping = Mapping  # type: ignore[attr-defined]  # imported there for types only; autodoc wants it

project = "daplug-supervisor"
author = "The daplug-supervisor authors"
release = version = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "changes"]
default_role = "literal"

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False

html_theme = "furo"
html_title = f"daplug-supervisor {release}"
html_show_sphinx = False
html_copy_source = False


class _Mermaid(TextLexer):
    """Diagrams are shown as their source; GitHub draws them."""


def setup(app: object) -> None:
    app.add_lexer("mermaid", _Mermaid)  # type: ignore[attr-defined]
