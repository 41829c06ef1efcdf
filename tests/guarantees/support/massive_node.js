// @massive.com/client-js as its documentation shows it; says in lines of JSON what it gets.
// usage: massive_node.js URL MARKET KEY, then messages for the server on standard input
const { pathToFileURL } = require("node:url");

const [url, market, key] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
const path = `${process.env.NODE_PATH}/@massive.com/client-js/dist/main.js`;
import(pathToFileURL(path)).then(({ websocketClient }) => {
  const socket = websocketClient(key, url)[market]();
  socket.onmessage = ({ data }) => say(JSON.parse(data));
  socket.onclose = ({ code }) => say({ code });
  require("node:readline")
    .createInterface({ input: process.stdin })
    .on("line", (line) => socket.send(line))
    .on("close", () => process.exit(0));
});
