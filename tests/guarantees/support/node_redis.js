// Publishes and subscribes through node-redis; prints what it got as one line of JSON.
// usage: NODE_PATH=… node node_redis.js PORT RESP [PASSWORD]
const { createClient } = require("redis");

const [port, resp, password] = process.argv.slice(2);
const connect = async () => {
  const socket = { host: "127.0.0.1", port: Number(port), reconnectStrategy: false };
  const client = createClient({ socket, password, RESP: Number(resp), name: "test" });
  client.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
  return client.connect();
};

async function main() {
  const subscriber = await connect();
  const publisher = await connect();
  const said = [];
  let done;
  const both = new Promise((resolve) => (done = resolve));
  const note = (payload, channel) => {
    said.push([channel, payload]);
    if (said.length === 2) done();
  };
  await subscriber.pSubscribe("channel:trade:*", note);
  await subscriber.subscribe("channel:news:ALL", note);
  const receivers = await Promise.all([
    publisher.publish("channel:trade:AAPL", '{"symbol":"AAPL","price":150.250}'),
    publisher.publish("channel:news:ALL", "extra"),
    publisher.publish("nobody", "x"),
  ]);
  await both;
  await subscriber.unsubscribe("channel:news:ALL");
  await subscriber.pUnsubscribe();
  const left = await publisher.publish("channel:news:ALL", "nobody hears this");
  const name = await publisher.sendCommand(["CLIENT", "GETNAME"]);
  const error = await publisher.get("key").catch((refused) => refused.message);
  await Promise.all([subscriber.close(), publisher.close()]);
  console.log(JSON.stringify({ receivers, said, left, name, error }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
