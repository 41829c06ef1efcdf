// Numbers and times as people read them. Pure but for the reader's language; formatters are made once, as making one is slow.

const DECIMALS_MAX = 6;
const numbers = Array.from({ length: DECIMALS_MAX + 1 }, (_, decimals) => new Intl.NumberFormat(undefined, { minimumFractionDigits: decimals, maximumFractionDigits: decimals }));
const counts = new Intl.NumberFormat(undefined, { maximumFractionDigits: 8 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 2 });
const clocks = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const days = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const daysOfYears = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

/** The decimals that a price needs: at least two, and more for small prices only. */
export function decimalsOf(price: number): number {
  const size = Math.abs(price);
  const most = size < 1 ? DECIMALS_MAX : size < 10 ? 4 : 2;
  for (let decimals = 2; decimals < most; decimals++) {
    const scaled = price * 10 ** decimals;
    if (Math.abs(scaled - Math.round(scaled)) < 1e-6) return decimals;
  }
  return most;
}

/** A price with that many decimals. */
export function amount(price: number, decimals = decimalsOf(price)): string {
  return numbers[Math.min(decimals, DECIMALS_MAX)]!.format(price);
}

export const count = (value: number): string => counts.format(value);
/** A number in few characters, such as 12.3K. */
export const brief = (value: number): string => (Math.abs(value) < 10_000 ? counts.format(value) : short.format(value));

/** A change in percent, rounded as it is shown, so that nothing is "-0.00"; `|| 0` makes a zero of minus zero. */
export function percent(value: number, since: number | undefined): number {
  return since ? Math.round((value / since - 1) * 1e4) / 100 || 0 : 0;
}
export function signed(value: number): string {
  return `${value > 0 ? "+" : value < 0 ? "−" : ""}${numbers[2]!.format(Math.abs(value))} %`;
}

/** Workers may write seconds; nobody trades in 1970. */
export const millis = (timestamp: number): number => (timestamp < 1e11 ? timestamp * 1000 : timestamp);

/** The time of day, here. */
export function clock(timestamp: unknown): string {
  const ms = millis(Number(timestamp));
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? clocks.format(ms) : "–";
}

/** The day that a time belongs to, here: for comparing. */
export const dayOf = (ms = Date.now()): string => new Date(ms).toDateString();
const isThisYear = (ms: number, now: number): boolean => new Date(ms).getFullYear() === new Date(now).getFullYear();

/** The date, here; empty if it is today's. */
export function day(timestamp: unknown, now = Date.now()): string {
  const ms = millis(Number(timestamp));
  const date = dayOf(ms);
  if (date === "Invalid Date" || date === dayOf(now)) return "";
  return (isThisYear(ms, now) ? days : daysOfYears).format(ms);
}

/** The time of day to the second; of another day behind its date. */
export const moment = (timestamp: unknown, now = Date.now()): string => `${day(timestamp, now)} ${clock(timestamp)}`.trim();

/** Why a price is pale while no trades are subscribed. */
export const tradesOff = (lastMs: unknown): string => `Trades are off: the last price, of ${moment(lastMs)}`;

/** The same in few characters: of another day to the minute, of another year the date alone. */
export function when(timestamp: unknown, now = Date.now()): string {
  const date = day(timestamp, now);
  const ms = millis(Number(timestamp));
  if (!date) return clock(timestamp);
  return isThisYear(ms, now) ? `${date} ${minutes.format(ms)}` : date;
}

/** A time span in words: 0.4 ms, 12 ms, 1.2 s. */
export function span(ms: number): string {
  if (ms < 1) return "< 1 ms";
  return ms < 1000 ? `${ms < 10 ? ms.toFixed(1) : Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
