"use strict";
const $ = (id) => document.getElementById(id);
const STORE = "ws-gateway.symbols", STORE_TYPES = "ws-gateway.types", STORE_RATE = "ws-gateway.rate", STORE_TOKEN = "ws-gateway.token";
const RETRY_MIN_MS = 500, RETRY_MAX_MS = 30000;
const FIRST_VISIT = ["AAPL", "GOOGL", "MSFT"]; // Something to see at once; the demo trades them.
const NEVER_AGAIN = new Set([1002, 1007, 1008, 1009]); // The contract: not unchanged.
const SUBPROTOCOL = /^[\w!#$%&'*+.^`|~-]+$/; // What may stand there; an API key with a secret may not, and goes in a message.
const ROWS_MAX = 500; // A pattern may bring any number of symbols, a page has room for so many.
const NEWS_MAX = 8, ITEM_MAX = 200;
const MARKET = new Set(["trade", "quote", "candle", "news", "halt"]); // The others are the workers' own: any JSON objects.
const TYPES = document.querySelector("meta[name=channel-types]").content.split(","); // What this gateway carries.
const EXACT = document.querySelector("meta[name=symbol-case]").content === "exact"; // SYMBOL_CASE
// Title, key, and the type that a column belongs to.
const COLUMNS = [
  ["Symbol", "symbol"], ["Last", "price", "trade"], ["Change", "change", "trade"], ["Bid", "bid", "quote"], ["Ask", "ask", "quote"],
  ["Low – high", "range", "candle"], ["Volume", "volume", "trade"], ["Exchange", "exchange", "trade"], ["Time", "time"],
  ["Trades", "count", "trade"], ["", "last"],
].filter(([, , type]) => !type || TYPES.includes(type));

const names = new Set(split(load("symbols", STORE) ?? FIRST_VISIT.join())); // What the person asked for; outlives a connection.
const types = new Set((load("types", STORE_TYPES) ?? "").split(",").filter((type) => TYPES.includes(type)));
if (!types.size) types.add(TYPES[0]);
let token = "", tried = ""; // What lets the page in, for as long as its tab lives; what was sent and not yet answered.
try { token = sessionStorage.getItem(STORE_TOKEN) ?? ""; } catch { /* As `store`. */ }
const rows = new Map();           // symbol -> { element, cells, first, last, trades }
const pending = new Map();        // type and symbol -> last event and for how many it stands, since the last frame
const custom = new Map();         // type and symbol -> last event of a type of the workers' own, since the last frame
const ranges = new Map();         // symbol -> low and high of the candle under way, and the time that it covers
const unseen = new Set();         // symbols that a pattern brought and that have no row
let socket = null, retries = 0, retryAfterMs = null, retryTimer = 0, framed = 0, messages = 0, skipped = 0, missing = 0;

function load(parameter, store) {
  const url = new URLSearchParams(location.search).get(parameter);
  if (url) return url;
  try { return localStorage.getItem(store); } catch { return null; }
}
function store() {
  try {
    localStorage.setItem(STORE, [...names].join(","));
    localStorage.setItem(STORE_TYPES, [...types].join(","));
    localStorage.setItem(STORE_RATE, $("rate").value);
  } catch { /* Private mode: not remembered. */ }
}
function split(text) {
  return [...new Set(text.split(",").map((name) => name.trim()).filter(Boolean))];
}
// What a person types: symbols may have spaces, so those separate them only where there is no comma.
const typed = (text) => split(text.includes(",") ? text : text.trim().replace(/\s+/g, ","));
// As the gateway does: an event's symbol may be written in another case than its channel's.
const fold = (symbol) => (EXACT ? symbol : symbol.toUpperCase());
const isPattern = (name) => name.endsWith("*");
const isMatched = (symbol) => [...names].some((name) => isPattern(name) && symbol.startsWith(name.slice(0, -1)));
function pill(id, kind, text) {
  $(id).className = "pill " + kind;
  $(id).textContent = text;
  $(id).hidden = !text;
  // Prices that aren't kept up to date must not look as if they were.
  $("rows").className = $("feed").classList.contains("good") ? "" : "stale";
}
function note(text, bad = false) {
  $("note").textContent = text;
  $("note").classList.toggle("bad", bad);
}

function connect() {
  clearTimeout(retryTimer);
  retryAfterMs = null;
  const url = new URL("ws", location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  url.search = "";
  pill("connection", "wait", "connecting");
  const inHandshake = token && SUBPROTOCOL.test(token);
  const mine = socket = new WebSocket(url, inHandshake ? ["md.v1.json", "bearer", token] : ["md.v1.json"]);
  mine.onopen = () => {
    if (mine !== socket) return;
    if (token && !inHandshake) send({ action: "auth", token, id: "auth" });
    held = {};
    pill("connection", "good", "connected");
    pill("feed", "good", "feed up"); // A gateway without its feed says so at once.
    buttons(true);
    subscribe([...names]);
  };
  mine.onmessage = ({ data }) => {
    if (mine !== socket) return;
    retries = 0; // Only a gateway that talks resets the back-off, one that accepts and closes doesn't.
    receive(data);
  };
  mine.onclose = (event) => { if (mine === socket) closed(event); };
}

function away() {
  socket = null;
  tried = "";
  buttons(false);
  pill("feed", "", "feed unknown");
  pill("slow", "wait", "");
  $("age").textContent = "";
}
function closed({ code, reason }) {
  away();
  const why = reason ? `${code}: ${reason}` : `${code}`;
  if (NEVER_AGAIN.has(code)) {
    pill("connection", "bad", "closed");
    note(`The gateway closed the connection (${why}). Reload the page to try again.`, true);
    return;
  }
  const backOffMs = Math.min(RETRY_MAX_MS, RETRY_MIN_MS * 2 ** retries++);
  const waitMs = retryAfterMs ?? backOffMs * (0.5 + Math.random() / 2); // Spread, so that not all come back at once.
  pill("connection", "bad", `reconnecting in ${Math.max(1, Math.round(waitMs / 1000))} s`);
  retryTimer = setTimeout(connect, waitMs);
}

// Asks for a token; `bad` if it is because of the one that the page has.
function ask(why, bad = false) {
  $("token-note").textContent = why;
  $("token-note").classList.toggle("bad", bad);
  $("token").ariaInvalid = String(bad);
  $("token-form").hidden = false;
}
// Without a token that holds there is nothing to come back for: the page waits for the person, without a connection.
function unauthorized(why) {
  const had = token || tried;
  keep("");
  const mine = socket;
  away();
  mine?.close();
  pill("connection", "bad", "token needed");
  note("");
  ask(had ? `${why}. Enter another one.` : "This gateway asks for a token.", Boolean(had));
  $("token").focus();
}
function authenticated({ data }) {
  if (tried) keep(tried);
  answered();
  note(data?.user ? `The gateway knows you as ${data.user}.` : "The gateway needs no token.");
  // With fewer rights than before, some of what was subscribed may have gone.
  if (data?.currentSubscriptions) {
    held = { trade: data.currentSubscriptions, ...data.currentByType };
    restore();
  }
}
function answered() {
  $("token-note").textContent = "";
  $("token-form").hidden = true;
}
function keep(it) {
  token = it;
  tried = "";
  try { it ? sessionStorage.setItem(STORE_TOKEN, it) : sessionStorage.removeItem(STORE_TOKEN); } catch { /* As `store`. */ }
}

function buttons(on) {
  for (const control of $("form").querySelectorAll("button, select, #types input")) control.disabled = !on;
}
function send(request) {
  if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(request));
}
// Prices are wanted at once, and the state of the feed each second.
function subscribe(symbols, of = [...types]) {
  if (symbols.length) send({ action: "subscribe", symbols, ...named(of), snapshot: true, heartbeat: true, ...terms(), id: "subscribe" });
}
function unsubscribe(symbols, of = TYPES) {
  send({ action: "unsubscribe", symbols, ...named(of), id: "unsubscribe" });
}
// The base protocol's requests name no type.
const named = (of) => (of.length === 1 && of[0] === "trade" ? {} : { types: of });
// At a limited rate a trade says what it stands for, so that the count of trades stays right.
const terms = () => ($("rate").value ? { conflate: "aggregate", maxRate: Number($("rate").value) } : {});

function receive(text) {
  messages++;
  let message;
  try { message = JSON.parse(text); } catch { return; }
  switch (message.type) {
    case "success": return message.id === "auth" ? authenticated(message) : success(message);
    case "error":
      if (message.code === "UNAUTHORIZED") return unauthorized(message.message);
      if (message.code === "FORBIDDEN" && !token) ask("A token may allow more.");
      note(`${message.message} (${message.code})`, true);
      if (message.id === "subscribe") restore();
      return;
    case "status": return status(message.event, message.data ?? {});
    default: if (TYPES.includes(message.type)) return event(message);
  }
}

let held = {}; // What the gateway last said that we have, by type.
function success({ message, data }) {
  held = { trade: data?.currentSubscriptions ?? [], ...data?.currentByType };
  note(message);
  restore();
}
// The gateway is right about what is subscribed: a refused request changes nothing.
function restore() {
  const heldTypes = TYPES.filter((type) => held[type]?.length);
  names.clear();
  for (const type of heldTypes) for (const name of held[type]) names.add(name);
  if (heldTypes.length) {
    types.clear();
    for (const type of heldTypes) types.add(type);
  }
  store();
  layout();
}

function status(event, data) {
  if (event === "feed") {
    const gap = data.gapMs === undefined ? "" : `, after ${(data.gapMs / 1000).toFixed(1)} s without`;
    pill("feed", data.state === "up" ? "good" : "bad", `feed ${data.state === "up" ? "up" : "down"}${gap}`);
  } else if (event === "heartbeat") {
    if (data.feed === "down") pill("feed", "bad", "feed down");
    const ageMs = data.lastEventAgeMs ?? null;
    $("age").textContent = ageMs === null ? "no event yet" : `last event ${(ageMs / 1000).toFixed(1)} s ago`;
  } else if (event === "skipped") {
    skipped += data.count ?? 0;
    $("skipped").textContent = `${skipped.toLocaleString()} skipped, this browser was too slow`;
    badge(data.symbol, `${data.count} skipped`, "This browser was too slow for them.");
  } else if (event === "gap") {
    const count = data.to - data.from + 1;
    missing += count;
    $("gaps").textContent = `${missing.toLocaleString()} missing upstream`;
    badge(data.symbol, `gap of ${count}`, `The workers left out ${data.type} ${data.from} to ${data.to}.`);
  } else if (event === "tokenExpiring") {
    ask(`Your token ends in ${Math.max(0, Math.round((data.expiresInMs ?? 0) / 1000))} s. With a new one the connection goes on.`);
  } else if (event === "slow") {
    pill("slow", "wait", data.policy === "lossless" ? "" : "too slow: latest prices only");
  } else if (event === "shutdown") {
    retryAfterMs = data.reconnectAfterMs ?? null;
    note("The gateway restarts; the page comes back by itself.");
  }
}

// What was lost of a symbol, beside its row until the next loss. It may come before the row's first event is drawn.
function badge(symbol, text, title) {
  const row = rows.get(symbol) ?? patternRow(symbol);
  if (row) Object.assign(row.loss, { textContent: text, title, hidden: false });
}

function event(message) {
  const { type, data, conflated } = message;
  if (type === "news") return news(data);
  if (!MARKET.has(type)) {
    custom.set(`${type} ${data?.symbol ?? ""}`, message);
    framed ||= requestAnimationFrame(flush);
    return;
  }
  if (typeof data?.symbol !== "string") return;
  const symbol = fold(data.symbol);
  if (type === "candle") ranges.set(symbol, rangeOf(data, ranges.get(symbol)));
  if (type === "trade") widen(symbol, data, conflated);
  const key = `${type} ${symbol}`;
  const stands = message.snapshot ? 0 : conflated?.count ?? 1;
  pending.set(key, { symbol, message, trades: (pending.get(key)?.trades ?? 0) + stands });
  framed ||= requestAnimationFrame(flush);
}

// A candle is published now and then, trades go on: until the next one its low and high are also theirs, and a trade behind its
// end begins the next. Without an interval that can be read it lasts until the next candle.
const UNITS_MS = { s: 1000, m: 60000, h: 3600000, d: 86400000 };
function rangeOf({ low, high, interval, start, timestamp }, before) {
  const [, count, unit] = /^(\d+) ?([smhd])/i.exec(interval) ?? [];
  const lengthMs = count * UNITS_MS[unit?.toLowerCase()] || Infinity;
  const startMs = lengthMs === Infinity ? -Infinity : Math.floor(millis(start ?? timestamp) / lengthMs) * lengthMs;
  if (before?.interval === interval && before.startMs > startMs) return before; // Late: trades have begun the next.
  if (before && before.interval !== interval && before.lengthMs <= lengthMs) return before; // Of several intervals the shortest is shown.
  return { low: Number(low), high: Number(high), interval, startMs, lengthMs };
}
function widen(symbol, { price, timestamp }, conflated) {
  const range = ranges.get(symbol), low = Number(conflated?.low ?? price), high = Number(conflated?.high ?? price);
  if (!range || millis(timestamp) < range.startMs) return;
  if (millis(timestamp) < range.startMs + range.lengthMs || range.lengthMs === Infinity) {
    range.low = Math.min(range.low, low);
    range.high = Math.max(range.high, high);
  } else ranges.set(symbol, rangeOf({ low, high, interval: range.interval, timestamp }));
}

// At most once a frame, however many events come: the last one of each symbol is drawn, all are counted.
function flush() {
  framed = 0;
  for (const { symbol, message, trades } of pending.values()) {
    const row = rows.get(symbol) ?? patternRow(symbol);
    if (row) draw(row, message, trades);
    if (row?.cells.range && ranges.has(symbol)) drawRange(row.cells.range, ranges.get(symbol));
  }
  pending.clear();
  for (const [of, { data, timestamp }] of custom) item(data?.timestamp ?? timestamp, `${of} ${JSON.stringify(data)}`.slice(0, ITEM_MAX));
  custom.clear();
}

// A symbol that nobody named has a row from its first event on.
function patternRow(symbol) {
  if (!isMatched(symbol)) return null;
  if (rows.size >= ROWS_MAX) {
    unseen.add(symbol);
    $("more").textContent = `${unseen.size.toLocaleString()} more symbols than the page shows`;
    return null;
  }
  rows.set(symbol, newRow(symbol));
  $("empty").hidden = true;
  return rows.get(symbol);
}

function news({ headline, symbol, timestamp }) {
  item(timestamp, symbol && !headline.startsWith(symbol) ? `${symbol}: ${headline}` : headline);
}
function item(timestamp, text) {
  const line = document.createElement("li"), time = document.createElement("time");
  time.textContent = clock(timestamp);
  line.append(time, text);
  $("news").prepend(line);
  $("news").hidden = false;
  while ($("news").children.length > NEWS_MAX) $("news").lastElementChild.remove();
}

function draw(row, { type, data, snapshot, conflated }, trades) {
  row.cells.time.textContent = clock(data.timestamp);
  switch (type) {
    case "trade": return drawTrade(row, data, snapshot, conflated, trades);
    case "quote":
      row.cells.bid.textContent = amount(Number(data.bidPrice));
      row.cells.ask.textContent = amount(Number(data.askPrice));
      row.cells.bid.title = data.bidSize ?? "";
      row.cells.ask.title = data.askSize ?? "";
      return;
    case "halt": return Object.assign(row.halt, { textContent: data.status, hidden: /resum/i.test(data.status) });
  }
}

function drawRange(cell, { low, high, interval }) {
  cell.textContent = `${amount(low)} – ${amount(high)}`;
  cell.title = `of ${interval}`;
}
function drawTrade(row, data, snapshot, conflated, trades) {
  const { price, volume, exchange, count, change } = row.cells;
  row.element.classList.toggle("known", snapshot === true);
  row.element.title = snapshot ? "The last price before you came" : "";
  row.trades += trades;
  count.textContent = row.trades.toLocaleString();
  volume.textContent = Number(conflated?.volume ?? data.volume).toLocaleString();
  exchange.textContent = data.exchange ?? "–";
  const value = Number(data.price);
  row.first ??= value;
  price.textContent = amount(value);
  // Rounded as it is shown, so that nothing is "-0.00 %"; `|| 0` makes a zero of minus zero.
  const percent = row.first ? Math.round((value / row.first - 1) * 1e4) / 100 || 0 : 0;
  change.textContent = `${percent > 0 ? "+" : ""}${percent.toFixed(2)} %`;
  change.className = percent > 0 ? "up" : percent < 0 ? "down" : "";
  if (row.last !== null && value !== row.last) {
    const way = value > row.last ? "up" : "down";
    // A fresh node starts the animation anew.
    const fresh = price.cloneNode(true);
    fresh.className = `price ${way} flash-${way}`;
    price.replaceWith(fresh);
    row.cells.price = fresh;
  }
  row.last = value;
}
function amount(value) {
  const digits = Math.abs(value) < 1 ? 6 : Math.abs(value) < 10 ? 4 : 2;
  return value.toLocaleString(undefined, { minimumFractionDigits: 2, maximumFractionDigits: digits });
}
// Workers may write seconds; nobody trades in 1970.
const millis = (timestamp) => (timestamp < 1e11 ? timestamp * 1000 : timestamp);
function clock(timestamp) {
  const date = new Date(millis(timestamp));
  return Number.isNaN(date.getTime()) ? "–" : date.toLocaleTimeString();
}

function layout() {
  for (const [symbol, row] of rows) {
    if (!names.has(symbol) && !isMatched(symbol)) { row.element.remove(); rows.delete(symbol); ranges.delete(symbol); }
  }
  const patterns = [...names].filter(isPattern);
  for (const symbol of names) if (!isPattern(symbol) && !rows.has(symbol)) rows.set(symbol, newRow(symbol));
  for (const [symbol, row] of rows) row.drop.hidden = !names.has(symbol);
  $("patterns").replaceChildren(...patterns.map((pattern) => {
    const chip = document.createElement("span");
    chip.className = "chip";
    chip.append(pattern, dropButton(pattern));
    return chip;
  }));
  for (const box of $("types").querySelectorAll("input")) box.checked = types.has(box.value);
  $("empty").hidden = rows.size > 0;
  $("empty").textContent = patterns.length ? `Nothing has come for ${patterns.join(", ")} yet.`
    : "No subscription. Name symbols above to see their trades.";
  if (!patterns.length) { unseen.clear(); $("more").textContent = ""; }
}
function newRow(symbol) {
  const element = document.createElement("tr");
  const cells = {};
  for (const [, key] of COLUMNS) {
    cells[key] = document.createElement("td");
    cells[key].textContent = { symbol, count: "0", last: "" }[key] ?? "–";
    cells[key].className = key === "price" ? "price" : "";
    element.append(cells[key]);
  }
  const [halt, loss] = [0, 0].map(() => Object.assign(document.createElement("span"), { className: "badge", hidden: true }));
  const drop = dropButton(symbol);
  drop.hidden = !names.has(symbol);
  cells.symbol.append(halt);
  cells.last.append(loss, drop);
  $("rows").append(element);
  return { element, cells, halt, loss, drop, first: null, last: null, trades: 0 };
}
function dropButton(name) {
  const drop = document.createElement("button");
  drop.type = "button";
  drop.className = "drop";
  drop.textContent = "×";
  drop.ariaLabel = drop.title = `Unsubscribe from ${name}`;
  drop.onclick = () => {
    unsubscribe([name]);
    // To leave "*" is to leave everything: the others are taken again.
    if (name === "*") subscribe([...names].filter((other) => other !== name));
  };
  return drop;
}
function controls() {
  for (const [title] of COLUMNS) $("columns").append(Object.assign(document.createElement("th"), { textContent: title }));
  document.querySelector("table").classList.toggle("wide", COLUMNS.length > 8);
  $("rate").value = load("rate", STORE_RATE) ?? "";
  if ($("rate").selectedIndex < 0) $("rate").value = "";
  // Only what was asked for changes: no second snapshot.
  $("rate").onchange = () => {
    store();
    if (names.size) send({ action: "subscribe", symbols: [...names], ...named([...types]), conflate: false, ...terms(), id: "subscribe" });
  };
  if (TYPES.length === 1) return;
  for (const type of TYPES) {
    const label = document.createElement("label");
    const box = Object.assign(document.createElement("input"), { type: "checkbox", value: type });
    box.onchange = () => choose(type, box.checked);
    label.append(box, type);
    $("types").append(label);
  }
}
function choose(type, on) {
  if (!on && types.size === 1) note("At least one type is needed.", true);
  else if (!names.size) on ? types.add(type) : types.delete(type);
  else if (on) subscribe([...names], [type]);
  else unsubscribe(["*"], [type]);
  layout(); // As it is, until the gateway has agreed.
}

$("form").onsubmit = (event) => {
  event.preventDefault();
  const symbols = typed($("symbols").value);
  if (!symbols.length) return;
  if (event.submitter?.value === "unsubscribe") unsubscribe(symbols);
  else subscribe(symbols);
  $("symbols").value = "";
};
$("token-form").onsubmit = (event) => {
  event.preventDefault();
  const typed = $("token").value.trim();
  if (!typed) return;
  $("token").value = "";
  answered();
  $("symbols").focus();
  if (socket?.readyState === WebSocket.OPEN) {
    tried = typed;
    send({ action: "auth", token: typed, id: "auth" });
  } else {
    keep(typed);
    socket?.close();
    connect();
  }
};
setInterval(() => {
  $("rate-now").textContent = `${messages.toLocaleString()} message${messages === 1 ? "" : "s"}/s`;
  messages = 0;
}, 1000);
controls();
buttons(false);
layout();
connect();
