"""Renders the Markdown files of this repository as HTML.

Only for texts of the repository itself: links are not checked and nothing is removed. Raw HTML in a
text is shown as text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.token import Token

COMMENT = re.compile(r"^<!--.*?-->\n", re.M)
SITE = "http://127.0.0.1:8000/"  # how the texts write the address of this site

# Called with the target of a link or an image in a text; returns its URL on the site, or "" if
# only its text is to be shown.
Link = Callable[[str], str]
# Called with the text, target and title of a link that is a paragraph by itself; returns the HTML
# in its place, or None to leave it a link.
Include = Callable[[str, str, str], SafeString | None]


@dataclass(frozen=True)
class Text:
    """A rendered text: its first heading, and the HTML of all that follows."""

    title: str
    html: SafeString


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def render(path: Path, link: Link | None = None, include: Include | None = None) -> Text:
    """Return the text of the Markdown file at `path`; raise FileNotFoundError if there is none."""
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = markdown.parse(COMMENT.sub("", path.read_text()))
    title = ""
    kept: list[Token] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        inline = tokens[position + 1] if token.type in ("heading_open", "paragraph_open") else None
        if inline and token.tag == "h1" and not title:
            title = inline.content.replace("`", "")
            position += 3
            continue
        if inline and token.type == "heading_open":
            token.attrSet("id", slug(_plain(inline)))
        if inline and include and (html := _included(inline, include)) is not None:
            kept.append(Token("html_block", "", 0, content=html))
            position += 3
            continue
        if inline and link and _is_lost_picture(inline, link):
            position += 3
            continue
        kept.append(token)
        position += 1
    for opening, inline, closing in zip(kept, kept[1:], kept[2:], strict=False):
        if opening.type == "th_open" and not inline.content:
            opening.tag = closing.tag = (
                "td"  # a screen reader would announce a heading without a name
            )
    for token in kept:
        if style := token.attrs.pop("style", None):  # the policy of the site refuses it
            token.attrSet("class", "number" if "right" in str(style) else "")
        if token.children and link:
            token.children = _linked(token.children, link)
    # A table can be wider than a phone: with the focus on it, the keyboard scrolls it.
    scrolled = '<div class="scroll-x" tabindex="0" role="group" aria-label="Table"><table>\n'
    markdown.add_render_rule("table_open", lambda *args: scrolled)
    markdown.add_render_rule("table_close", lambda *args: "</table></div>\n")
    markdown.add_render_rule("fence", _fence)
    html = markdown.renderer.render(kept, markdown.options, {})
    return Text(title, mark_safe(html))


def _linked(children: list[Token], link: Link) -> list[Token]:
    """Return `children` with the URLs that `link` gives, without the links that have none."""
    kept = []
    dropped = False
    for child in children:
        if child.type == "link_open":
            url = link(str(child.attrGet("href")))
            child.attrSet("href", url)
            dropped = not url
        elif child.type == "image":
            url = link(str(child.attrGet("src")))
            child.attrSet("src", url)
            if not url:
                child = Token("text", "", 0, content=child.content)
        if not (dropped and child.type in ("link_open", "link_close")):
            kept.append(child)
    return kept


def _is_lost_picture(inline: Token, link: Link) -> bool:
    """Is this a paragraph of images only, none of which is on the site?"""
    pictures = [child for child in inline.children or () if child.type != "softbreak"]
    return bool(pictures) and all(
        child.type == "image" and not link(str(child.attrGet("src"))) for child in pictures
    )


def _plain(inline: Token) -> str:
    return "".join(child.content for child in inline.children or ())


def _included(inline: Token, include: Include) -> SafeString | None:
    """Return what is shown in place of a paragraph that is one link."""
    children = inline.children or []
    if not children or children[0].type != "link_open" or children[-1].type != "link_close":
        return None
    if sum(child.type == "link_open" for child in children) != 1:
        return None
    attributes = children[0].attrs
    return include(_plain(inline), str(attributes["href"]), str(attributes.get("title", "")))


def _fence(renderer: Any, tokens: list[Token], index: int, options: Any, env: Any) -> str:
    """Return a block of code that can be scrolled by keyboard."""
    return format_html(
        '<figure class="code"><pre tabindex="0"><code>{}</code></pre></figure>\n',
        tokens[index].content,
    )
