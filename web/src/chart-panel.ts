// The chart of the chosen symbol: which interval and kind, and what of the candles has to be drawn.

import { INTERVALS } from "./candles.js";
import type { Chart, Colours, Pointed } from "./chart.js";
import { byId, make, say } from "./dom.js";
import { amount, brief, moment } from "./format.js";
import type { Quote } from "./market.js";
import { lengthMs } from "./range.js";
import { load, store } from "./settings.js";
import { colour } from "./theme.js";

const STYLES = { candles: "Candles", line: "Line" } as const;
type Style = keyof typeof STYLES;
/** As many as are kept of an interval, about. */
const ADDED_MAX = 500;

export class ChartPanel {
  #chart: Chart | undefined;
  #interval = load("interval") ?? "5s";
  #style: Style = load("style") === "line" ? "line" : "candles";
  /** What has been drawn: of what, and up to which candle. */
  #drawn = "";
  #until = -Infinity;
  /** Candles that the chart has got since it was drawn anew: it forgets none by itself. */
  #added = 0;
  #colours: Colours | undefined;
  #decimals = 2;
  #choices = "";
  /** It has a width: on a phone only its tab has. */
  #isSeen = false;
  readonly #ask: () => void;

  constructor(ask: () => void) {
    this.#ask = ask;
    if (!Number.isFinite(lengthMs(this.#interval))) this.#interval = "5s";
    this.#choose([]);
    const module = "./chart.js";
    import(module).then(
      ({ Chart: made }: typeof import("./chart.js")) => {
        this.#chart = new made(byId("chart"), (bar) => this.#point(bar));
        this.#ask();
        // What is drawn without a width is one stroke when it is seen.
        new ResizeObserver(([size]) => {
          const isSeen = size!.contentRect.width > 0;
          if (isSeen && !this.#isSeen) this.#drawn = "";
          this.#isSeen = isSeen;
          this.#ask();
        }).observe(byId("chart"));
      },
      () => say(byId("chart-note"), "The chart could not be loaded: reload the page."),
    );
  }

  /** The theme has changed. */
  recolour(): void {
    this.#colours = undefined;
    this.#ask();
  }

  paint(symbol: string, quote: Quote | undefined, hasChanged: boolean): void {
    this.#choose(quote?.candles.carried ?? []);
    const chart = this.#chart;
    if (!chart || !this.#isSeen) return;
    const interval = this.#interval;
    const edition = `${symbol} ${interval} ${this.#style} ${quote?.decimals} ${quote?.candles.edition(interval)}`;
    if (edition !== this.#drawn || !this.#colours || this.#added > ADDED_MAX) {
      const bars = quote?.candles.bars(interval) ?? [];
      const colours = (this.#colours ??= readColours());
      this.#decimals = quote?.decimals ?? 2;
      chart.show(bars, { style: this.#style, seconds: lengthMs(interval) < 60_000, decimals: this.#decimals, colours, isOther: edition !== this.#drawn });
      this.#added = 0;
      this.#drawn = edition;
      this.#until = bars.at(-1)?.time ?? -Infinity;
      this.#describe(symbol, quote);
    } else if (quote && hasChanged) {
      const bars = quote.candles.bars(interval, this.#until);
      chart.update(bars);
      this.#added += bars.length - 1;
      const until = bars.at(-1)?.time ?? this.#until;
      if (until !== this.#until) this.#describe(symbol, quote);
      this.#until = until;
    }
  }

  #describe(symbol: string, quote: Quote | undefined): void {
    const bars = quote?.candles.bars(this.#interval) ?? [];
    const [first, last] = [bars[0], bars.at(-1)];
    const isCarried = quote?.candles.carried.includes(this.#interval) ?? false;
    // Without trades it still goes on.
    byId("chart").toggleAttribute("data-carried", isCarried);
    const source = isCarried ? "candles and trades" : "trades";
    say(byId("chart-note"), first ? `From the ${source} since ${moment(first.time * 1000)}.` : "No trade yet.");
    const span = last ? `, ${bars.length} of ${this.#interval}, last ${amount(last.close, quote?.decimals)}` : "";
    byId("chart").ariaLabel = `Chart of ${symbol || "nothing"}: ${STYLES[this.#style].toLowerCase()}${span}`;
  }

  /** Says what the candle under the pointer is, in place of where the chart comes from. */
  #point(bar: Pointed | undefined): void {
    const price = (name: string, value: number | undefined) => (value === undefined ? "" : ` ${name} ${amount(value, this.#decimals)}`);
    const text = bar && `${moment(bar.time * 1000)}${price("open", bar.open)}${price("high", bar.high)}${price("low", bar.low)}${price("close", bar.close)} volume ${brief(bar.volume)}`;
    say(byId("chart-bar"), text ?? "");
  }

  #choose(carried: readonly string[]): void {
    const intervals = [...new Set([...INTERVALS, ...carried])].sort((a, b) => lengthMs(a) - lengthMs(b));
    if (!intervals.includes(this.#interval) && carried.length) this.#interval = "5s";
    const choices = `${intervals} ${this.#interval} ${this.#style}`;
    if (choices === this.#choices) return;
    this.#choices = choices;
    group("intervals", intervals, this.#interval, (interval) => {
      this.#interval = interval;
      store("interval", interval);
      this.#ask();
    });
    group("styles", Object.keys(STYLES) as Style[], this.#style, (style) => {
      this.#style = style;
      store("style", style);
      this.#ask();
    });
  }
}

/** Buttons of which one is pressed. They stay the same elements, so that the focus stays. */
function group<T extends string>(id: string, values: readonly T[], pressed: T, choose: (value: T) => void): void {
  const place = byId(id);
  for (const value of values) {
    let found = place.querySelector<HTMLButtonElement>(`[data-value="${CSS.escape(value)}"]`);
    if (!found) {
      found = make("button", "", STYLES[value as Style] ?? value);
      found.type = "button";
      found.dataset.value = value;
      found.addEventListener("click", () => choose(value));
    }
    found.ariaPressed = String(value === pressed);
    place.append(found);
  }
}

function readColours(): Colours {
  const names = { text: "--dim", line: "--grid", up: "--up", down: "--down", accent: "--accent", accentSoft: "--accent-soft", upSoft: "--up-soft", downSoft: "--down-soft" };
  return Object.fromEntries(Object.entries(names).map(([name, variable]) => [name, colour(variable)])) as never;
}
