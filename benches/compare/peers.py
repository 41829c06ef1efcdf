"""Who is compared: how each is started, what it takes its trades from, what makes no sense to ask of it.

As a program, prints which of the setup functions of `run` its arguments call for.
"""

import argparse
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_PEERS = "floor,gateway,uws,node,nats"
SCENARIOS = [
    "wide", "spread", "burst", "burst-slow", "latency-10", "latency-100",
    "ingest", "ingest-framed", "idle", "storm", "churn",
]
# `wide` with more and fewer connections, at the same 100,000 deliveries a second. Only on demand.
SCALES = {f"scale-{connections}": connections for connections in (100, 1000, 5000, 10_000, 18_000)}
TITLES = {
    "floor": "raw-send floor",
    "gateway": "ws-gateway",
    "uws": "µWebSockets",
    "node": "Node ws",
    "nats": "nats-server",
}
FLOOR_ONLY_SENDS = "the floor only sends"
# What a peer isn't asked for, and why.
SKIPPED = {
    "floor": {name: FLOOR_ONLY_SENDS for name in ("ingest", "ingest-framed", "idle", "storm", "churn")},
}


@dataclass
class Peer:
    """Something to compare. `kind` says how it is started; several peers may be of the kind `gateway`."""

    name: str
    kind: str
    binary: str | None = None
    env: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        title = TITLES[self.kind] if self.binary is None else self.name
        return title if not self.env else f"{title} ({', '.join(f'{k}={v}' for k, v in self.env.items())})"

    @property
    def takes_trades_directly(self) -> bool:
        """Whether ws-load publishes to it instead of to Redis."""
        return self.kind in ("floor", "nats")

    @property
    def is_ours(self) -> bool:
        return self.kind == "gateway"

    def skipped(self, scenario: str) -> str | None:
        return SKIPPED.get(self.kind, {}).get(scenario)

    def command(self, scenario: str, target: Path, ws_port: int, feed_port: int, work: Path) -> list[str]:
        """What starts it: serving WebSocket clients at `ws_port`, fed by the Redis at `feed_port`, or listening there."""
        cache = (target / "compare").resolve()
        ports = [str(ws_port), str(feed_port)]
        match self.kind:
            case "floor":
                return [f"{cache}/floor", *ports, "burst" if scenario.startswith("burst") else "message"]
            case "uws":
                return [f"{cache}/uws", *ports]
            case "node":
                return ["node", f"{cache}/node/gateway.js", *ports]
            case "nats":
                config = work / f"nats-{ws_port}.conf"
                config.write_text(
                    f"listen: 127.0.0.1:{feed_port}\n"
                    f"websocket {{ listen: 127.0.0.1:{ws_port}, no_tls: true, compression: false }}\n"
                )
                return [f"{cache}/root/usr/sbin/nats-server", "-c", str(config)]
            case _:
                binary = self.binary or str((target / "dist/ws-gateway").resolve())
                redis = f"redis://127.0.0.1:{feed_port}"
                return [binary, "--redis-url", redis, "--ws-host", "127.0.0.1", "--ws-port", ports[0], "--log", "warn"]

    def environment(self, scenario: str) -> dict[str, str]:
        """Nothing of the caller's but the search path, so that every run is the same."""
        env = {"PATH": os.environ["PATH"]}
        if scenario == "ingest-framed":
            env["MAX_SYMBOLS_PER_CLIENT"] = "1000"
        return env | self.env


def parse_peers(text: str) -> list[Peer]:
    """`floor,gateway,SHARDS=1,before=/path/to/ws-gateway,FLUSH_INTERVAL=5`: a setting belongs to the peer before it."""
    peers: list[Peer] = []
    for word in filter(None, text.split(",")):
        name, equals, value = word.partition("=")
        if equals and re.fullmatch(r"[A-Z][A-Z0-9_]*", name):
            if not peers:
                raise argparse.ArgumentTypeError(f"{word}: there is no peer before it that it could be a setting of")
            peers[-1].env[name] = value
        elif equals:
            if not os.access(value, os.X_OK):
                raise argparse.ArgumentTypeError(f"{word}: {value} is no program")
            peers.append(Peer(name, "gateway", binary=str(Path(value).resolve())))
        elif name in TITLES:
            peers.append(Peer(name, name))
        else:
            raise argparse.ArgumentTypeError(f"{word}: neither one of {', '.join(TITLES)} nor NAME=/path/to/ws-gateway")
    names = [peer.name for peer in peers]
    if not peers or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"{text}: peers need names of their own, and there must be one")
    return peers


def parse_scenarios(text: str) -> list[str]:
    """Names, in the order given."""
    names = text.split(",")
    if unknown := set(names) - set(SCENARIOS) - set(SCALES):
        known = ", ".join([*SCENARIOS, *SCALES])
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}; there are {known}")
    return names


def at_least_one(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return number


def parser() -> argparse.ArgumentParser:
    """The command line of `run`."""
    words = argparse.ArgumentParser(
        prog="benches/compare/run",
        description="Measures ws-gateway beside its peers: every scenario, round after round, each peer in turn with a "
        "fresh server. Prints tables; a run of all peers in all scenarios also goes into docs/.",
        epilog="examples:\n"
        "  benches/compare/run                                  everything, about 40 minutes\n"
        "  benches/compare/run --scenarios wide,spread --peers floor,gateway,uws\n"
        "  benches/compare/run --peers floor,gateway,before=/tmp/old/ws-gateway --rounds 5\n"
        "  benches/compare/run --peers gateway,one=target/dist/ws-gateway,SHARDS=1 --scenarios spread\n"
        "  benches/compare/run --scenarios scale-100,scale-18000 --peers floor,gateway\n"
        "  benches/compare/run --from docs/benchmarks-compare.json    tables and plot again, of a run that was",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    words.add_argument("--peers", type=parse_peers, default=DEFAULT_PEERS, metavar="A,B",
                       help=f"of {DEFAULT_PEERS}, or NAME=/path/to/ws-gateway; SETTING=VALUE behind one is its environment")
    words.add_argument("--scenarios", type=parse_scenarios, default=",".join(SCENARIOS), metavar="A,B",
                       help="of " + ", ".join(SCENARIOS))
    words.add_argument("--rounds", type=at_least_one, default=3, metavar="N", help="the medians are of so many (3)")
    words.add_argument("--seconds", type=float, metavar="N", help="to measure for, each time; 10 by default")
    words.add_argument("--workers", type=at_least_one, metavar="N",
                       help="processes that hold the clients; by default as few as can")
    words.add_argument("--record", action=argparse.BooleanOptionalAction,
                       help="write the tables and the plot into docs/; by default if nothing was left out")
    words.add_argument("--from", dest="source", type=Path, metavar="FILE", help="measure nothing: show that result again")
    words.add_argument("--target", type=Path, default=Path("target"), help=argparse.SUPPRESS)
    return words


def main() -> None:
    kinds = {peer.kind for peer in parser().parse_args().peers} - {"gateway"}
    print(*sorted(kinds), file=sys.stdout)


if __name__ == "__main__":
    main()
