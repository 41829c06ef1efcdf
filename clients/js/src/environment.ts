// What the client takes from where it runs: clock, chance, WebSocket, and the page if there is one. Tests bring their own.

import { GatewayError } from "./errors.js";

/** A clock in milliseconds, with timers. */
export interface Clock {
  now(): number;
  setTimeout(run: () => void, ms: number): unknown;
  clearTimeout(timer: unknown): void;
}

/** The part of a WebSocket that the client uses; a browser's, Node's and npm's `ws` have it. */
export interface Socket {
  send(text: string): void;
  close(code?: number, reason?: string): void;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
}

/** What makes a connection. */
export type SocketClass = new (url: string, protocols: string[]) => Socket;

/** A page that may be hidden; `onChange` also tells that the network is back, and returns what ends the telling. */
export interface Page {
  hidden(): boolean;
  onChange(run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  setTimeout: (run, ms) => setTimeout(run, ms),
  clearTimeout: (timer) => clearTimeout(timer as number),
};

/** The WebSocket of this browser or Node. */
export function systemSocket(): SocketClass {
  const found = (globalThis as { WebSocket?: SocketClass }).WebSocket;
  if (!found) {
    throw new GatewayError(
      "NO_WEBSOCKET",
      "This Node.js has no WebSocket of its own (Node 22 has): `npm install ws`, `import WebSocket from \"ws\"`, and pass `{ WebSocket }`.",
    );
  }
  return found;
}

/** The page that this runs in, if it runs in one. */
export function systemPage(): Page | undefined {
  if (typeof document === "undefined" || typeof addEventListener === "undefined") return undefined;
  return {
    hidden: () => document.visibilityState === "hidden",
    onChange(run) {
      document.addEventListener("visibilitychange", run);
      addEventListener("online", run);
      return () => {
        document.removeEventListener("visibilitychange", run);
        removeEventListener("online", run);
      };
    },
  };
}

/** Runs that when the signal is given, until the returned function is called. */
export function onAbort(signal: AbortSignal | undefined, run: () => void): () => void {
  signal?.addEventListener("abort", run);
  return () => signal?.removeEventListener("abort", run);
}
