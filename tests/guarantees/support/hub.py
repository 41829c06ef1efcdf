"""Runs an endpoint of a FastAPI hub as its example is written, and calls it. What the example imports from its application is here: redis-py's
client of asyncio publishes where the gateway looks, and messages are what their names say.

usage: hub.py PORT CODE ARGUMENT…
"""

import asyncio
import json
import sys
import types

import redis.asyncio

port, code, arguments = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
endpoints = []


class Routes:
    def post(self, path):
        return lambda endpoint: endpoints.append(endpoint) or endpoint


class Names:
    """Any name of a message is the type that it says."""

    def __getattr__(self, name):
        return name.lower()


class WSMessage:
    def __init__(self, event_id, data, type=None):
        self.said = {"type": type or self.kind, "event_id": event_id, "data": data}


class TaskStatusUpdate(WSMessage):
    kind = "task_status_update"


class RedisPubSub:
    def __init__(self):
        self.redis = redis.asyncio.Redis(host="127.0.0.1", port=port)

    async def publish_broadcast(self, message):
        await self.redis.publish("channel:broadcast", json.dumps(message.said))

    async def publish_to_user(self, user_id, message):
        await self.redis.publish(f"channel:user:{user_id}", json.dumps(message.said))


async def main():
    modules = {
        "app": {},
        "app.websocket": {},
        "app.websocket.redis_pubsub": {"redis_pubsub": RedisPubSub()},
        "app.websocket.message_types": {
            "TaskStatusUpdate": TaskStatusUpdate, "WSMessage": WSMessage, "MessageType": Names()},
    }
    for name, has in modules.items():
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(has)
    exec(code, {"app": Routes()})
    [endpoint] = endpoints
    print(json.dumps(await endpoint(*arguments)))


asyncio.run(main())
