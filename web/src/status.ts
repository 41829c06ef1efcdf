// Connection, feed, staleness, losses and latency, in words. A state that the page does not know is not called good.

import type { ConnectionState, Loss, StatusMessage } from "../../clients/js/src/index.js";
import { byId, say } from "./dom.js";
import { count, span } from "./format.js";

type Light = "good" | "bad" | "wait" | "";

export function pill(id: string, light: Light, text: string): void {
  const element = byId(id);
  element.className = `pill ${light}`;
  element.hidden = !text;
  say(element, text);
}

/** Delays between worker and gateway that are believed: beyond it, one of the clocks is wrong. */
const LAG_MAX_MS = 60_000;

export class Status {
  #messages = 0;
  #skipped = 0;
  #missing = 0;
  #gapMs: number | undefined;
  #lags: number[] = [];
  #state: ConnectionState | undefined;

  readonly #price: () => string;

  /** `price` is the selected symbol's, for the title of the tab; empty if it is not current. */
  constructor(price: () => string) {
    this.#price = price;
    setInterval(() => this.#second(), 1_000);
  }

  message(): void {
    this.#messages++;
  }

  /** An event's way from the worker to the gateway, by the clocks of both. */
  event(workerMs: number, gatewayMs: number): void {
    if (this.#lags.length < 1_000) this.#lags.push(gatewayMs - workerMs);
  }

  connection(state: ConnectionState): void {
    this.#state = state;
    const { status, retryInMs = 0, feed, fresh, slow } = state;
    if (status !== "open") {
      this.#gapMs = undefined;
      say(byId("age"), "");
      say(byId("trip"), "");
    }
    if (status === "open") pill("connection", "good", "connected");
    else if (status === "waiting") pill("connection", "bad", `reconnecting in ${Math.max(1, Math.round(retryInMs / 1000))} s`);
    else pill("connection", status === "closed" ? "bad" : "wait", status);
    const after = this.#gapMs === undefined ? "" : `, after ${(this.#gapMs / 1000).toFixed(1)} s without`;
    if (feed === "up") pill("feed", fresh ? "good" : "wait", fresh ? `feed up${after}` : "nothing heard");
    else pill("feed", feed === "down" ? "bad" : "", `feed ${feed}`);
    pill("slow", "wait", slow ? "too slow: latest prices only" : "");
    // Prices that aren't kept up to date must not look as if they were. Rows and the chart are stale each by its symbol.
    byId("tape").classList.toggle("stale", !fresh);
    // Nor in the title: browsers let a timer of a tab in the background wait.
    if (!fresh) this.#entitle();
  }

  status({ event, data }: StatusMessage): void {
    if (event === "feed" && data.state === "up") {
      this.#gapMs = data.gapMs;
      if (this.#state) this.connection(this.#state);
    }
    if (event === "heartbeat") {
      const ageMs: number | null = data.lastEventAgeMs ?? null;
      say(byId("age"), ageMs === null ? "no event yet" : `last event ${(ageMs / 1000).toFixed(1)} s ago`);
    }
  }

  loss(loss: Loss): void {
    if (loss.kind === "skipped") {
      this.#skipped += loss.count;
      say(byId("skipped"), `${count(this.#skipped)} skipped, this browser was too slow`);
    } else if (loss.kind === "gap") {
      this.#missing += loss.to - loss.from + 1;
      say(byId("gaps"), `${count(this.#missing)} missing upstream`);
    }
  }

  roundTrip(ms: number): void {
    say(byId("trip"), `round trip ${span(ms)}`);
    byId("trip").title = "From this page to the gateway and back, behind the prices that were on their way";
  }

  /** Of a tab in the background the title is all that is seen. */
  #entitle(): void {
    const price = this.#state?.fresh ? this.#price() : "";
    const title = price ? `${price} · ws-gateway` : "ws-gateway live";
    if (document.title !== title) document.title = title;
  }

  #second(): void {
    this.#entitle();
    const messages = this.#messages;
    this.#messages = 0;
    say(byId("rate-now"), `${count(messages)} message${messages === 1 ? "" : "s"}/s`);
    const lags = this.#lags.filter((lag) => lag >= 0 && lag < LAG_MAX_MS).sort((a, b) => a - b);
    const isWrong = lags.length < this.#lags.length;
    if (!this.#lags.length) return;
    this.#lags = [];
    const middle = lags[lags.length >> 1];
    say(byId("lag"), middle === undefined || isWrong ? "" : `worker to gateway ${middle < 1 ? "< 1 ms" : span(middle)}`);
    byId("lag").title = "The middle of the last second, by the clocks of both";
  }
}

/** What was lost of a symbol, for its row. */
export function lossOf(loss: Loss): { symbol: string; text: string; title: string } | undefined {
  switch (loss.kind) {
    case "skipped":
      return { symbol: loss.symbol, text: `${loss.count} skipped`, title: "This browser was too slow for them." };
    case "gap":
      return { symbol: loss.symbol, text: `gap of ${loss.to - loss.from + 1}`, title: `The workers left out ${loss.type} ${loss.from} to ${loss.to}.` };
    case "notRecovered":
      return { symbol: loss.symbol, text: "gap", title: `The connection was lost; the ${loss.type} events of that time can't be brought back.` };
    default:
      return undefined;
  }
}
