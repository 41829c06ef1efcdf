"""The result as a picture: a plain SVG, one panel a scenario, one bar a peer, readable on light and dark pages."""

from xml.sax.saxutils import escape

from figures import LATENCIES, METRICS, cell, condensed
from table import number

COLUMNS, PANEL, GAP, LEFT, BAR, TOP = 3, 330, 24, 104, 18, 46
STYLE = """
  text { font: 12px system-ui, sans-serif; fill: #1f2328 }
  .title { font-weight: 600; font-size: 13px } .small { font-size: 11px; fill: #59636e }
  .bar { fill: #afb8c1 } .floor { fill: #d8dee4 } .gateway { fill: #0969da } .spread { stroke: #59636e; stroke-width: 1 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .small { fill: #9198a1 }
    .bar { fill: #59636e } .floor { fill: #343b43 } .gateway { fill: #4493f8 } .spread { stroke: #9198a1 }
  }
"""


def bars(result: dict) -> list[tuple[str, str, list]]:
    """Panels: title, what is shown, and (peer, value, least, most, remark) for each peer that has a figure."""
    panels = []
    for scenario, peers in result["scenarios"].items():
        cells = [(peer, cell(peers[peer["name"]])) for peer in result["peers"]]
        _, what, unit = METRICS[scenario]
        if scenario.startswith("latency"):
            shown = [(peer, found.p99, found.p99, found.p99, found) for peer, found in cells if found.p99 is not None]
            panels.append((scenario, "p99 latency, µs", shown))
        else:
            shown = [(peer, found.value, found.low, found.high, found) for peer, found in cells if found.has_value]
            panels.append((scenario, f"{what}, {unit}", shown))
        if scenario in ("burst", "burst-slow") and LATENCIES[scenario]:
            shown = [(peer, found.p99, found.p99, found.p99, found) for peer, found in cells if found.p99 is not None]
            panels.append((scenario, "p99 latency, µs", shown))
    return [panel for panel in panels if panel[2]]


def panel(x: int, y: int, title: str, what: str, shown: list) -> list[str]:
    room = PANEL - LEFT - 74
    most = max(high for _, _, _, high, _ in shown) or 1
    lines = [f'<text class="title" x="{x}" y="{y + 14}">{escape(title)}</text>',
             f'<text class="small" x="{x}" y="{y + 30}">{escape(what)}</text>']
    for n, (peer, value, low, high, found) in enumerate(shown):
        top = y + TOP + n * (BAR + 6)
        kind = peer["kind"] if peer["kind"] in ("floor", "gateway") else "bar"
        middle, end = top + BAR / 2, x + LEFT + room * high / most
        lines += [
            f'<text x="{x}" y="{top + 13}">{escape(peer["title"])}</text>',
            f'<rect class="{kind}" x="{x + LEFT}" y="{top}" width="{max(room * value / most, 1):.1f}" height="{BAR}" rx="2"/>',
        ]
        if high > low:
            lines.append(f'<line class="spread" x1="{x + LEFT + room * low / most:.1f}" x2="{end:.1f}" '
                         f'y1="{middle}" y2="{middle}"/>')
        remark = " loses" if found.wrong else ""
        lines.append(f'<text x="{end + 5:.1f}" y="{top + 13}">{number(value)}{remark}</text>')
    return lines


def render(result: dict) -> str:
    panels = bars(condensed(result))
    height = TOP + len(result["peers"]) * (BAR + 6) + GAP
    width = COLUMNS * (PANEL + GAP)
    total = -(-len(panels) // COLUMNS) * height + GAP + 16
    lines = []
    for n, (title, what, shown) in enumerate(panels):
        lines += panel(GAP + n % COLUMNS * (PANEL + GAP), GAP // 2 + n // COLUMNS * height, title, what, shown)
    foot = f"Less is better. Medians of {result['rounds']} rounds, lines from least to most. {result['when']}, " \
           f"{result['machine']['cores']} cores of {result['machine']['processor']}."
    lines.append(f'<text class="small" x="{GAP}" y="{total - 10}">{escape(foot)}</text>')
    body = "\n".join(lines)
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {total}" width="{width}" height="{total}" '
            f'role="img" aria-label="ws-gateway and its peers">\n<style>{STYLE}</style>\n{body}\n</svg>\n')
