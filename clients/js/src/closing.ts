// What a close means: whether the client tries again, when, and what a person can do. Pure: time and chance come in as numbers.

/** Codes at which the same attempt would fail again, and what to do. */
const FINAL: Record<number, string> = {
  1002: "the gateway could not read a frame; a proxy between may have changed it",
  1003: "the gateway takes text frames only",
  1007: "the gateway got text that is no UTF-8",
  1008: "the gateway refuses this client as it is",
  1009: "a request was larger than MAX_MESSAGE_SIZE; subscribe to fewer symbols at once",
  1010: "the gateway lacks an extension that this client asked for",
};

/** Why trying again cannot help, or `undefined` if it can. */
export function whyFinal(code: number): string | undefined {
  return FINAL[code];
}

/**
 * Milliseconds until the next attempt: full jitter, that is any time from 0 to `baseMs` doubled with each failed attempt, at most
 * `maxMs`. `chance` is from 0 to below 1.
 */
export function backoffMs(attempts: number, baseMs: number, maxMs: number, chance: number): number {
  return Math.floor(chance * Math.min(maxMs, baseMs * 2 ** Math.min(attempts, 31)));
}
