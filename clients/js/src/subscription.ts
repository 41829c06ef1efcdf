// What comes of one subscription, or of one room: for callbacks and for a loop. What it asks of the gateway is the client's part.

import { onAbort } from "./environment.js";
import { GatewayError, textOf } from "./errors.js";
import type { EventOf, EventType, Loss } from "./types.js";

/** Who is told what comes, and how much of it waits. */
export interface StreamOptions<E> {
  /** What waits for the loop, at most; then the oldest is dropped and told as a loss. Default 1000. */
  bufferSize?: number | undefined;
  /** Ends it. */
  signal?: AbortSignal | undefined;
  onEvent?: ((event: E) => void) | undefined;
  onLoss?: ((loss: Loss) => void) | undefined;
  /** It was refused, or the connection is closed for good. The loop throws the same. */
  onError?: ((error: GatewayError) => void) | undefined;
}

/** What a subscribe asks for. */
export interface SubscribeOptions<T extends EventType = "trade"> extends StreamOptions<EventOf<T>> {
  /** Types of events; `["trade"]` if left out. */
  types?: readonly T[];
  /** Begin with the last event of each symbol (marked `snapshot`), also after a loss that cannot be resumed. Default true. */
  snapshot?: boolean;
  /** After a lost connection, ask for what was missed (marked `replay`). Needs workers that number their events. Default true. */
  resume?: boolean;
  /** Let a newer event replace one that waits; `"aggregate"` with the totals of those replaced. */
  conflate?: boolean | "aggregate";
  /** At most this many events a second of each symbol, the newest each time: 0.1 to 1000. */
  maxRate?: number;
}

/** What a stream needs of its client. */
export interface Owner<S> {
  drop(stream: S): void;
  report(error: GatewayError): void;
}

/** What comes, one after the other: loop over it with `for await`, or pass callbacks. */
export class Stream<E> implements AsyncIterable<E> {
  /** Resolves when the gateway has accepted it, all of it; rejects if the gateway refuses. */
  readonly ready: Promise<void>;
  #settle!: { resolve: () => void; reject: (error: GatewayError) => void };
  #owner: Owner<any>;
  #options: StreamOptions<E>;
  /** What comes before the loop begins waits for it, unless a callback has it. */
  #buffer: E[] | undefined;
  #loops = false;
  #wake: (() => void) | undefined;
  #overflow = 0;
  #ended = false;
  #error: GatewayError | undefined;
  #unlisten: () => void;

  /** @internal */
  constructor(owner: Owner<any>, options: StreamOptions<E>) {
    this.#owner = owner;
    this.#options = options;
    if (!options.onEvent) this.#buffer = [];
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    // Whoever does not await it hears of a refusal by `onError` or the loop.
    this.ready.catch(() => {});
    this.#unlisten = onAbort(options.signal, () => this.unsubscribe());
  }

  /** Ends it, and the loop over it. Nothing of it is delivered afterwards. */
  unsubscribe(): void {
    this.end();
    this.#owner.drop(this);
  }

  [Symbol.asyncIterator](): AsyncIterator<E> {
    if (this.#loops) throw new Error("There is a loop over this already: subscribe once for each loop.");
    this.#loops = true;
    const buffer = (this.#buffer ??= []);
    if (this.#overflow) queueMicrotask(() => this.#tellOverflow());
    return {
      next: async () => {
        for (;;) {
          const value = buffer.shift();
          if (value) {
            return { done: false, value };
          }
          if (this.#error) throw this.#error;
          if (this.#ended) return { done: true, value: undefined };
          await new Promise<void>((wake) => (this.#wake = wake));
        }
      },
      return: async () => {
        this.unsubscribe();
        return { done: true, value: undefined };
      },
    };
  }

  /** @internal */
  deliver(event: E): void {
    if (this.#ended) return;
    const { onEvent, bufferSize = 1000 } = this.#options;
    const buffer = this.#buffer;
    if (buffer) {
      if (buffer.length >= bufferSize) {
        buffer.shift();
        this.#overflow++;
        // One loss for all that one burst drops.
        if (this.#overflow === 1 && this.#loops) queueMicrotask(() => this.#tellOverflow());
      }
      buffer.push(event);
      this.#wake?.();
    }
    this.call(onEvent, event);
  }

  /** @internal */
  lose(loss: Loss): void {
    if (!this.#ended) this.call(this.#options.onLoss, loss);
  }

  /** @internal The gateway has accepted it. */
  accept(): void {
    this.#settle.resolve();
  }

  /** @internal Ends it, with an error if it did not end as asked. */
  end(error?: GatewayError): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#error = error;
    this.#unlisten();
    if (error) {
      this.#settle.reject(error);
      this.call(this.#options.onError, error);
    } else {
      this.accept();
    }
    this.#wake?.();
  }

  #tellOverflow(): void {
    const count = this.#overflow;
    this.#overflow = 0;
    this.lose({ kind: "overflow", count });
  }

  /** A callback that throws must not cost the others their events. */
  protected call<A>(callback: ((value: A) => void) | undefined, value: A): void {
    try {
      callback?.(value);
    } catch (thrown) {
      this.#owner.report(new GatewayError("CALLBACK", `A callback threw: ${textOf(thrown)}`, thrown));
    }
  }
}

/** A running subscription. */
export class Subscription<T extends EventType = "trade"> extends Stream<EventOf<T>> {}
