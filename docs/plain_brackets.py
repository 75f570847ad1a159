"""Hooks of mkdocs. <U> is a mean, not a tag: no page has HTML of its own, so that none is read. Comments go."""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension


class PlainBrackets(Extension):
    """Markdown without raw HTML."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - the name that markdown calls
        md.preprocessors.deregister("html_block")
        md.inlinePatterns.deregister("html")


def on_config(config: Any) -> Any:
    config.markdown_extensions.append(PlainBrackets())
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    return re.sub(r"<!--.*?-->\n?", "", markdown, flags=re.S)


def on_page_content(html: str, **_: Any) -> str:
    """Short cells of a table stay on one line: 1e-6 would break at its sign."""
    return re.sub(r"<td>([^<]{1,18})</td>", r'<td class="short">\1</td>', html)
