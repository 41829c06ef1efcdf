// The npm client `ws` as Finnhub's documentation shows it, and a new one after each that ends; says in lines of JSON what it gets.
// usage: finnhub_node.js URL SYMBOL..., then messages for the server on standard input
const WebSocket = require("ws");

const [url, ...symbols] = process.argv.slice(2);
const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
let socket;
const connect = () => {
  socket = new WebSocket(url);
  socket.addEventListener("open", () => {
    for (const symbol of symbols) socket.send(JSON.stringify({ type: "subscribe", symbol }));
  });
  socket.addEventListener("message", ({ data }) => say({ message: JSON.parse(data) }));
  socket.addEventListener("error", ({ message }) => say({ error: message }));
  socket.addEventListener("close", ({ code }) => {
    say({ code });
    setTimeout(connect, 100);
  });
};
connect();
require("node:readline")
  .createInterface({ input: process.stdin })
  .on("line", (line) => socket.send(line))
  .on("close", () => process.exit(0));
