// React hooks: a price, the connection, a room as values that render again when they change, at most once a frame.

import { useCallback, useRef, useSyncExternalStore } from "react";
import type { GatewayError } from "./errors.js";
import { type Draw, useLive } from "./react-live.js";
import type { AnyClient } from "./shared.js";
import type { ConnectionState, EventOf, EventType, Latest, Loss } from "./types.js";

export * from "./react-desk.js";

/** What `usePrice` gives. */
export interface Price<T extends EventType> {
  /** The last event, if one has come. */
  event: EventOf<T> | undefined;
  /** Whether it may be shown as current. */
  fresh: boolean;
  /** The last loss of the symbol, if events are missing. */
  loss: Loss | undefined;
  /** Why the gateway refuses it. */
  error: GatewayError | undefined;
}

export interface PriceOptions<T extends EventType> {
  /** Default `"trade"`. */
  type?: T;
  /** Of a candle. */
  interval?: string;
  conflate?: boolean | "aggregate";
  maxRate?: number;
}

const NOTHING: Price<any> = { event: undefined, fresh: false, loss: undefined, error: undefined };

/** How the connection and the gateway's feed are. */
export function useConnection(client: AnyClient): ConnectionState {
  const state = useRef<ConnectionState>(client.state);
  const subscribe = useCallback(
    (changed: () => void) => {
      state.current = client.state;
      return client.on("state", (now) => {
        state.current = now;
        changed();
      });
    },
    [client],
  );
  const now = () => state.current;
  return useSyncExternalStore(subscribe, now, now);
}

/** The last price of a symbol (or another event of it), subscribed to for as long as the component is mounted. */
export function usePrice<const T extends EventType = "trade">(client: AnyClient, symbol: string, options: PriceOptions<T> = {}): Price<T> {
  const { type = "trade" as T, interval, conflate, maxRate } = options;
  const start = useCallback(
    (draw: Draw<Price<T>>) => {
      let [loss, error]: [Loss | undefined, GatewayError | undefined] = [undefined, undefined];
      const read = () => {
        const latest: Latest<T> | undefined = client.latest(symbol, type, interval);
        return { event: latest?.event, fresh: latest?.fresh ?? false, loss, error };
      };
      const ask = () => draw(read);
      const subscription = client.subscribe<T>(symbol, {
        types: [type],
        ...(conflate === undefined ? {} : { conflate }),
        ...(maxRate === undefined ? {} : { maxRate }),
        onEvent: ask,
        onLoss: (lost) => ((loss = lost), ask()),
        onError: (refused) => ((error = refused), ask()),
      });
      const unlisten = client.on("state", ask);
      ask();
      return () => {
        unlisten();
        subscription.unsubscribe();
      };
    },
    [client, symbol, type, interval, conflate, maxRate],
  );
  return useLive(NOTHING as Price<T>, start);
}
