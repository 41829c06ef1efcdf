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
  let waiting = () => {};
  const heard = (count) =>
    new Promise((resolve) => {
      waiting = () => said.length >= count && resolve();
      waiting();
    });
  const note = (...message) => {
    said.push(message);
    waiting();
  };
  subscriber.on("pmessage", (pattern, channel, payload) => note("pmessage", pattern, channel, payload));
  subscriber.on("message", (channel, payload) => note("message", null, channel, payload));
  const counts = [await subscriber.psubscribe("channel:trade:*"), await subscriber.subscribe("channel:news:ALL")];
  const receivers = await Promise.all([
    publisher.publish("channel:trade:AAPL", '{"symbol":"AAPL","price":150.250}'),
    publisher.publish("channel:news:ALL", "extra"),
    publisher.publish("nobody", "x"),
  ]);
  await heard(2);
  // Sent as one, and command by command.
  const together = await publisher.multi().publish("channel:trade:MSFT", "0").ping().publish("nobody", "1").exec();
  await publisher.multi({ pipeline: false });
  const queued = await publisher.publish("channel:trade:MSFT", "2");
  together.push([queued, await publisher.exec()]);
  await heard(4);
  counts.push(await subscriber.unsubscribe("channel:news:ALL"), await subscriber.punsubscribe());
  const name = await publisher.client("GETNAME");
  const error = await publisher.get("key").catch((refused) => refused.message);
  await Promise.all([subscriber.quit(), publisher.quit()]);
  console.log(JSON.stringify({ counts, receivers, together, said, name, error }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
