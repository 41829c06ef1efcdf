// The connection's frames as they go by: for the console, for counts, and for what the client keeps to itself. The client makes its
// connections with this class.

/** Who is told of the frames. */
export interface Listener {
  received(text: string): void;
  sent(text: string): void;
}

export interface Tap {
  /** The class that the client makes connections with. */
  WebSocket: typeof WebSocket;
  /** Sends a request beside the client's own, if there is a connection. */
  send(text: string): boolean;
}

/** Longer than the mark at the end of a replayed event. */
const MARK_MAX = 64;

/** Whether a frame is an event that came again. Events of a delayed feed say so as well behind that mark. */
export const isReplay = (text: string): boolean => /,"replay":true(,"delayedMs":\d+)?}$/.test(text.slice(-MARK_MAX));

export function tap(listener: Listener): Tap {
  let current: WebSocket | undefined;
  class Tapped extends WebSocket {
    constructor(url: string, protocols: string[]) {
      super(url, protocols);
      current = this;
      // Before the client hears of it.
      this.addEventListener("message", ({ data }) => {
        if (current === this) listener.received(data);
      });
    }
    override send(text: string): void {
      super.send(text);
      listener.sent(text);
    }
  }
  return {
    WebSocket: Tapped as typeof WebSocket,
    send(text) {
      if (current?.readyState !== WebSocket.OPEN) return false;
      current.send(text);
      return true;
    },
  };
}
