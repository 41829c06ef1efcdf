// Who is told what happens to a client.

import type { ClientEvents } from "./client.js";
import { GatewayError, textOf } from "./errors.js";

export class Callbacks {
  #all = new Map<keyof ClientEvents, Set<(value: any) => void>>();

  on<K extends keyof ClientEvents>(event: K, callback: (value: ClientEvents[K]) => void): () => void {
    const callbacks = this.#all.get(event) ?? new Set();
    this.#all.set(event, callbacks.add(callback));
    return () => void callbacks.delete(callback);
  }

  tell<K extends keyof ClientEvents>(event: K, value: ClientEvents[K]): void {
    const callbacks = [...(this.#all.get(event) ?? [])];
    // Whoever listens to none should not wonder why nothing comes.
    if (event === "error" && !callbacks.length) console.warn(String(value));
    for (const callback of callbacks) {
      try {
        callback(value);
      } catch (thrown) {
        // A callback for errors that throws has nobody left to tell.
        if (event !== "error") this.tell("error", new GatewayError("CALLBACK", `A callback for ${event} threw: ${textOf(thrown)}`, thrown));
      }
    }
  }
}
