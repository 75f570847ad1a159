"""Hooks of mkdocs: Markdown as the docstrings and pages of this project write it.

<U> is a mean, not a tag: no page has HTML of its own, so that none is read. Comments go.
"""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

COLUMNS = re.compile(r"^[^\s|#>-].*\S {2,}\S")


class Columns(Preprocessor):
    """Docstrings have lists and equations in columns: a paragraph with a line of two columns keeps its spaces."""

    def run(self, lines: list[str]) -> list[str]:
        paragraphs = [paragraph.split("\n") for paragraph in "\n".join(lines).split("\n\n")]
        for paragraph in paragraphs:
            aligned = sum(bool(COLUMNS.match(line)) for line in paragraph)
            if 2 * aligned > len(paragraph):
                paragraph[:] = [f"    {line}" for line in paragraph]
        return "\n\n".join("\n".join(paragraph) for paragraph in paragraphs).split("\n")


class PlainBrackets(Extension):
    """Markdown without raw HTML."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name that markdown calls
        md.preprocessors.deregister("html_block")
        md.preprocessors.register(Columns(md), "columns", 20)
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    config.markdown_extensions.append(PlainBrackets())
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.S)


def on_page_content(html: str, **_: Any) -> str:
    """Short cells of a table stay on one line: 1e-6 would break at its sign."""
    return re.sub(r"<td>([^<]{1,18})</td>", r'<td class="short">\1</td>', html)
