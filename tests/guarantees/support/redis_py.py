"""Publishes and subscribes through redis-py as workers and tools do; prints what it got as one line of JSON.

usage: redis_py.py PORT [PASSWORD]
"""

import json
import sys

import redis

port = int(sys.argv[1])
password = sys.argv[2] if len(sys.argv) > 2 else None


def connect():
    return redis.StrictRedis(host="127.0.0.1", port=port, db=0, password=password)


def next_message(pubsub):
    message = pubsub.get_message(timeout=10)
    assert message is not None, "no message within ten seconds"
    text = lambda value: value.decode() if isinstance(value, bytes) else value
    return {key: text(message[key]) for key in ("type", "pattern", "channel", "data")}


client = connect()
pubsub = client.pubsub()
pubsub.subscribe("channel:news:ALL")
pubsub.psubscribe("channel:trade:*")
said = [next_message(pubsub) for _ in range(2)]

publisher = connect()
assert publisher.ping() is True
receivers = [publisher.publish("channel:trade:AAPL", '{"symbol":"AAPL","price":150.250}')]
pipeline = publisher.pipeline(transaction=False)
pipeline.publish("channel:news:ALL", b"\x00\xff\r\n".hex())
pipeline.publish("nobody", "x")
receivers += pipeline.execute()
# MULTI and EXEC, redis-py's default.
transaction = publisher.pipeline()
for i in range(3):
    transaction.publish("channel:trade:MSFT", str(i))
transaction.ping()
together = transaction.execute()
said += [next_message(pubsub) for _ in range(5)]

channels = [name.decode() for name in publisher.pubsub_channels()]
numsub = [[name.decode(), n] for name, n in publisher.pubsub_numsub("channel:news:ALL", "nobody")]
numpat = publisher.pubsub_numpat()
assert publisher.info()["loading"] == 0
assert publisher.echo("hello") == b"hello"
pubsub.unsubscribe("channel:news:ALL")
pubsub.punsubscribe("channel:trade:*")
said += [next_message(pubsub) for _ in range(2)]

try:
    publisher.get("key")
    error = None
except redis.ResponseError as refused:
    error = str(refused)

print(
    json.dumps(
        {
            "said": [[m["type"], m["pattern"], m["channel"], m["data"]] for m in said],
            "receivers": receivers,
            "together": together,
            "channels": channels,
            "numsub": numsub,
            "numpat": numpat,
            "error": error,
        }
    )
)
