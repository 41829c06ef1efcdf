"""What benches/desk starts, to be ended: gateways and Redis, with a connection that Redis is asked on."""

import os
import pathlib
import socket
import subprocess
import sys
import time
import urllib.request

from built import binaries


class Stage:
    """What was started, to be ended."""

    def __init__(self, options, work):
        self.options, self.work, self.started = options, work, []
        self.bin, self.log = binaries(options.bin), open(work / "log", "ab")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in reversed(self.started):
            process.terminate()
        for process in self.started:
            process.wait()
        self.log.close()

    def start(self, command, **settings):
        env = {name: value for name, value in os.environ.items() if name != "JWT_SECRET_KEY"}
        process = subprocess.Popen(command, cwd=self.work, env={**env, **settings}, stdout=self.log, stderr=self.log)
        self.started.append(process)
        return process

    def redis(self, port):
        self.start(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""])
        return self.until(lambda: Redis(port), f"Redis at {port}")

    def gateway(self, port, redis_port, **settings):
        own = {"WS_HOST": "127.0.0.1", "WS_PORT": str(port), "REDIS_URL": f"redis://127.0.0.1:{redis_port}", "DESK": "true"}
        process = self.start([self.bin / "ws-gateway"], **own, **settings)
        self.until(lambda: urllib.request.urlopen(f"http://127.0.0.1:{port}/ready", timeout=1).close() or True, "a gateway")
        return process

    def until(self, ask, what):
        for _ in range(300):
            try:
                if answer := ask():
                    return answer
            except OSError:
                pass
            time.sleep(0.1)
        self.fail(f"{what} does not come")

    def fail(self, why):
        self.log.flush()
        sys.exit(f"benches/desk: {why}\n{(self.work / 'log').read_text(errors='replace')[-3_000:]}")


class Redis:
    """A connection that commands are sent on, and its replies read."""

    def __init__(self, port):
        self.stream = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.replies = self.stream.makefile("rb")
        self.ask([b"PING"])

    def send(self, commands):
        parts = []
        for command in commands:
            parts.append(b"*%d\r\n" % len(command))
            parts += [b"$%d\r\n%s\r\n" % (len(word), word) for word in command]
        self.stream.sendall(b"".join(parts))

    def ask(self, command):
        self.send([command])
        return self.reply()

    def reply(self):
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind == b"-":
            raise RuntimeError(rest.decode())
        if kind == b"$":
            return None if rest == b"-1" else self.replies.read(int(rest) + 2)[:-2]
        if kind == b"*":
            return [self.reply() for _ in range(int(rest))]
        return rest

    def figures(self):
        """Commands, of which how many published; bytes out; processor time in ns, all threads."""
        info = {}
        for section in [b"stats", b"server", b"commandstats"]:
            for line in self.ask([b"INFO", section]).decode().splitlines():
                name, _, value = line.partition(":")
                info[name] = value
        publish = info.get("cmdstat_publish", "calls=0").split(",")[0].removeprefix("calls=")
        threads = pathlib.Path(f"/proc/{info['process_id']}/task").iterdir()
        cpu = sum(int((thread / "schedstat").read_text().split()[0]) for thread in threads)
        return {
            "commands": int(info["total_commands_processed"]),
            "published": int(publish),
            "bytes": int(info["total_net_output_bytes"]),
            "cpuNs": cpu,
            "at": time.monotonic(),
        }

    def measured(self, seconds):
        before = self.figures()
        time.sleep(seconds)
        after = self.figures()
        wall = after["at"] - before["at"]
        # Our own three looks are none of it.
        per = {name: (after[name] - before[name] - (3 if name == "commands" else 0)) / wall for name in ["commands", "published", "bytes"]}
        return {**per, "cpuMs": (after["cpuNs"] - before["cpuNs"]) / 1e6 / wall}
