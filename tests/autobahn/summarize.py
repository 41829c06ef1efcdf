"""Turns index.json of the Autobahn suite, or several of runs of different cases, into a summary, and into an exit status: 1 if any case failed."""

import argparse
import collections
import datetime
import json
import pathlib
import re
import subprocess
import sys

# Number, what it is about, and how many cases it has.
GROUPS = {
    1: ("Framing", 16),
    2: ("Pings and pongs", 11),
    3: ("Reserved bits", 7),
    4: ("Opcodes", 10),
    5: ("Fragmentation", 20),
    6: ("UTF-8 handling", 145),
    7: ("Close handshake", 37),
    9: ("Limits and performance", 54),
    10: ("Automatic fragmentation", 1),
    12: ("Compression, offered without parameters", 90),
    13: ("Compression, offered with parameters", 126),
}

# What a case may come to, for its messages and for its close. Anything else (FAILED, UNCLEAN, WRONG CODE, ...) has failed. UNIMPLEMENTED is
# an offer of compression that is declined.
PASSED = ["OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED"]


def verdict(case):
    """A case is as good as the worse of its messages and its close, unless it is for information only."""
    behaviors = (case["behavior"], case["behaviorClose"])
    if not set(behaviors) <= set(PASSED):
        return "FAILED"
    return next(worst for worst in reversed(PASSED) if worst in behaviors)


def versions(repo):
    def run(*command):
        return subprocess.run(command, cwd=repo, check=True, capture_output=True, text=True).stdout

    lock = (repo / "Cargo.lock").read_text()
    tungstenite = re.search(r'name = "tungstenite"\nversion = "(.*)"', lock).group(1)
    pins = (repo / "tests/autobahn/requirements.txt").read_text()
    suite = re.search(r"^autobahntestsuite==(.*)$", pins, re.MULTILINE).group(1)
    ours = json.loads(run("cargo", "metadata", "--format-version", "1", "--no-deps"))
    ours = next(package["version"] for package in ours["packages"] if package["name"] == "ws-gateway")
    rustc = run("rustc", "--version").split()[1]
    return f"ws-gateway {ours}, tungstenite {tungstenite} (headers), rustc {rustc}, autobahntestsuite {suite} on Python 2.7"


# The servers of fuzzingclient.json, and what the summary calls them.
AGENTS = {"ws": "Over TCP", "wss": "Over TLS"}


def summary(agents, versions):
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    lines = [
        "# Autobahn test suite",
        "",
        "The frame reader of the gateway, with its transport and close frames, behind an echo server"
        " (`examples/autobahn_echo.rs`), over TCP as it is and under TLS.",
        "A case counts as failed if its messages or its close do. UNIMPLEMENTED are cases that offer compression only with"
        " `server_max_window_bits`: the gateway declines that.",
        "",
        f"Written by `tests/autobahn/run` on {today}: {versions}.",
    ]
    for agent, heading in AGENTS.items():
        lines += ["", f"## {heading}", "", *table(agents[agent])]
    return "\n".join(lines) + "\n"


def table(cases):
    lines = [
        "| group | what | cases | OK | NON-STRICT | INFORMATIONAL | UNIMPLEMENTED | FAILED |",
        "|---|---|---:|---:|---:|---:|---:|---:|",
    ]
    columns = [*PASSED, "FAILED"]
    totals = dict.fromkeys(columns, 0)
    for group, (name, _) in GROUPS.items():
        verdicts = [verdict(case) for number, case in cases.items() if group_of(number) == group]
        if not verdicts:
            continue
        counts = {column: verdicts.count(column) for column in columns}
        totals = {column: totals[column] + counts[column] for column in columns}
        lines.append(row(group, name, len(verdicts), *counts.values()))
    lines.append(row("", "all", len(cases), *totals.values()))
    for column in columns[1:]:
        numbers = sorted((number for number in cases if verdict(cases[number]) == column), key=natural)
        if numbers:
            lines += ["", f"{column}: {', '.join(ranges(numbers))}."]
    return lines


def ranges(numbers):
    """Case numbers in order, those that follow one another as one: 13.3.1–13.3.18."""
    runs = []
    for number in numbers:
        *group, last = natural(number)
        if runs and [*group, last - 1] == natural(runs[-1][1]):
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [first if first == last else f"{first}–{last}" for first, last in runs]


def row(*cells):
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def group_of(number):
    return int(number.split(".")[0])


def natural(number):
    return [int(part) for part in number.split(".")]


def merged(indexes):
    """The cases of all runs, by agent."""
    agents = {agent: {} for agent in AGENTS}
    for index in indexes:
        found = json.loads(pathlib.Path(index).read_text())
        if set(found) != set(AGENTS):
            sys.exit(f"summarize.py: {index} is about {sorted(found)}, expected {sorted(AGENTS)}")
        for agent, cases in found.items():
            twice = agents[agent].keys() & cases.keys()
            if twice:
                sys.exit(f"summarize.py: {index} has cases that another has: {', '.join(ranges(sorted(twice, key=natural)))}")
            agents[agent] |= cases
    return agents


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--whole", action="store_true", help="all cases of every group have to be there")
    parser.add_argument("summary", type=pathlib.Path)
    parser.add_argument("index", nargs="+", help="index.json of a run")
    return parser.parse_args()


def main(target, indexes, is_whole):
    agents = merged(indexes)
    for agent, cases in agents.items():
        found = collections.Counter(map(group_of, cases))
        missing = [f"{count - found[group]} of group {group}" for group, (_, count) in GROUPS.items() if found[group] < count]
        if is_whole and missing:
            sys.exit(f"summarize.py: {agent} lacks cases: {', '.join(missing)}")
    repo = pathlib.Path(__file__).resolve().parents[2]
    target.parent.mkdir(exist_ok=True)
    text = summary(agents, versions(repo))
    target.write_text(text)
    print(text)
    failed = [(agent, number) for agent, cases in agents.items() for number in cases if verdict(cases[number]) == "FAILED"]
    for agent, number in sorted(failed, key=lambda case: (case[0], natural(case[1]))):
        case = agents[agent][number]
        print(f"failed: {number} over {agent}:// ({case['behavior']}, close {case['behaviorClose']})", file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    options = arguments()
    main(options.summary, options.index, options.whole)
