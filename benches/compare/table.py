"""The result as Markdown."""

from pathlib import Path
from statistics import median

from figures import LATENCIES, METRICS, Cell, base_of, cell, condense, condensed, of_rounds, ratios

BEGIN, END = "<!-- compare -->", "<!-- /compare -->"


def number(value: float) -> str:
    """With three digits that count, and no more."""
    decimals = 3 if value < 1 else 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def line(scenario: str, outcome: dict) -> str:
    """One run, for whoever waits."""
    if (reason := outcome.get("skipped") or outcome.get("failed")) is not None:
        return f"none: {reason}"
    run = condense(scenario, outcome)
    text = f"{number(run['value'])} {METRICS[scenario][2]}" if run["value"] is not None else "not measured"
    if run["p99"] is not None:
        text += f", p50 {run['p50']:.0f} µs, p99 {run['p99']:.0f} µs"
    return "; ".join(filter(None, [text, run["wrong"], *run["caveats"]]))


class Notes:
    """What is said below a table, once each."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def of(self, found: Cell) -> str:
        """The marks behind a figure."""
        marks = ""
        for mark, texts in (("‡", found.wrong), ("§", found.failed), ("†", found.client_limited)):
            marks += mark if texts else ""
        return marks

    def add(self, where: str, found: Cell, rounds: int) -> None:
        if found.wrong:
            self.texts.append(f"‡ {where}, {len(found.wrong)} of {rounds} rounds: {found.wrong[0]}.")
        if found.failed:
            self.texts.append(f"§ {where}, {len(found.failed)} of {rounds} rounds failed: {found.failed[0]}.")
        if found.client_limited:
            self.texts.append(f"† {where}: {found.client_limited[0]}.")


def figure(found: Cell, text: str | None, notes: Notes) -> str:
    if found.skipped is not None:
        return "–"
    if text is None:
        return f"none {notes.of(found)}"
    return f"{text} {notes.of(found)}".strip()


def rows(header: list[str], lines: list[list[str]]) -> str:
    rule = ["---"] + ["---:"] * (len(header) - 1)
    return "\n".join(f"| {' | '.join(fields)} |" for fields in [header, rule, *lines])


def costs(result: dict, notes: Notes) -> str:
    lines = []
    for scenario, peers in result["scenarios"].items():
        base = base_of(peers)
        row = [f"`{scenario}`: {METRICS[scenario][1]}, {METRICS[scenario][2]}"]
        for peer in result["peers"]:
            rounds = peers[peer["name"]]
            found = cell(rounds)
            text = None
            if found.has_value:
                text = number(found.value)
                if base not in (None, peer["name"]) and (paired := ratios(rounds, peers[base])):
                    text += f" ({median(paired):.2f}×)"
            notes.add(f"`{scenario}`, {peer['title']}", found, len(rounds))
            row.append(figure(found, text, notes))
        lines.append(row)
    return rows(["scenario"] + [peer["title"] for peer in result["peers"]], lines)


def latencies(result: dict, notes: Notes) -> str:
    lines, late = [], {}
    for scenario, peers in result["scenarios"].items():
        if scenario not in LATENCIES:
            continue
        of = {"replyUs": " (reply to a request)", "handshakeUs": " (handshake)"}.get(LATENCIES[scenario], "")
        row = [f"`{scenario}`{of}"]
        for peer in result["peers"]:
            found = cell(peers[peer["name"]])
            text = f"{found.p50:,.0f} / {found.p99:,.0f}" if found.p50 is not None else None
            if text and found.client_late:
                text += " ⁑"
                late.setdefault(peer["title"], []).append(f"`{scenario}`")
            row.append(figure(found, text, notes))
        lines.append(row)
    notes.texts += [f"⁑ {title}, {', '.join(names)}: the load generator was late or lacked a core in a round, so that a "
                    "part of the latency is its own." for title, names in late.items()]
    return rows(["p50 / p99 in µs"] + [peer["title"] for peer in result["peers"]], lines) if lines else ""


def writes(result: dict) -> str:
    """How far our builds coalesce, where they differ in the setting that matters to it."""
    ours = [peer for peer in result["peers"] if peer["kind"] == "gateway"]
    if not any("FLUSH_INTERVAL" in peer["title"] for peer in ours):
        return ""
    lines = []
    for scenario, peers in result["scenarios"].items():
        found = [of_rounds(peers[peer["name"]], "writes") for peer in ours]
        lines.append([f"`{scenario}`"] + [f"{median(values):.3f}" if values else "–" for values in found])
    return rows(["writes a delivered message"] + [peer["title"] for peer in ours], lines)


def pairs(result: dict) -> str:
    """Each of our builds by the floor, by µWebSockets and by the first of our builds."""
    ours = [peer["name"] for peer in result["peers"] if peer["kind"] == "gateway"]
    titles = {peer["name"]: peer["title"] for peer in result["peers"]}
    wanted = [(name, other) for name in ours for other in ("floor", "uws", ours[0]) if other in titles and other != name]
    lines = []
    for scenario, peers in result["scenarios"].items():
        row = [f"`{scenario}`"]
        for name, other in wanted:
            found = ratios(peers[name], peers[other])
            row.append(f"{median(found):.2f} ({min(found):.2f}–{max(found):.2f})" if found else "–")
        lines.append(row)
    return rows(["scenario"] + [f"{titles[name]} : {titles[other]}" for name, other in wanted], lines) if wanted else ""


def render(result: dict) -> str:
    result = condensed(result)
    notes = Notes()
    seconds = f"{result['seconds']:g} s each" if result["seconds"] else "each for the time of its preset"
    clients = f", clients in {result['workers']} processes" if result.get("workers") else ""
    facts = [f"{key}: {value}" for key, value in (result["machine"] | result["versions"]).items()]
    parts = [
        f"{result['when']}; medians of {result['rounds']} rounds, {seconds}{clients}.",
        "\n".join(f"- {fact}" for fact in facts),
        costs(result, notes),
        "In brackets: by the floor of the same round, and by µWebSockets' where the floor has no figure.",
        latencies(result, notes),
        writes(result),
        pairs(result) and f"Cost, round by round: median (least–most).\n\n{pairs(result)}",
    ]
    skipped = {
        (peer["title"], outcome["skipped"]): None
        for peers in result["scenarios"].values()
        for peer in result["peers"]
        for outcome in peers[peer["name"]] if "skipped" in outcome
    }
    remarks = [f"–: not asked of {title}: {reason}." for title, reason in skipped] + notes.texts
    direct = [peer["title"] for peer in result["peers"] if peer["kind"] in ("floor", "nats")]
    if direct:
        remarks.insert(0, f"Without Redis in between, taking trades directly: {', '.join(direct)}.")
    parts.append("\n".join(f"- {remark}" for remark in remarks))
    return "\n\n".join(part for part in parts if part)


def replace_between(path: Path, text: str) -> None:
    """Puts a text between the markers of a file."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{path}: no {BEGIN} … {END} to put the tables in")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")
