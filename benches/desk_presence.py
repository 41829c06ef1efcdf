"""Who is there, by gossip and by keys: what benches/desk presence measures."""

import base64
import json
import os
import pathlib
import resource
import selectors
import socket
import sys
import threading
import time

from desk_stage import Redis


# How the models keep keys: so long they live, and so often they are refreshed.
KEY_SECONDS, REFRESH_SECONDS = 45, 15
# How often a gateway tells of itself: as the gossip's beat.
BEAT_SECONDS = 5


class Users:
    """Connections of users, which are read so that nobody is slow, and say nothing by themselves but pongs."""

    MASK = b"\0\0\0\0"

    def __init__(self):
        self.selector, self.joined, self.counts = selectors.DefaultSelector(), 0, {}
        self.is_over = False
        self.thread = threading.Thread(target=self.read_all, daemon=True)
        self.thread.start()

    @classmethod
    def frame(cls, text, opcode=1):
        # A mask of zeroes is one.
        length = bytes([0x80 | len(text)]) if len(text) < 126 else b"\xfe" + len(text).to_bytes(2, "big")
        return bytes([0x80 | opcode]) + length + cls.MASK + text

    def come(self, port, rooms):
        stream = socket.create_connection(("127.0.0.1", port), timeout=20)
        key = base64.b64encode(os.urandom(16)).decode()
        stream.sendall(
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        answer = b""
        while b"\r\n\r\n" not in answer:
            piece = stream.recv(4_096)
            if not piece:
                raise OSError("the handshake was refused")
            answer += piece
        if b" 101 " not in answer.split(b"\r\n", 1)[0]:
            raise OSError(answer.split(b"\r\n", 1)[0].decode())
        joins = [{"type": "join_room", "payload": {"room_id": room}, "id": "join"} for room in rooms]
        stream.sendall(b"".join(self.frame(json.dumps(join).encode()) for join in joins))
        stream.setblocking(False)
        self.selector.register(stream, selectors.EVENT_READ, bytearray())
        return stream

    def ask(self, stream, room):
        request = {"type": "presence", "payload": {"room_id": room}, "id": "ask"}
        stream.send(self.frame(json.dumps(request).encode()))

    def read_all(self):
        while not self.is_over:
            for key, _ in self.selector.select(0.1):
                try:
                    piece = key.fileobj.recv(65_536)
                except OSError:
                    piece = b""
                if not piece:
                    self.selector.unregister(key.fileobj)
                    continue
                key.data.extend(piece)
                self.take(key.fileobj, key.data)

    def take(self, stream, data):
        begin = 0
        while len(data) - begin >= 2:
            length, header = data[begin + 1] & 127, 2
            if length == 126:
                length, header = int.from_bytes(data[begin + 2 : begin + 4], "big"), 4
            if len(data) - begin < header + length:
                break
            opcode, text = data[begin] & 15, bytes(data[begin + header : begin + header + length])
            begin += header + length
            if opcode == 9:
                stream.send(self.frame(text, 10))
            elif b'"id":"join"' in text and b'"success"' in text:
                self.joined += 1
            elif b'"id":"ask"' in text:
                self.counts[stream] = json.loads(text)["count"]
        del data[:begin]


def by_gossip(stage):
    options = stage.options
    redis = stage.redis(options.port)
    everyone = options.gateways * options.users
    rooms = max(options.rooms, everyone * options.rooms // options.room_size)
    gateways = [
        stage.gateway(options.port + 10 + at, options.port, SHARDS="1", CONTROL_THREADS="1", STATS_INTERVAL="0")
        for at in range(options.gateways)
    ]
    users, streams = Users(), []
    # Rooms far from each other, so that a room has users of many gateways.
    rooms_of = lambda user: [f"room-{(user + n * (rooms // options.rooms)) % rooms}" for n in range(options.rooms)]
    begin = time.monotonic()
    for user in range(everyone):
        streams.append(users.come(options.port + 10 + user // options.users, rooms_of(user)))
        if user % 500 == 499:
            print(f"gossip: {user + 1} users are here, {users.joined} joins", file=sys.stderr)
    stage.until(lambda: users.joined == everyone * options.rooms, f"the last of {everyone * options.rooms} joins ({users.joined})")
    # Every gateway knows how many are in a room.
    sizes = {}
    for user in range(everyone):
        for room in rooms_of(user):
            sizes[room] = sizes.get(room, 0) + 1
    for at in range(options.gateways):
        user = at * options.users
        room, stream = rooms_of(user)[0], streams[at * options.users]

        def knows():
            users.ask(stream, room)
            time.sleep(0.1)
            return users.counts.get(stream) == sizes[room]

        stage.until(knows, f"gateway {at}'s knowledge of {sizes[room]} users in {room} ({users.counts.get(stream)})")
    print(f"gossip: all know all after {time.monotonic() - begin:.0f} s", file=sys.stderr)
    time.sleep(BEAT_SECONDS)
    before = gateways_cpu(gateways)
    figures = redis.measured(options.seconds)
    figures["gatewaysMs"] = (gateways_cpu(gateways) - before) / 1e6 / options.seconds
    figures["delivered"] = figures["published"] * options.gateways
    users.is_over = True
    users.thread.join()
    for stream in streams:
        stream.close()
    return figures


def gateways_cpu(gateways):
    tasks = [pathlib.Path(f"/proc/{gateway.pid}/task").iterdir() for gateway in gateways]
    return sum(int((thread / "schedstat").read_text().split()[0]) for threads in tasks for thread in threads)


def by_keys(stage, port, write, turn):
    """A model: `write` what is written once, then each gateway's `turn` ten times a second, against a Redis of its own."""
    options = stage.options
    redis = stage.redis(port)
    redis.ask([b"CONFIG", b"SET", b"notify-keyspace-events", b"Ex"])
    # Each gateway hears of keys that have ended, as it would in such a design; nothing ends here.
    listeners = [Redis(port) for _ in range(options.gateways)]
    for listener in listeners:
        listener.send([[b"SUBSCRIBE", b"__keyevent@0__:expired"]])
    gateways = [Redis(port) for _ in range(options.gateways)]
    for at, gateway in enumerate(gateways):
        commands = write(at)
        for begin in range(0, len(commands), 500):
            part = commands[begin : begin + 500]
            gateway.send(part)
            for _ in part:
                gateway.reply()
    is_over, late = threading.Event(), []

    def run():
        begin, number = time.monotonic(), 0
        while not is_over.wait(max(0, begin + number / 10 - time.monotonic())):
            asked = [(gateway, turn(at, number)) for at, gateway in enumerate(gateways)]
            for gateway, commands in asked:
                if commands:
                    gateway.send(commands)
            for gateway, commands in asked:
                for _ in commands:
                    gateway.reply()
            number += 1
            late.append(time.monotonic() - begin - number / 10)

    running = threading.Thread(target=run)
    running.start()
    time.sleep(1)
    figures = redis.measured(options.seconds)
    is_over.set()
    running.join()
    if late[-1] > 1:
        print(f"benches/desk: the model is {late[-1]:.1f} s late: the machine is too busy for it", file=sys.stderr)
    return {**figures, "delivered": 0.0, "gatewaysMs": None}


def nothing(stage):
    return by_keys(stage, stage.options.port + 1, lambda _: [], lambda *_: [])


def key_for_each_pair(stage):
    options = stage.options
    pairs = options.users * options.rooms
    ttl = str(KEY_SECONDS).encode()
    key = lambda at, n: [b"SET", b"presence:room-%d:user-%d" % (n, at * options.users + n // options.rooms), b"%d" % at, b"EX", ttl]
    # A tenth of a second's part of all pairs, all of them in each refresh.
    turns = REFRESH_SECONDS * 10

    def turn(at, number):
        of = number % turns
        return [key(at, n) for n in range(pairs * of // turns, pairs * (of + 1) // turns)]

    return by_keys(stage, options.port + 2, lambda at: [key(at, n) for n in range(pairs)], turn)


def key_for_each_gateway(stage):
    options = stage.options
    ttl = str(KEY_SECONDS).encode()
    alive = [b"presence:gateway-%d" % at for at in range(options.gateways)]
    pair = lambda at, n: [b"HSET", b"presence:%d" % at, b"room-%d user-%d" % (n, at * options.users + n // options.rooms), b"1"]

    def turn(at, number):
        # Each at another moment.
        if number % (BEAT_SECONDS * 10) != at % (BEAT_SECONDS * 10):
            return []
        return [[b"SET", alive[at], b"1", b"EX", ttl], [b"MGET", *alive]]

    return by_keys(stage, options.port + 3, lambda at: [pair(at, n) for n in range(options.users * options.rooms)], turn)


def presence(stage):
    options = stage.options
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    rows = []
    for name, ask in [
        ("nothing: a Redis with as many connections", nothing),
        ("gossip, as built", by_gossip),
        (f"a key for each user in a room, {KEY_SECONDS} s, refreshed each {REFRESH_SECONDS} s (model)", key_for_each_pair),
        (f"a key for each gateway, set and looked at each {BEAT_SECONDS} s (model)", key_for_each_gateway),
    ]:
        print(name, file=sys.stderr)
        rows.append({"design": name, **ask(stage)})
    if options.json:
        print(json.dumps(rows, indent=1))
        return True
    print(f"{options.gateways} gateways with {options.users} users in {options.rooms} rooms each, nothing changes, {options.seconds} s each.\n")
    print("| who is there | commands to Redis a second | of them PUBLISH | deliveries a second | bytes from Redis a second | Redis CPU a second, ms |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        print(
            f"| {row['design']} | {row['commands']:,.1f} | {row['published']:,.1f} | {row['delivered']:,.0f} | {row['bytes']:,.0f} | {row['cpuMs']:.2f} |"
        )
    print(f"\n- All {options.gateways} gateways together took {rows[1]['gatewaysMs']:.1f} ms of processor time a second meanwhile.")
    return True
