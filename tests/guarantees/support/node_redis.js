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
  let waiting = () => {};
  const heard = (count) =>
    new Promise((resolve) => {
      waiting = () => said.length >= count && resolve();
      waiting();
    });
  const note = (payload, channel) => {
    said.push([channel, payload]);
    waiting();
  };
  await subscriber.pSubscribe("channel:trade:*", note);
  await subscriber.subscribe("channel:news:ALL", note);
  const receivers = await Promise.all([
    publisher.publish("channel:trade:AAPL", '{"symbol":"AAPL","price":150.250}'),
    publisher.publish("channel:news:ALL", "extra"),
    publisher.publish("nobody", "x"),
  ]);
  await heard(2);
  const together = await publisher.multi().publish("channel:trade:MSFT", "0").ping().publish("nobody", "1").exec();
  await heard(3);
  const clients = (await publisher.clientList()).map((client) => client.name);
  await subscriber.unsubscribe("channel:news:ALL");
  await subscriber.pUnsubscribe();
  const left = await publisher.publish("channel:news:ALL", "nobody hears this");
  const name = await publisher.sendCommand(["CLIENT", "GETNAME"]);
  const error = await publisher.get("key").catch((refused) => refused.message);
  await Promise.all([subscriber.close(), publisher.close()]);
  console.log(JSON.stringify({ receivers, together, clients, said, left, name, error }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
