// A value for React that is made outside of it: it renders again when the value has changed, at most once a frame.

import { useCallback, useRef, useSyncExternalStore } from "react";

/** Renders again with what `read` returns at the next frame; the newest `read` of a frame counts. */
export type Draw<V> = (read: () => V) => void;

/**
 * The value of what `start` begins when the component is mounted and ends by what it returns, and begins again when `start` is another
 * function. Until that has drawn for the first time it is `nothing`: what belongs to another symbol or room is never shown for this one.
 */
export function useLive<V>(nothing: V, start: (draw: Draw<V>) => () => void): V {
  const live = useRef({ start, value: nothing });
  const subscribe = useCallback(
    (changed: () => void) => {
      let next: (() => V) | undefined;
      let frame: number | undefined;
      let isOver = false;
      live.current = { start, value: nothing };
      const due = () => {
        if (isOver || !next) return;
        live.current = { start, value: next() };
        next = undefined;
        changed();
      };
      const stop = start((read) => {
        const isWaiting = next;
        next = read;
        if (isWaiting) return;
        if (typeof requestAnimationFrame === "undefined") queueMicrotask(due);
        else frame = requestAnimationFrame(due);
      });
      return () => {
        isOver = true;
        stop();
        if (frame !== undefined) cancelAnimationFrame(frame);
      };
    },
    [start],
  );
  const now = () => (live.current.start === start ? live.current.value : nothing);
  return useSyncExternalStore(subscribe, now, now);
}
