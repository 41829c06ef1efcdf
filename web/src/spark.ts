// A sparkline: the latest prices of a symbol, at most one a second, and the path that draws them. Pure.

const POINTS_MAX = 60;
const EVERY_MS = 1_000;

export class Spark {
  readonly points: number[] = [];
  #sampledAt = -Infinity;

  /** Adds a price; within a second of the point before it takes its place. */
  add(price: number, atMs: number): void {
    if (this.points.length && atMs - this.#sampledAt < EVERY_MS) {
      this.points[this.points.length - 1] = price;
      return;
    }
    this.#sampledAt = atMs;
    this.points.push(price);
    if (this.points.length > POINTS_MAX) this.points.shift();
  }

  /** The clock was set back: the next price is a point of its own. */
  setBack(): void {
    this.#sampledAt = -Infinity;
  }

  clear(): void {
    this.points.length = 0;
    this.#sampledAt = -Infinity;
  }
}

/** The line through the points in a box, from left to right; a flat one is in the middle. */
export function path(points: readonly number[], width: number, height: number): string {
  if (!points.length) return "";
  const low = Math.min(...points);
  const high = Math.max(...points);
  const y = (point: number) => (high === low ? height / 2 : height - 1.5 - ((point - low) / (high - low)) * (height - 3));
  if (points.length === 1) return `M0 ${y(points[0]!).toFixed(1)}H${width}`;
  const step = width / (points.length - 1);
  return points.map((point, index) => `${index ? "L" : "M"}${(index * step).toFixed(1)} ${y(point).toFixed(1)}`).join("");
}

/** The area between such a line and the bottom of its box. */
export function area(line: string, height: number): string {
  return line && `${line}V${height}H0Z`;
}
