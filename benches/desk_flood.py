"""Prices beside a room that is flooded: what benches/desk flood measures."""

import json
import statistics
import subprocess
import sys


# What is promised of prices beside a flood.
P99_RATIO_MAX = 2.0
# With so much of what was wanted a flood is one.
FLOOD_PART = 0.9


def load(stage, gateway, *flags):
    port = stage.options.port
    command = [
        stage.bin / "ws-load", "--json", "--url", f"ws://127.0.0.1:{port + 1}/ws", "--redis", f"redis://127.0.0.1:{port}",
        "--server-pid", str(gateway.pid), *flags,
    ]  # fmt: skip
    return subprocess.Popen(command, cwd=stage.work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def report_of(stage, process):
    out, err = process.communicate()
    if not out:
        stage.fail(f"ws-load failed\n{err[-2_000:]}")
    return json.loads(out)


def lost(report):
    """What didn't come once and in order; what was announced is lost here as well."""
    events = report["events"]
    names = ["missing", "announced", "repeated", "outOfOrder", "uninvited", "ordersDiffer"]
    ends = [sum(report["connections"][name].values()) for name in ["lost", "failed", "complaints"]]
    return sum(events[name] for name in names) + sum(ends)


def prices(stage, gateway):
    options = stage.options
    return load(
        stage, gateway, "--preset", "spread", "--connections", str(options.connections), "--duration", f"{options.seconds}s"
    )


def flood(stage):
    options = stage.options
    stage.redis(options.port)
    gateway = stage.gateway(options.port + 1, options.port, MESSAGE_RATE_LIMIT="0")
    rounds = []
    for number in range(options.rounds):
        print(f"round {number + 1}: prices alone", file=sys.stderr)
        alone = report_of(stage, prices(stage, gateway))
        print(f"round {number + 1}: beside the flood", file=sys.stderr)
        size = ["--members", str(options.members), "--talkers", str(options.members), "--rate", str(options.rate)]
        # Longer than the prices take, with their opening and their end.
        flooding = load(
            stage, gateway, "--preset", "lobby", *size, "--warmup", "2s", "--duration", f"{options.seconds + 15}s"
        )
        # "running": people talk.
        for line in flooding.stderr:
            if line.startswith("running"):
                break
        beside = report_of(stage, prices(stage, gateway))
        was_flooded = flooding.poll() is None
        crowd = report_of(stage, flooding)
        if not was_flooded:
            stage.fail("the flood ended before the prices did")
        rounds.append({"alone": alone, "beside": beside, "flood": crowd})
    if options.json:
        print(json.dumps(rounds, indent=1))
    return tell_flood(options, rounds, sys.stderr if options.json else sys.stdout)


def tell_flood(options, rounds, out):
    print(
        f"`spread` with {options.connections:,} connections, alone and beside a room of {options.members} who say {options.rate:,} messages "
        f"a second; {options.seconds} s each.\n",
        file=out,
    )
    print("| | p50, ms | p99, ms | of alone | lost | a second | CPU, % of a core |", file=out)
    print("|---|---:|---:|---:|---:|---:|---:|", file=out)
    ratios, losses, caveats = [], 0, set()
    for round_ in rounds:
        p99_alone = round_["alone"]["latencyUs"]["p99"]
        for name, report in round_.items():
            latency, losses_here = report["latencyUs"], lost(report)
            ratio = latency["p99"] / p99_alone if name == "beside" else None
            ratios += [ratio] if ratio else []
            losses += losses_here
            caveats |= {f"{name}: {caveat}" for caveat in report["caveats"]}
            print(
                f"| {name} | {latency['p50'] / 1e3:.2f} | {latency['p99'] / 1e3:.2f} | {f'{ratio:.2f}' if ratio else ''} "
                f"| {losses_here} | {report['published']['perSecond']:,.0f} published, {report['delivered']['perSecond']:,.0f} delivered "
                f"| {report['server']['cpuPercent'] or 0:.0f} |",
                file=out,
            )
    print(file=out)
    for caveat in sorted(caveats):
        print(f"- {caveat}", file=out)
    # What was left out, or waited behind others, was no flood.
    floods = [round_["flood"]["delivered"]["perSecond"] / options.members for round_ in rounds]
    is_flood = min(floods) >= FLOOD_PART * options.rate
    print(
        f"- {'ok' if is_flood else 'NOT REACHED'}: {min(floods):,.0f} messages a second came through in the room, of {options.rate:,} wanted", file=out
    )
    crowds = [round_["flood"] for round_ in rounds]
    told = {}
    for crowd in crowds:
        for why, count in crowd["connections"]["complaints"].items():
            told[why] = told.get(why, 0) + count
    told = ", ".join(f"{count} × {why}" for why, count in sorted(told.items())) or "nothing"
    print(f"- those who flood lost {sum(map(lost, crowds))} of what was said in their room, and were refused {told}", file=out)
    ratio = statistics.median(ratios)
    print(f"- {'ok' if losses == 0 else 'NOT KEPT'}: {losses} events lost, none promised", file=out)
    is_quick = ratio <= P99_RATIO_MAX
    print(
        f"- {'ok' if is_quick else 'NOT KEPT'}: p99 beside the flood {ratio:.2f} × alone (median of {len(ratios)}), at most {P99_RATIO_MAX:.0f} × promised",
        file=out,
    )
    return losses == 0 and is_quick and is_flood
