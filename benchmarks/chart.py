"""The chart: how long the contestants take on each database, as SVG."""

from xml.sax.saxutils import escape

from . import measures
from .contestants import CONTESTANTS, This
from .floors import HashingClient
from .samples import Samples

SHOWN = {
    measures.HIT: "One object, a hit",
    measures.ANY_25: "25 objects at once, any",
    measures.ANY_100: "100 objects at once, any",
    measures.SAVE: "A save",
}
FLOOR = HashingClient.title

# All in pixels.
LABEL, BAR, NUMBER, LINE = 96, 190, 74, 20
PANEL = LABEL + BAR + NUMBER
MARGIN, HEAD = 20, 30

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .ground { fill: #ffffff }
  .title { font-weight: 600 }
  .end { text-anchor: end }
  .quiet { fill: #59636e }
  .bar { fill: #b4bcc5 }
  .floor { fill: #dfe3e8 }
  .this { fill: #0969da }
  text.this { font-weight: 600 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc }
    .ground { fill: #0d1117 }
    .quiet { fill: #9198a1 }
    .bar { fill: #5b636d }
    .floor { fill: #333a43 }
    .this { fill: #4493f8 }
  }
"""


def chart(samples: Samples) -> str:
    """Return the medians as bars. The panels of one row have the same scale."""
    databases = list(samples.by_database)
    names = [*CONTESTANTS, FLOOR]
    width = MARGIN + len(databases) * (PANEL + MARGIN)
    parts, y = [], MARGIN
    for measure, title in SHOWN.items():
        times = {
            (database, name): samples.median(database, measure, name) or 0
            for database in databases
            for name in names
        }
        longest = max(times.values()) or 1
        shown = [name for name in names if any(times[database, name] for database in databases)]
        for column, database in enumerate(databases):
            x = MARGIN + column * (PANEL + MARGIN)
            parts.append(_text(x, y + 14, f"{title}: {database}", "title"))
            for row, name in enumerate(shown):
                time = times[database, name]
                parts += _bar(x, y + HEAD + row * LINE, name, time, time / longest)
        y += HEAD + len(shown) * LINE + MARGIN
    note = f"Medians, in microseconds; shorter is better. {FLOOR}: the same bytes, discarded."
    parts.append(_text(MARGIN, y + 10, note, "quiet"))
    height = y + MARGIN + 10
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img">'
    )
    ground = f'<rect class="ground" width="{width}" height="{height}" rx="6"/>'
    title = "<title>How long the contestants take</title>"
    return "\n".join([head, title, f"<style>{STYLE}</style>", ground, *parts, "</svg>"]) + "\n"


def _bar(x: int, y: int, name: str, microseconds: float, part: float) -> list[str]:
    kind = {This.title: "this", FLOOR: "floor"}.get(name, "bar")
    length = max(1, round(BAR * part))
    of_name = kind if kind == "this" else "quiet"
    return [
        _text(x + LABEL - 8, y + 13, name, f"end {of_name}"),
        f'<rect class="{kind}" x="{x + LABEL}" y="{y + 2}" width="{length}" height="14" rx="2"/>',
        _text(x + LABEL + length + 6, y + 13, f"{microseconds:,.0f}", of_name),
    ]


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text x="{x}" y="{y}" class="{kind}">{escape(text)}</text>'
