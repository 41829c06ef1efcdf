// What a team that knows Node, `ws` and ioredis would write instead of ws-gateway, and would have tuned: the peer that
// most people have. Frames are built once and shared; buffers, not strings, all the way; one system call a socket and tick;
// no compression; slow clients are bounded. Unlike ws-gateway it believes its upstream: trades are not checked.
//
//   node gateway.js WS_PORT REDIS_PORT

import { createServer } from 'node:http';
import { Redis } from 'ioredis';
import { Sender, WebSocketServer } from 'ws';

const [wsPort, redisPort] = process.argv.slice(2).map(Number);
const CHANNEL_PREFIX = 'channel:trade:';
const MAX_SYMBOLS = Number(process.env.MAX_SYMBOLS_PER_CLIENT ?? 5);
const MAX_OUTBOX_BYTES = 4 * 1024 * 1024;
const PING_INTERVAL_MS = 30_000;

/** symbol → clients that want it */
const subscribers = new Map();
/** Sockets that have been written to in this tick. */
const corked = [];

const HEAD = Buffer.from('{"type":"trade","data":');
const TEXT_FRAME = { fin: true, rsv1: false, opcode: 1, mask: false, readOnly: true };

function frameOf(payload) {
  const tail = Buffer.from(`,"timestamp":${Date.now()}}`);
  return Buffer.concat(Sender.frame(Buffer.concat([HEAD, payload, tail]), TEXT_FRAME));
}

function uncorkAll() {
  for (const socket of corked) socket.uncork();
  corked.length = 0;
}

function onTrade(channel, payload) {
  const clients = subscribers.get(channel.latin1Slice(CHANNEL_PREFIX.length));
  if (clients === undefined) return;
  const frame = frameOf(payload);
  for (const client of clients) {
    const socket = client._socket;
    if (socket.writableLength > MAX_OUTBOX_BYTES) {
      client.close(1013, 'slow client');
      continue;
    }
    // ioredis emits all that one read brought in one tick: it leaves in one writev a socket.
    if (socket.writableCorked === 0) {
      if (corked.length === 0) process.nextTick(uncorkAll);
      socket.cork();
      corked.push(socket);
    }
    socket.write(frame);
  }
}

function reply(client, body) {
  client.send(JSON.stringify({ ...body, timestamp: Date.now() }));
}

function refuse(client, message, code) {
  reply(client, { type: 'error', message, code });
}

function unsubscribe(client, symbol) {
  const clients = subscribers.get(symbol);
  clients?.delete(client);
  if (clients?.size === 0) subscribers.delete(symbol);
  return client.symbols.delete(symbol);
}

function onSubscribe(client, symbols) {
  const wanted = new Set([...client.symbols, ...symbols]);
  if (wanted.size > MAX_SYMBOLS) {
    return refuse(client, `Cannot subscribe: would exceed maximum of ${MAX_SYMBOLS} symbols`, 'SYMBOL_LIMIT_EXCEEDED');
  }
  client.symbols = wanted;
  for (const symbol of symbols) {
    let clients = subscribers.get(symbol);
    if (clients === undefined) subscribers.set(symbol, (clients = new Set()));
    clients.add(client);
  }
  reply(client, {
    type: 'success',
    message: `Successfully subscribed to ${symbols.length} symbol(s)`,
    data: { subscribed: symbols, currentSubscriptions: [...wanted] },
  });
}

function onUnsubscribe(client, symbols) {
  const unsubscribed = symbols.filter((symbol) => unsubscribe(client, symbol));
  reply(client, {
    type: 'success',
    message: `Successfully unsubscribed from ${unsubscribed.length} symbol(s)`,
    data: { unsubscribed, currentSubscriptions: [...client.symbols] },
  });
}

function onMessage(client, data) {
  let request;
  try {
    request = JSON.parse(data);
  } catch {
    return refuse(client, 'not JSON', 'INVALID_JSON');
  }
  if (request?.action === 'ping') return reply(client, { type: 'pong' });
  const handle = { subscribe: onSubscribe, unsubscribe: onUnsubscribe }[request?.action];
  if (handle === undefined) return refuse(client, 'unknown action', 'UNKNOWN_ACTION');
  const { symbols } = request;
  if (!Array.isArray(symbols) || symbols.length === 0 || !symbols.every((symbol) => /^[A-Za-z0-9._-]{1,64}$/.test(symbol))) {
    return refuse(client, '"symbols" is not a list of symbols', 'INVALID_INPUT');
  }
  handle(client, [...new Set(symbols.map((symbol) => symbol.toUpperCase()))]);
}

const http = createServer((_request, response) => response.writeHead(426).end());
const server = new WebSocketServer({ server: http, perMessageDeflate: false, clientTracking: true, maxPayload: 65536 });

server.on('connection', (client) => {
  client.symbols = new Set();
  client.isAlive = true;
  client._socket.setNoDelay(true);
  client.on('message', (data) => onMessage(client, data));
  client.on('pong', () => (client.isAlive = true));
  client.on('close', () => client.symbols.forEach((symbol) => unsubscribe(client, symbol)));
  client.on('error', () => client.terminate());
});

setInterval(() => {
  for (const client of server.clients) {
    if (!client.isAlive) client.terminate();
    client.isAlive = false;
    client.ping();
  }
}, PING_INTERVAL_MS);

const redis = new Redis({ host: '127.0.0.1', port: redisPort });
redis.on('error', (error) => console.error(`redis at port ${redisPort}: ${error.message}`));
redis.on('pmessageBuffer', (_pattern, channel, payload) => onTrade(channel, payload));
await redis.psubscribe(`${CHANNEL_PREFIX}*`);
http.listen({ port: wsPort, host: '127.0.0.1', backlog: 4096 });
