"""From what ws-load reports to the figures that are compared: one of each scenario, medians of rounds, paired ratios."""

from dataclasses import dataclass
from statistics import median

from peers import SCALES

# Scenario → (field of ws-load's `server`, what it is, unit).
METRICS = {
    "wide": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "spread": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "burst": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "burst-slow": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "latency-10": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "latency-100": ("cpuUsPerDelivered", "CPU a delivered message", "µs"),
    "ingest": ("cpuUsPerPublished", "CPU an event that nobody wants", "µs"),
    "ingest-framed": ("cpuUsPerPublished", "CPU an event that is framed for one", "µs"),
    "idle": ("rssBytesPerConnection", "memory a connection", "KiB"),
    "storm": ("cpuUsPerHandshake", "CPU a handshake", "µs"),
    "churn": ("cpuUsPerReply", "CPU a (un)subscribe, with its share of trades", "µs"),
}
METRICS |= {name: METRICS["wide"] for name in SCALES}
# Scenario → where its latency is; in the others there is none, or it is that of a queue that is always full.
LATENCIES = {"churn": "replyUs", "storm": "handshakeUs"} | {
    name: "latencyUs" for name in ("wide", "spread", "burst", "burst-slow", "latency-10", "latency-100", *SCALES)
}


def condense(scenario: str, outcome: dict) -> dict:
    """One run in a few figures; what already is, or has none, stays as it is."""
    if "report" not in outcome:
        return outcome
    report = outcome["report"]
    server, events, connections = report["server"], report["events"], report["connections"]
    field, _, unit = METRICS[scenario]
    value = server[field]
    latency = report.get(LATENCIES.get(scenario, "")) or {}
    return {
        "value": value / 1024 if value is not None and unit == "KiB" else value,
        "p50": latency.get("p50"),
        "p99": latency.get("p99"),
        "writes": outcome.get("writes"),
        "cpuPercent": server["cpuPercent"],
        "publishedPerSecond": report["published"]["perSecond"],
        "rssBytesPerConnection": server["rssBytesPerConnection"],
        "wrong": wrong(report, events, connections),
        "caveats": [text for text in report["caveats"] if not text.startswith("Redis was at its limit")],
    }


def wrong(report: dict, events: dict, connections: dict) -> str | None:
    """What the peer did wrong, in words."""
    if report["ok"]:
        return None
    counts = [(events[key], word) for key, word in (
        ("missing", "events lost"), ("repeated", "repeated"), ("outOfOrder", "out of order"), ("uninvited", "uninvited"))]
    words = [f"{count:,} {word}" for count, word in counts if count]
    if events["missing"]:
        words.append(f"{events['expected']:,} expected")
    for key, word in (("failed", "not opened"), ("lost", "closed"), ("complaints", "complaints")):
        words += [f"{count} {word}: {reason}" for reason, count in connections[key].items()]
    return ", ".join(words) or "not what was promised"


# How ws-load's remarks on itself begin: it could do no more; or only its clock is to be doubted.
LIMITED = "the load generator was the bottleneck"
LATE = ("the load generator lacked a core", "the load generator published late")


@dataclass
class Cell:
    """What the rounds of one peer in one scenario come to."""

    value: float | None
    low: float | None
    high: float | None
    p50: float | None
    p99: float | None
    # Why there is no figure, or why it says less than it seems to.
    skipped: str | None
    failed: list[str]
    wrong: list[str]
    client_limited: list[str]
    # What of the latency is the load generator's own.
    client_late: list[str]

    @property
    def has_value(self) -> bool:
        return self.value is not None


def of_rounds(rounds: list[dict], key: str) -> list[float]:
    return [outcome[key] for outcome in rounds if outcome.get(key) is not None]


def cell(rounds: list[dict]) -> Cell:
    values, p50, p99 = (of_rounds(rounds, key) for key in ("value", "p50", "p99"))
    caveats = {text for outcome in rounds for text in outcome.get("caveats", [])}
    return Cell(
        value=median(values) if values else None,
        low=min(values, default=None),
        high=max(values, default=None),
        p50=median(p50) if p50 else None,
        p99=median(p99) if p99 else None,
        skipped=next((outcome["skipped"] for outcome in rounds if "skipped" in outcome), None),
        failed=[outcome["failed"] for outcome in rounds if "failed" in outcome],
        wrong=[outcome["wrong"] for outcome in rounds if outcome.get("wrong")],
        client_limited=sorted(text for text in caveats if text.startswith(LIMITED)),
        client_late=sorted(text for text in caveats if text.startswith(LATE)),
    )


def ratios(rounds: list[dict], base: list[dict]) -> list[float]:
    """Each round's figure by the other's of the same round."""
    pairs = zip(rounds, base)
    return [one["value"] / other["value"] for one, other in pairs if one.get("value") and other.get("value")]


def condensed(result: dict) -> dict:
    """A whole result in figures."""
    scenarios = {
        scenario: {peer: [condense(scenario, outcome) for outcome in rounds] for peer, rounds in peers.items()}
        for scenario, peers in result["scenarios"].items()
    }
    return result | {"scenarios": scenarios}


def base_of(peers: dict[str, list[dict]]) -> str | None:
    """What the others' figures are put in relation to: the floor, or else the strongest peer."""
    return next((name for name in ("floor", "uws") if of_rounds(peers.get(name, []), "value")), None)
