// The console's own connection, in a form that is not the page's. It sends what such a client sends, shows what comes as it is on the wire,
// and does not come back by itself.

import { address } from "./feed.js";
import type { Form } from "./forms.js";

export interface SpeakerListener {
  received(text: string): void;
  /** The line of that index has been sent. */
  sent(index: number): void;
  ended(why: string): void;
}

export interface Speaker {
  /** Sends a message, if there is a connection that takes some. */
  send(text: string): boolean;
  close(): void;
}

export function speak(form: Form, listener: SpeakerListener): Speaker {
  return form.path.startsWith("sse?") ? listen(form, listener) : talk(form, listener);
}

/** Over a WebSocket. */
function talk(form: Form, listener: SpeakerListener): Speaker {
  const socket = new WebSocket(address(form.path));
  let next = 0;
  const line = () => {
    const text = form.lines[next];
    if (text === undefined) return;
    socket.send(text);
    listener.sent(next++);
  };
  socket.onopen = () => {
    while (!form.isAnswering && next < form.lines.length) line();
  };
  socket.onmessage = ({ data }) => {
    // Engine.IO's ping is a message, and so is the answer.
    if (data === "2") socket.send("3");
    listener.received(String(data));
    line();
  };
  socket.onclose = ({ code, reason }) => listener.ended(reason ? `${code}, ${reason}` : String(code));
  return {
    send(text) {
      if (socket.readyState !== WebSocket.OPEN) return false;
      socket.send(text);
      return true;
    },
    close() {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    },
  };
}

/** To a stream of server-sent events, by `fetch`: an `EventSource` tells its events, but not how they are written. */
function listen(form: Form, listener: SpeakerListener): Speaker {
  const stop = new AbortController();
  const read = async () => {
    const answer = await fetch(form.path, { signal: stop.signal, cache: "no-store" });
    if (!answer.ok) throw new Error(`${answer.status}, ${await answer.text()}`);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    for (let text = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) throw new Error("the stream is over");
      const events = (text + value).split("\n\n");
      text = events.pop()!;
      for (const event of events) listener.received(event);
    }
  };
  read().catch((thrown: Error) => stop.signal.aborted || listener.ended(thrown.message));
  return { send: () => false, close: () => stop.abort() };
}
