// One scene of clients/behaviour/gateway (the table's README says what the steps mean): a gateway as users run it is brought to what the
// behaviour table has a scripted server do, and time passes as it does. It runs in Node and in a page.

import assert from "node:assert/strict";
import { connect, type SocketClass } from "../src/index.js";
import { type Case, HAS, matches, Run, take } from "./run.js";

export type Scene = Case & { shows: string[] };

/** Does what a step says outside of the client: see outside.ts. */
export type Does = (verb: string, value?: any) => Promise<any>;

const PATIENCE_MS = 60_000;
/** What is looked at again until it holds. All else comes as it is, or not at all. */
const MAY_COME = ["expect_state", "expect_states", "expect_latest", "expect_user", "expect_token_left", "expect_last_error", "expect_last_loss", "expect_last_loss_on", "expect_announced_wait"];
const OUTSIDE = ["gateway", "upstream", "stop", "pause", "go_on", "publish", "flood", "way", "other", "expect_protocol"];
/** Statuses that the client asks for itself. */
const USUAL = ["heartbeat", "snapshotEnd", "replayEnd"];

const sleep = (ms: number) => new Promise<void>((done) => setTimeout(done, ms));

/** Waits for it, but not for ever. */
async function soon(done: void | Promise<void>): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<void>((_, fail) => (timer = setTimeout(() => fail(new Error("it takes too long")), PATIENCE_MS)));
  await Promise.race([done, late]).finally(() => clearTimeout(timer));
}

class RealRun extends Run {
  readonly #does: Does;
  readonly #WebSocket: SocketClass;
  #renews = true;

  constructor(scene: Scene, does: Does, WebSocket: SocketClass) {
    super({ name: scene.name, steps: [] }, 0, (made) => made);
    this.#does = does;
    this.#WebSocket = WebSocket;
    Object.assign(this.steps, this.#own, Object.fromEntries(OUTSIDE.map((verb) => [verb, (value: any) => does(verb, value)])));
  }

  async #token(why: string): Promise<string> {
    if (why === "expiring" && !this.#renews) throw new Error("no other token");
    return this.#does("sign", this.token());
  }

  readonly #own: Record<string, (value: any) => void | Promise<void>> = {
    sleep_ms: sleep,
    client: async ({ options = {}, tokens, token, user, in_url, renews = true, chance }) => {
      this.client.close();
      this.states.length = 0;
      const url = await this.#does("listen", { user, in_url });
      this.tokens = tokens;
      this.#renews = renews;
      const provider = tokens ? { token: (why: string) => this.#token(why) } : token ? { token: await this.#does("sign", token) } : {};
      this.listen(connect(url, { WebSocket: this.#WebSocket, backoffBaseMs: 50, backoffMaxMs: 200, page: this.page, ...(chance !== undefined && { random: () => chance }), ...options, ...provider }));
      this.client.on("status", ({ event }) => USUAL.includes(event) && this.statuses.pop());
    },
    expect_event: (event) => matches(this.events.shift(), { on: "a", ...event }, "event"),
    expect_announced_wait: (status) => {
      const [announced] = this.statuses;
      matches(announced, status, "status");
      const { reconnectAfterMs } = announced.data;
      assert(this.states.some(({ status, retryInMs }) => status === "waiting" && retryInMs === reconnectAfterMs), `no wait of ${reconnectAfterMs} ms in ${JSON.stringify(this.states)}`);
      this.statuses.shift();
    },
    expect_last_error: (error) => {
      // Others may have come before.
      matches(this.errors.at(-1), error, "error");
      this.errors.length = 0;
    },
    expect_last_loss: (loss) => {
      matches(this.losses.at(-1), loss, "loss");
      this.losses.length = 0;
    },
    expect_last_loss_on: (loss) => {
      matches(this.streamLosses.at(-1), loss, "loss");
      this.streamLosses.length = 0;
    },
    forget: (what) => {
      const lists: Record<string, unknown[]> = { events: this.events, errors: this.errors, losses: this.losses, at_desk: this.atDesk };
      lists[what]!.length = 0;
    },
    expect_ready: (as) => (this.subscriptions.get(as) ?? (this.streams.get(as) as any)).ready,
  };

  /** What steps take from the front of. */
  readonly #lists: Record<string, unknown[]> = {
    expect_event: this.events,
    expect_loss: this.losses,
    expect_error: this.errors,
    expect_status: this.statuses,
    expect_at_desk: this.atDesk,
    expect_members: this.members,
    expect_outcome: this.outcomes,
    expect_loss_on: this.streamLosses,
  };

  /** Makes a step, and waits until what it expects has come. */
  override async step(verb: string, value: any): Promise<void> {
    const does = this.steps[verb];
    assert(does, `the table has a step that this runner does not know: ${verb}`);
    const until = Date.now() + PATIENCE_MS;
    const isEarly = () => this.#lists[verb]?.length === 0;
    while (isEarly() && Date.now() < until) await sleep(10);
    assert(!isEarly(), "nothing has come");
    for (;;) {
      try {
        return await soon(does(value));
      } catch (error) {
        if (!MAY_COME.includes(verb) || Date.now() > until) throw error;
        await sleep(10);
      }
    }
  }

  override end(): void {
    const { events, losses, atDesk, outcomes } = this;
    const errors = this.errors.map(({ code, message }) => `${code}: ${message}`);
    assert.deepEqual({ events, losses, atDesk, outcomes, errors }, { events: [], losses: [], atDesk: [], outcomes: [], errors: [] });
  }

  async leave(): Promise<void> {
    this.client.close();
    await this.#does("end");
  }
}

/** What a client in a page has besides, and one in Node.js. */
export const [IN_PAGE, IN_NODE] = [["origin"], ["no_origin"]];

/** Whether this client has what a case or a scene needs. */
export const isFor = ({ needs = [] }: { needs?: string[] }, where: string[]) => needs.every((need) => HAS.includes(need) || where.includes(need));

/** Plays a scene. */
export async function playScene(file: string, scene: Scene, does: Does, WebSocket: SocketClass): Promise<void> {
  const run = new RealRun(scene, does, WebSocket);
  try {
    await take(file, scene, run);
    run.end();
  } finally {
    await run.leave();
  }
}
