// Publishes and subscribes through ioredis; prints what it got as one line of JSON.
// usage: NODE_PATH=… node ioredis.js PORT [PASSWORD]
const Redis = require("ioredis");

const [port, password] = process.argv.slice(2);
const connect = () =>
  new Redis({ host: "127.0.0.1", port: Number(port), password, connectionName: "test", retryStrategy: null });

async function main() {
  const subscriber = connect();
  const publisher = connect();
  const said = [];
  let done;
  const both = new Promise((resolve) => (done = resolve));
  const note = (...message) => {
    said.push(message);
    if (said.length === 2) done();
  };
  subscriber.on("pmessage", (pattern, channel, payload) => note("pmessage", pattern, channel, payload));
  subscriber.on("message", (channel, payload) => note("message", null, channel, payload));
  const counts = [await subscriber.psubscribe("channel:trade:*"), await subscriber.subscribe("channel:news:ALL")];
  const receivers = await Promise.all([
    publisher.publish("channel:trade:AAPL", '{"symbol":"AAPL","price":150.250}'),
    publisher.publish("channel:news:ALL", "extra"),
    publisher.publish("nobody", "x"),
  ]);
  await both;
  counts.push(await subscriber.unsubscribe("channel:news:ALL"), await subscriber.punsubscribe());
  const name = await publisher.client("GETNAME");
  const error = await publisher.get("key").catch((refused) => refused.message);
  await Promise.all([subscriber.quit(), publisher.quit()]);
  console.log(JSON.stringify({ counts, receivers, said, name, error }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
