// A scripted server and a clock that stands still until it is told to go on: the client sees WebSockets, the test their other end.

import type { Clock, Page, Socket, SocketClass } from "../src/index.js";

/** Lets everything run that is ready to. */
export const settle = () => new Promise<void>((done) => ("setImmediate" in globalThis ? setImmediate(done) : nextTask(done)));

/** What a page has in place of `setImmediate`: a task behind those that wait. */
function nextTask(done: () => void): void {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    done();
  };
  port2.postMessage(undefined);
}

export class FakeClock implements Clock {
  #now = 1_700_000_000_000;
  #timers = new Map<number, { at: number; run: () => void }>();
  #next = 1;

  now = () => this.#now;
  setTimeout = (run: () => void, ms: number) => {
    this.#timers.set(this.#next, { at: this.#now + ms, run });
    return this.#next++;
  };
  clearTimeout = (timer: unknown) => void this.#timers.delete(timer as number);

  /** Goes on to the next timer, if there is one up to then, or else to then. */
  async step(until: number): Promise<void> {
    const due = [...this.#timers].sort(([, a], [, b]) => a.at - b.at)[0];
    if (due && due[1].at <= until) {
      this.#timers.delete(due[0]);
      this.#now = Math.max(this.#now, due[1].at);
      due[1].run();
    } else {
      this.#now = until;
    }
    await settle();
  }

  isDue(until: number): boolean {
    return [...this.#timers.values()].some(({ at }) => at <= until);
  }

  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    while (this.#now < until || this.isDue(until)) await this.step(until);
  }

  /** The machine sleeps: time passes, and no timer runs before it wakes. */
  sleep(ms: number): void {
    this.#now += ms;
  }

  get timers(): number {
    return this.#timers.size;
  }
}

export class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  onerror: Socket["onerror"] = null;
  closedWith: { code: number | undefined } | undefined;
  #listeners: ((event: { data: string }) => void)[] = [];
  constructor(
    readonly url: string,
    readonly protocols: string[],
    readonly frames: any[],
  ) {}
  send(text: string): void {
    this.frames.push(JSON.parse(text));
  }
  close(code?: number): void {
    this.closedWith ??= { code };
  }
  /** For who listens beside the client, and before it. */
  addEventListener(_: "message", listener: (event: { data: string }) => void): void {
    this.#listeners.push(listener);
  }
  receive(data: string): void {
    for (const listener of this.#listeners) listener({ data });
    this.onmessage?.({ data });
  }
}

/** All connections that a client has made, newest last, and the frames that came on any of them. */
export class Server {
  readonly attempts: FakeSocket[] = [];
  readonly frames: any[] = [];
  readonly WebSocket: SocketClass;
  constructor() {
    const { attempts, frames } = this;
    this.WebSocket = class extends FakeSocket {
      constructor(url: string, protocols: string[]) {
        super(url, protocols, frames);
        attempts.push(this);
      }
    };
  }
  get last(): FakeSocket {
    const last = this.attempts.at(-1);
    if (!last) throw new Error("no connection was tried");
    return last;
  }
  accept(): void {
    this.last.onopen?.({});
  }
  send(message: unknown): void {
    this.last.receive(typeof message === "string" ? message : JSON.stringify(message));
  }
  close(code: number, reason = ""): void {
    this.last.onerror?.({});
    this.last.onclose?.({ code, reason });
  }
}

export class FakePage implements Page {
  #hidden = false;
  #callbacks = new Set<() => void>();
  hidden = () => this.#hidden;
  onChange = (run: () => void) => {
    this.#callbacks.add(run);
    return () => void this.#callbacks.delete(run);
  };
  show(isShown: boolean): void {
    this.#hidden = !isShown;
    for (const run of this.#callbacks) run();
  }
}
