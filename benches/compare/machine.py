"""What was measured on, and what was measured: hardware, kernel, versions of everything."""

import json
import os
import platform
import re
import subprocess
from pathlib import Path

from peers import Peer


def facts() -> dict[str, str]:
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    memory_kib = re.search(r"MemTotal:\s*(\d+)", Path("/proc/meminfo").read_text())
    return {
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": cpu[1] if cpu else platform.machine(),
        "memory": f"{int(memory_kib[1]) / 1048576:.0f} GiB" if memory_kib else "unknown",
        "kernel": f"{platform.system()} {platform.release()}",
        # What else runs changes what a wake-up costs, and with it everything: it should be near 0.
        "load average before": f"{os.getloadavg()[0]:.2f}",
    }


def first_line(*command: str, env: dict | None = None) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=env)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"unknown ({error})"
    return (done.stdout or done.stderr).strip().partition("\n")[0]


def deb(cache: Path, package: str) -> str:
    path = cache / "debs" / f".{package}"
    return path.read_text().strip() if path.exists() else "unknown"


def versions(target: Path, peers: list[Peer]) -> dict[str, str]:
    cache = target / "compare"
    here = Path(__file__).parent
    found = {
        "ws-gateway": f"{first_line('git', 'describe', '--always', '--dirty')}, {first_line('rustc', '--version')}",
        "Redis": re.sub(r".*v=(\S+).*", r"\1", first_line("redis-server", "--version")),
    }
    for peer in peers:
        match peer.kind:
            case "floor":
                found["raw-send floor"] = first_line("cc", "--version")
            case "node":
                lock = json.loads((here / "node/package-lock.json").read_text())["packages"]
                modules = ", ".join(f"{name} {lock[f'node_modules/{name}']['version']}" for name in ("ws", "ioredis"))
                found["Node"] = f"{first_line('node', '--version')}, {modules}"
            case "uws":
                package = re.search(r"^socketify==(\S+)", (here / "uws/requirements.txt").read_text(), re.M)
                found["µWebSockets"] = (f"of socketify {package[1]}, libuv {deb(cache, 'libuv1')}, "
                                        f"hiredis {deb(cache, 'libhiredis-dev')}")
            case "nats":
                found["nats-server"] = deb(cache, "nats-server")
            case _ if peer.binary:
                found[peer.name] = f"{first_line(peer.binary, '--version')} at {peer.binary}"
    return found
