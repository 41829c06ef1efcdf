"""Runs the comparison: scenario by scenario, round by round, each peer in turn. See `run`, which sets up what this needs."""

import json
import os
import random
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path

import machine
import plot
import table
from figures import condensed
from peers import DEFAULT_PEERS, SCALES, SCENARIOS, Peer, parse_peers, parser

DOCS = Path("docs")
START_SECONDS = 20
# Beyond what a run takes by itself: opening 10,000 connections, stragglers.
LOAD_SECONDS = 120


class Failed(Exception):
    """A peer could not be measured; the reason goes into its cell."""


def free_port() -> int:
    """A port that is free, below those that connections come from: 10,000 of them leave none behind."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def listens(port: int) -> bool:
    """Seen from outside: a connection that only asks would count in the peer's memory."""
    listening = f":{port:04X} "
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"{fields[1]} ".endswith(listening):
                return True
    return False


def last_line(path: Path) -> str:
    lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].strip()[:200] if lines else "it said nothing"


def wait_for(what: str, is_so, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not is_so():
        if process.poll() is not None:
            raise Failed(f"ended at once: {last_line(log)}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {START_SECONDS} s")
        time.sleep(0.02)


@contextmanager
def started(command: list[str], env: dict[str, str], work: Path):
    """A process that is ended, whatever happens. Its output is in the file beside it."""
    log = work / f"{Path(command[0]).name}.log"
    with log.open("w") as output:
        process = subprocess.Popen(command, env=env, cwd=work, stdout=output, stderr=subprocess.STDOUT,
                                   stdin=subprocess.DEVNULL)
    try:
        yield process, log
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class Redis:
    """The Redis that all peers take their trades from."""

    def __init__(self, port: int) -> None:
        self.port = port

    def patterns(self) -> int:
        """How many pattern subscriptions there are."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as stream:
            stream.sendall(b"PUBSUB NUMPAT\r\n")
            return int(stream.recv(64).strip().lstrip(b":"))


class Bench:
    def __init__(self, options, redis: Redis, work: Path) -> None:
        self.target, self.redis, self.work = options.target.resolve(), redis, work
        self.seconds, self.workers = options.seconds, options.workers

    def measure(self, peer: Peer, scenario: str) -> dict:
        """One run of one peer: what ws-load reports of it, or why there is nothing."""
        if (reason := peer.skipped(scenario)) is not None:
            return {"skipped": reason}
        try:
            return self.load(peer, scenario)
        except (Failed, OSError, subprocess.SubprocessError) as error:
            return {"failed": str(error)}

    def load(self, peer: Peer, scenario: str) -> dict:
        ws_port = free_port()
        feed_port = free_port() if peer.takes_trades_directly else self.redis.port
        command = peer.command(scenario, self.target, ws_port, feed_port, self.work)
        with started(command, peer.environment(scenario), self.work) as (server, log):
            wait_for("listening", lambda: listens(ws_port), server, log)
            if peer.takes_trades_directly:
                wait_for("listening for trades", lambda: listens(feed_port), server, log)
            else:
                # With a desk there are more.
                wait_for("subscribing", lambda: self.redis.patterns() >= 1, server, log)
            report = self.ws_load(peer, scenario, ws_port, feed_port, server.pid)
            if peer.is_ours:
                report["writes"] = writes_per_message(ws_port)
            if server.poll() is not None:
                raise Failed(last_line(log))
        if not peer.takes_trades_directly:
            self.wait_until_alone()
        return report

    def ws_load(self, peer: Peer, scenario: str, ws_port: int, feed_port: int, pid: int) -> dict:
        program, scheme = ("nats-load", "nats") if peer.kind == "nats" else ("ws-load", "redis")
        preset = [scenario]
        if scenario in SCALES:
            connections = SCALES[scenario]
            preset = ["wide", "--connections", str(connections), "--rate", f"{100_000 / connections:g}"]
        command = [str(self.target / "dist" / program), "--json", "--preset", *preset, "--server-pid", str(pid),
                   "--url", f"ws://127.0.0.1:{ws_port}/ws{self.token(peer)}", "--redis", f"{scheme}://127.0.0.1:{feed_port}"]
        if self.workers is not None:
            command += ["--workers", str(self.workers)]
        if self.seconds is not None and scenario != "storm":
            command += ["--duration", f"{self.seconds}s"]
            command += [] if scenario == "idle" else ["--warmup", f"{min(2, self.seconds / 2)}s"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LOAD_SECONDS + (self.seconds or 10))
        if not done.stdout.strip():
            lines = [line for line in done.stderr.splitlines() if line.startswith((f"{program}:", "error:"))]
            raise Failed(lines[0] if lines else f"{program} gave no result")
        return {"report": json.loads(done.stdout)}

    def token(self, peer: Peer) -> str:
        """What clients of a gateway that wants tokens put behind its address."""
        if (secret := peer.env.get("JWT_SECRET_KEY")) is None:
            return ""
        file = self.work / "secret"
        file.write_text(secret)
        sign = [str(self.target / "dist/ws-token"), "sign", "--secret-file", str(file), "--sub", "load", "--expires", "1h"]
        return "?token=" + subprocess.run(sign, check=True, capture_output=True, text=True).stdout.strip()

    def wait_until_alone(self) -> None:
        """The next peer's subscription is to be the only one."""
        deadline = time.monotonic() + START_SECONDS
        while self.redis.patterns() > 0:
            if time.monotonic() > deadline:
                raise Failed("Redis still has its subscription")
            time.sleep(0.02)


def writes_per_message(port: int) -> float | None:
    """What a gateway of ours says of itself: write calls on sockets for each message sent."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        text = answer.read().decode()
    total = {name: sum(map(float, re.findall(rf"^ws_{name}_total(?:{{.*}})? (\S+)$", text, re.M)))
             for name in ("writes", "messages_sent")}
    return total["writes"] / total["messages_sent"] if total["messages_sent"] else None


def run_all(bench: Bench, peers: list[Peer], scenarios: list[str], rounds: int) -> dict:
    """Every scenario's every round's every peer; who is first changes from round to round."""
    results = {scenario: {peer.name: [] for peer in peers} for scenario in scenarios}
    for scenario in scenarios:
        for turn in range(rounds):
            first = turn % len(peers)
            for peer in peers[first:] + peers[:first]:
                outcome = bench.measure(peer, scenario)
                results[scenario][peer.name].append(outcome)
                print(f"{scenario}, round {turn + 1} of {rounds}, {peer.name}: {table.line(scenario, outcome)}",
                      file=sys.stderr, flush=True)
    return results


def measure(options) -> dict:
    peers = options.peers
    result = {
        "when": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": machine.facts(),
        "versions": machine.versions(options.target, peers),
        "rounds": options.rounds,
        "seconds": options.seconds,
        "workers": options.workers,
        "peers": [{"name": peer.name, "kind": peer.kind, "title": peer.title} for peer in peers],
    }
    cache = options.target / "compare"
    with tempfile.TemporaryDirectory(dir=cache) as name:
        work, port = Path(name).resolve(), free_port()
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        with started(command, {"PATH": os.environ["PATH"]}, work) as (process, log):
            wait_for("Redis", lambda: listens(port), process, log)
            bench = Bench(options, Redis(port), work)
            result["scenarios"] = run_all(bench, peers, options.scenarios, options.rounds)
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    path = cache / f"result-{stamp}.json"
    path.write_text(json.dumps(result))
    print(f"every figure is in {path}", file=sys.stderr)
    return result


def is_complete(options) -> bool:
    return (not options.source and options.seconds is None and options.workers is None and options.rounds >= 3
            and set(options.scenarios) == set(SCENARIOS)
            and {peer.name for peer in options.peers} >= {peer.name for peer in parse_peers(DEFAULT_PEERS)})


def record(result: dict) -> None:
    (DOCS / "benchmarks-compare.json").write_text(json.dumps(condensed(result), indent=1) + "\n")
    picture = "![Cost and latency of ws-gateway beside its peers](benchmarks.svg)"
    table.replace_between(DOCS / "benchmarks.md", f"{picture}\n\n{table.render(result)}")
    (DOCS / "benchmarks.svg").write_text(plot.render(result))
    print("docs/benchmarks.md, docs/benchmarks.svg and docs/benchmarks-compare.json have it", file=sys.stderr)


def main() -> None:
    options = parser().parse_args()
    result = json.loads(options.source.read_text()) if options.source else measure(options)
    print(table.render(result))
    if options.record if options.record is not None else is_complete(options):
        record(result)


if __name__ == "__main__":
    main()
