// socket.io-client, with nothing changed but the address. Prints what it is told as JSON, a line each; reads what to do as lines of JSON:
// {"emit": [name, ...values], "ack": true}, {"disconnect": true}, {"connect": true}, {"at_connect": [[name, ...values], ...]}: what it emits whenever it
// is connected, from then on.
const readline = require('node:readline');
const { io } = require('socket.io-client');

const [url, options] = process.argv.slice(2);
const socket = io(url, { reconnectionDelay: 50, reconnectionDelayMax: 200, randomizationFactor: 0, ...JSON.parse(options ?? '{}') });
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

const transport = () => socket.io.engine?.transport?.name;
let atConnect = [];
socket.on('connect', () => {
  for (const [name, ...values] of atConnect) socket.emit(name, ...values, (answer) => say({ resumed: name, answer }));
  say({ connect: socket.id, transport: transport() });
  if (transport() === 'websocket') say({ upgraded: transport() });
  else socket.io.engine.once('upgrade', () => say({ upgraded: transport() }));
});
socket.on('connect_error', (error) => say({ connect_error: error.message, data: error.data ?? null }));
socket.on('disconnect', (reason) => say({ disconnect: reason }));
socket.onAny((name, ...values) => say({ event: name, values }));

readline.createInterface({ input: process.stdin }).on('line', async (line) => {
  const order = JSON.parse(line);
  if (order.disconnect) socket.disconnect();
  if (order.connect) {
    if (order.auth) socket.auth = order.auth;
    socket.connect();
  }
  if (order.at_connect) atConnect = order.at_connect;
  if (!order.emit) return;
  const [name, ...values] = order.emit;
  if (order.ack) say({ ack: await socket.emitWithAck(name, ...values) });
  else socket.emit(name, ...values);
});
