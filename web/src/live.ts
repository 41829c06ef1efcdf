// The live page. Data flows one way: the feed tells of events, the market keeps what is known, the views draw it, once a frame. What a
// person does goes to the feed, and what the gateway answers comes back the same way.

import type { MarketEvent } from "../../clients/js/src/index.js";
import { ChartPanel } from "./chart-panel.js";
import { Console } from "./console.js";
import { Detail } from "./detail.js";
import { byId, make, redate, say } from "./dom.js";
import { address, Feed, inOrder } from "./feed.js";
import { amount, count, dayOf, millis } from "./format.js";
import { Frame } from "./frame.js";
import { Market } from "./market.js";
import { isMatched, isPattern, moved, split } from "./names.js";
import { News } from "./news.js";
import { Rooms } from "./rooms.js";
import { Search } from "./search.js";
import { asked, FEW, FIRST_VISIT, firstTypes, fold, HAS_ROOMS, load, MARKET, store, TYPES } from "./settings.js";
import { lossOf, pill, Status } from "./status.js";
import { tabs } from "./tabs.js";
import { isReplay } from "./tap.js";
import { TapeView } from "./tape-view.js";
import { theme } from "./theme.js";
import { Token } from "./token.js";
import { Watchlist } from "./watchlist.js";

/** What the person asked for; it outlives a connection. */
let names = [...new Set(split(load("symbols") ?? FIRST_VISIT.join()).map(asked))];
const types = new Set((load("types") ?? "").split(",").filter((type) => TYPES.includes(type)));
/** The types were nobody's choice, and nobody has chosen anything since: if the gateway doesn't give all of them, the first will do. */
let isFirstChoice = !types.size;
/** Nor have the symbols been anybody's choice: if the gateway doesn't give all of them, few will do. */
let isFirstVisit = load("symbols") === null;
if (isFirstChoice) for (const type of firstTypes(names.length)) types.add(type);
let selected = fold(names.find((name) => !isPattern(name)) ?? "");
/** Whether requests can be made. */
let isOpen = false;
/** A symbol that nobody named has come: it gets a row with the next paint. */
let hasNew = false;
/**
 * The gateway has refused something, and the person has unsubscribed from nothing since. The client then unsubscribes from what it had asked for
 * together with that: the reply is no news, and the reason for the refusal stays on the page.
 */
let isRefused = false;
/** The day of the last paint. */
let today = "";

const market = new Market();
const status = new Status(() => {
  const { last, decimals, isKnown } = market.quotes.get(selected) ?? {};
  return last === undefined || isKnown || !hasTrades() || !isCurrent(selected) ? "" : `${amount(last, decimals)} ${selected}`;
});
const hasNews = TYPES.some((type) => type === "news" || type === "halt" || !MARKET.has(type));
const news = new News(hasNews);
const frame = new Frame([paint]);
const ask = () => frame.ask();
const rooms = HAS_ROOMS ? new Rooms(ask) : undefined;
byId("panel-room").hidden = !rooms;
const parts = ["watch", "chart", "tape", ...(hasNews ? (["news"] as const) : []), ...(rooms ? (["room"] as const) : []), "console"] as const;
const go = tabs(parts, (tab) => tab === "console" && frames.open());
const chart = new ChartPanel(ask);
const detail = new Detail();
const tape = new TapeView(market, ask);
const watchlist = new Watchlist(market, { select, drop, move, isCurrent, hasTrades });
const rate = byId<HTMLSelectElement>("rate");
const search = new Search(watchlist, { show: find, add, isWatched });
const token = new Token(connect);
const feed = new Feed(address("ws"), {
  begun: (client) => rooms?.use(client),
  state(state) {
    isOpen = state.status === "open";
    status.connection(state);
    soil();
    controls();
    const { code, reason } = state;
    if (state.status === "closed" && code !== undefined) {
      note(`The gateway closed the connection (${reason}). Reload the page to try again.`, true);
    }
  },
  event: take,
  loss(loss) {
    // The room tells of its own.
    if ("type" in loss && ["room", "user", "broadcast"].includes(loss.type)) return;
    status.loss(loss);
    const lost = lossOf(loss);
    if (lost) market.lose(fold(lost.symbol), lost.text, lost.title);
    hasNew = true;
    ask();
  },
  status(message) {
    status.status(message);
    const { event, data } = message;
    if (event === "feed" || event === "replayEnd") soil();
    if (event === "tokenExpiring") token.ask(`Your token ends in ${Math.max(0, Math.round((data.expiresInMs ?? 0) / 1000))} s. With a new one the connection goes on.`);
    else if (event === "shutdown") note("The gateway restarts; the page comes back by itself.");
  },
  error({ code, message, data, isBusy }) {
    if (code === "UNAUTHORIZED") return unauthorized(message);
    if (code === "FORBIDDEN" && !token.isKnown) token.ask("A token may allow more.");
    const isOfRoom = code === "ROOM_LIMIT_EXCEEDED" || (data as { room_id?: string } | undefined)?.room_id !== undefined;
    const way = code === "SYMBOL_LIMIT_EXCEEDED" ? "; MAX_SYMBOLS_PER_CLIENT or the token sets it" : "";
    if (code === "CLOSED" || isOfRoom) return;
    // The client asks again by itself, and what comes of that takes the note's place.
    if (!isBusy) isRefused = true;
    note(`${message} (${code})${way}`, true);
  },
  reply({ id, message, data }, isForeign) {
    if (id === "auth") {
      token.accepted();
      note(data?.user ? `The gateway knows you as ${data.user}.` : "The gateway needs no token.");
    } else if (isForeign || !isRefused || !message.startsWith("Successfully unsubscribed")) {
      note(message);
    }
    // The gateway is right about what is subscribed: the console, or a token with fewer rights, may have changed it.
    if (isForeign || id === "auth") adopt(data);
  },
  refused(gone, { code, data }) {
    if (code === "UNAUTHORIZED") return;
    const isAboveLimit = code === "SYMBOL_LIMIT_EXCEEDED";
    const isOfTypes = code === "FORBIDDEN" && (data as { types?: unknown } | undefined)?.types !== undefined;
    if (isFirstVisit && isAboveLimit && names.length > FEW.length) fewerNames();
    else if (isFirstChoice && (isAboveLimit || isOfTypes) && types.size > 1) fewerTypes();
    else forget(gone);
  },
  roundTrip: (ms) => status.roundTrip(ms),
  frame(way, text) {
    // Earlier trades that come at once are no rate of now.
    if (way === "in" && !isReplay(text)) status.message();
    frames.frame(way, text);
    ask();
  },
  recall: (symbol) => market.recall(symbol),
  recalled(symbol) {
    market.recalled(symbol);
    ask();
  },
  token: (why) => token.give(why),
});
const frames = new Console({ send: (text) => feed.send(text), symbol: () => selected, token: () => token.text, ask });

function connect(): void {
  feed.start(names, inOrder(types), token.isKnown);
}

/** This client may have fewer subscriptions than the gateway lets others have. */
function fewerNames(): void {
  isFirstVisit = false;
  names = [...FEW];
  beginAgain();
}

/** This client may have fewer types than the gateway carries, or not all of them of so many symbols. */
function fewerTypes(): void {
  isFirstChoice = false;
  const [first] = inOrder(types);
  types.clear();
  types.add(first!);
  beginAgain();
}

function beginAgain(): void {
  note("");
  connect();
  layout();
}

/** Without a token that holds there is nothing to come back for. */
function unauthorized(why: string): void {
  feed.stop();
  isOpen = false;
  status.connection({ status: "closed", feed: "unknown", fresh: false, slow: false, attempts: 0 });
  soil();
  pill("connection", "bad", "token needed");
  note("");
  controls();
  token.refused(why);
}

function isCurrent(symbol: string): boolean {
  return feed.isCurrent(symbol, market.quotes.get(symbol)?.candles.carried ?? []);
}

/** Whether trades are subscribed, or nobody can have any. */
function hasTrades(): boolean {
  return types.has("trade") || !TYPES.includes("trade");
}

/** What is current has changed. */
function soil(): void {
  market.soil();
  ask();
}

function take(event: MarketEvent<string, any>): void {
  const { type, data, snapshot, replay } = event;
  if (type === "news" || type === "halt" || !MARKET.has(type)) news.take(event);
  if (type !== "news" && MARKET.has(type) && typeof data?.symbol === "string") {
    const symbol = fold(data.symbol);
    const isNew = !market.quotes.has(symbol);
    market.take(symbol, event);
    if (!snapshot && !replay) status.event(millis(data.timestamp), event.timestamp);
    hasNew ||= isNew;
  }
  ask();
}

function paint(): void {
  if (hasNew) layout();
  turnDay();
  watchlist.paint();
  const quote = market.quotes.get(selected);
  const hasChanged = market.dirty.has(selected);
  if (hasChanged) {
    detail.paint(selected, quote, hasTrades());
    byId("panel-chart").classList.toggle("stale", !isCurrent(selected));
  }
  chart.paint(selected, quote, hasChanged);
  market.dirty.clear();
  tape.paint(selected);
  news.paint();
  rooms?.paint();
  frames.paint();
}

/** At midnight what was today's gets its date. */
function turnDay(): void {
  const day = dayOf();
  if (day === today) return;
  today = day;
  market.soil();
  redate();
}

function layout(): void {
  hasNew = false;
  for (const symbol of market.quotes.keys()) {
    if (!names.some((name) => fold(name) === symbol) && !isMatched(symbol, names.map(fold))) market.drop(symbol);
  }
  for (const name of names) if (!isPattern(name)) market.want(fold(name));
  if (!market.quotes.has(selected)) choose([...market.quotes.keys()][0] ?? "");
  watchlist.layout(names, selected);
  search.refresh();
  for (const box of byId("types").querySelectorAll("input")) box.checked = types.has(box.value);
  const { classList } = byId("desk");
  if (classList.contains("no-trades") === hasTrades()) {
    classList.toggle("no-trades");
    market.soil();
  }
  const patterns = names.filter(isPattern);
  byId("empty").hidden = market.quotes.size > 0;
  say(byId("empty"), patterns.length ? `Nothing has come for ${patterns.join(", ")} yet.` : "No subscription. Name symbols above to see their trades.");
  if (!patterns.length) market.unseen.clear();
  say(byId("more"), market.unseen.size ? `${count(market.unseen.size)} more symbols than the page shows` : "");
  ask();
}

function choose(symbol: string): void {
  selected = symbol;
  market.dirty.add(symbol);
}
function select(symbol: string): void {
  choose(symbol);
  watchlist.layout(names, selected);
  go("chart");
  ask();
}

/** Shows a symbol that was searched for. */
function find(symbol: string): void {
  select(symbol);
  watchlist.reveal(symbol);
  say(byId("said"), `${symbol} is shown`);
}

function move(symbol: string, index: number): void {
  const shown = names.filter((name) => !isPattern(name));
  const name = shown.find((name) => fold(name) === symbol);
  if (name === undefined) return;
  names = [...moved(shown, name, index), ...names.filter(isPattern)];
  remember();
  layout();
  say(byId("said"), `${symbol} is now ${Math.max(0, Math.min(shown.length - 1, index)) + 1} of ${shown.length}`);
}

function drop(name: string): void {
  const gone = names.filter((other) => other === name || fold(other) === name);
  isRefused = false;
  feed.remove(gone);
  forget(gone);
}
function forget(gone: readonly string[]): void {
  names = names.filter((name) => !gone.includes(name));
  remember();
  layout();
}

function isWatched(name: string): boolean {
  return names.some((other) => fold(other) === fold(name));
}

/** Resolves with whether they are watched. */
async function add(wanted: readonly string[]): Promise<boolean> {
  const fresh = [...new Set(wanted)].filter((name) => !isWatched(name));
  if (!fresh.length) {
    note("Watched already.");
    return true;
  }
  isFirstChoice = isFirstVisit = false;
  if (!(await feed.add(fresh, inOrder(types)))) return false;
  const before = new Set(names.map(fold));
  names = [...names, ...fresh.filter((name) => !before.has(fold(name)))];
  remember();
  layout();
  return true;
}

async function chooseType(type: string, isOn: boolean): Promise<void> {
  isFirstChoice = false;
  if (!isOn && types.size === 1) note("At least one type is needed.", true);
  else if (!isOn) {
    isRefused = false;
    types.delete(type);
    feed.remove([], [type]);
  } else if (!names.length || (await feed.add(names, [type]))) types.add(type);
  remember();
  layout(); // As it is, whatever the box says.
}

/** Takes over what the gateway says that this connection has. */
function adopt(data: any): void {
  if (!Array.isArray(data?.currentSubscriptions)) return;
  const held: Record<string, string[]> = { trade: data.currentSubscriptions, ...data.currentByType };
  const has = new Set(TYPES.flatMap((type) => held[type] ?? []));
  const gone = names.filter((name) => !has.has(name) && !has.has(fold(name)));
  const known = new Set(names.flatMap((name) => [name, fold(name)]));
  const come = [...has].filter((name) => !known.has(name));
  if (gone.length) {
    feed.remove(gone);
    forget(gone);
  }
  if (come.length) void add(come);
  for (const type of TYPES) {
    if (!names.length || !!held[type]?.length === types.has(type)) continue;
    if (types.delete(type)) feed.remove([], [type]);
    else if (types.add(type)) void feed.add(names, [type]);
  }
  remember();
  layout();
}

function remember(): void {
  isFirstVisit = false;
  store("symbols", names.join(","));
  store("types", inOrder(types).join(","));
  store("rate", rate.value);
}

function note(text: string, isBad = false): void {
  const place = byId("note");
  // A fresh node: the same words again are said again, and go again.
  const fresh = make("span", isBad ? "bad" : "", text);
  place.replaceChildren(...(text ? [fresh] : []));
}

function controls(): void {
  for (const control of [byId<HTMLButtonElement>("form").querySelector("button")!, rate, ...byId("types").querySelectorAll("input")]) control.disabled = !isOpen;
  search.refresh();
}

rate.value = load("rate") ?? "";
if (rate.selectedIndex < 0) rate.value = "";
feed.setRate(rate.value);
rate.addEventListener("change", () => {
  remember();
  void feed.limit(rate.value, names, inOrder(types));
});
if (TYPES.length > 1) {
  for (const type of TYPES) {
    const box = Object.assign(make("input"), { type: "checkbox", value: type });
    box.addEventListener("change", () => void chooseType(type, box.checked));
    byId("types").append(make("label", "", box, type));
  }
}
addEventListener("keydown", (event) => {
  const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
  if (event.key !== "/" || isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
  event.preventDefault();
  go("watch");
  search.focus();
});
theme(() => chart.recolour());
controls();
layout();
connect();
