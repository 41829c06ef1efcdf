// The chart itself, with TradingView's Lightweight Charts; a file of its own that the page loads when it has drawn the rest.
//! Lightweight Charts™, Copyright (c) 2025 TradingView, Inc., https://www.tradingview.com/, Apache License 2.0

import { AreaSeries, type BusinessDay, CandlestickSeries, ColorType, createChart, CrosshairMode, HistogramSeries, type IChartApi, type ISeriesApi, type Time, TickMarkType, type UTCTimestamp } from "lightweight-charts";
import type { Bar } from "./candles.js";
import { moment } from "./format.js";

/** Colours as the style sheet has them. */
export interface Colours {
  text: string;
  line: string;
  up: string;
  down: string;
  accent: string;
  accentSoft: string;
  upSoft: string;
  downSoft: string;
}

export interface ChartOptions {
  style: "candles" | "line";
  seconds: boolean;
  decimals: number;
  colours: Colours;
  /** It is another chart than the one before, so the view goes to its end. */
  isOther: boolean;
}

const FEW = 40;

/** A candle under the pointer; a line has closes only. */
export interface Pointed {
  time: number;
  open?: number;
  high?: number;
  low?: number;
  close: number;
  volume: number;
}

/** Draws what it is told; it keeps no candles of its own. */
export class Chart {
  readonly #chart: IChartApi;
  #price: ISeriesApi<"Candlestick"> | ISeriesApi<"Area"> | undefined;
  #volume: ISeriesApi<"Histogram"> | undefined;
  #options: ChartOptions | undefined;
  /** The candle at the end, and the close of the one before it. */
  #last: Bar | undefined;
  #before: number | undefined;

  /** `pointed` is told of the candle under the pointer, and when there is none. */
  constructor(container: HTMLElement, pointed: (bar: Pointed | undefined) => void) {
    this.#chart = createChart(container, {
      autoSize: true,
      // The logo brings a style of its own into the page, which the page's policy forbids; the link stands below the chart.
      layout: { attributionLogo: false, fontFamily: getComputedStyle(container).fontFamily, fontSize: 11 },
      crosshair: { mode: CrosshairMode.Normal },
      rightPriceScale: { borderVisible: false, entireTextOnly: true, scaleMargins: { top: 0.08, bottom: 0.22 } },
      timeScale: { borderVisible: false, timeVisible: true, rightOffset: 4, barSpacing: 11, tickMarkFormatter: tick },
      localization: { timeFormatter: (time: Time) => moment(Number(time) * 1000) },
      handleScroll: { vertTouchDrag: false },
    });
    this.#chart.subscribeCrosshairMove(({ time, seriesData }) => {
      const [price, volume] = [this.#price, this.#volume].map((series) => series && seriesData.get(series as ISeriesApi<"Area">)) as any[];
      const isOne = time !== undefined && price !== undefined;
      pointed(isOne ? { close: price.value, ...price, time: Number(time), volume: volume?.value ?? 0 } : undefined);
    });
  }

  /** Draws all of them. */
  show(bars: readonly Bar[], options: ChartOptions): void {
    const before = this.#options;
    this.#options = options;
    if (!before || before.style !== options.style) this.#begin(options.style);
    this.#colour(options);
    this.#last = this.#before = undefined;
    const drawn = bars.map((bar) => this.#draw(bar));
    this.#price!.setData(drawn.map(({ price }) => price as never));
    this.#volume!.setData(drawn.map(({ volume }) => volume));
    const scale = this.#chart.timeScale();
    // Few candles are drawn broader.
    scale.applyOptions({ secondsVisible: options.seconds, ...(options.isOther ? { barSpacing: bars.length < FEW ? 16 : 11 } : {}) });
    if (options.isOther) scale.scrollToRealTime();
  }

  /** Draws those at the end that have changed or come. */
  update(bars: readonly Bar[]): void {
    for (const bar of bars) {
      const { price, volume } = this.#draw(bar);
      this.#price!.update(price as never);
      this.#volume!.update(volume);
    }
  }

  #begin(style: ChartOptions["style"]): void {
    for (const series of [this.#price, this.#volume]) if (series) this.#chart.removeSeries(series as ISeriesApi<"Area">);
    this.#volume = this.#chart.addSeries(HistogramSeries, { priceScaleId: "volume", priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false });
    this.#chart.priceScale("volume").applyOptions({ scaleMargins: { top: 0.84, bottom: 0 } });
    this.#price = style === "line" ? this.#chart.addSeries(AreaSeries, { lineWidth: 2 }) : this.#chart.addSeries(CandlestickSeries, { borderVisible: false });
  }

  #colour({ colours, style, decimals }: ChartOptions): void {
    const { text, line, up, down, accent, accentSoft } = colours;
    this.#chart.applyOptions({
      layout: { background: { type: ColorType.Solid, color: "transparent" }, textColor: text },
      grid: { vertLines: { color: line }, horzLines: { color: line } },
    });
    const priceFormat = { type: "price" as const, precision: decimals, minMove: 10 ** -decimals };
    if (style === "line") (this.#price as ISeriesApi<"Area">).applyOptions({ lineColor: accent, topColor: accentSoft, bottomColor: "transparent", priceFormat });
    else (this.#price as ISeriesApi<"Candlestick">).applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down, priceFormat });
  }

  /** A candle as the library wants it. One of a single price rises or falls by the close before it. */
  #draw(bar: Bar): { price: object; volume: { time: UTCTimestamp; value: number; color: string } } {
    if (this.#last && bar.time > this.#last.time) this.#before = this.#last.close;
    this.#last = { ...bar };
    const { open, high, low, close, volume: value } = bar;
    const time = bar.time as UTCTimestamp;
    const { style, colours } = this.#options!;
    const rises = open === close ? close >= (this.#before ?? close) : close > open;
    const color = rises ? colours.up : colours.down;
    return {
      price: style === "line" ? { time, value: close } : { time, open, high, low, close, color, wickColor: color },
      volume: { time, value, color: rises ? colours.upSoft : colours.downSoft },
    };
  }
}

/** The chart's times are in UTC; people's are here. */
function here(time: Time, format: Intl.DateTimeFormatOptions): string {
  return new Date(Number(time as Exclude<Time, string | BusinessDay>) * 1000).toLocaleString(undefined, format);
}
function tick(time: Time, type: TickMarkType): string {
  switch (type) {
    case TickMarkType.Year:
      return here(time, { year: "numeric" });
    case TickMarkType.Month:
      return here(time, { month: "short" });
    case TickMarkType.DayOfMonth:
      return here(time, { day: "numeric", month: "short" });
    case TickMarkType.TimeWithSeconds:
      return here(time, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
    default:
      return here(time, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  }
}
