// The desk: rooms, chat, who is there, notifications, questions to workers, on the connection of a client. After each connect it joins its
// rooms again; what may have been missed meanwhile is told as a loss.

import type { Client, Guest, Link } from "./client.js";
import type { Message } from "./connection.js";
import type { Chat, Notification, RoomEvent } from "./desk-types.js";
import { errorOf, GatewayError } from "./errors.js";
import { Room, type RoomOptions } from "./room.js";
import type { AnyClient } from "./shared.js";
import { Stream, type StreamOptions } from "./subscription.js";

export type { Chat, Members, Moved, Notification, PresenceCount, RoomEvent, RoomMessage, Typing } from "./desk-types.js";
export { Room, type RoomOptions } from "./room.js";

/** Who is told what comes for this user. */
export interface InboxOptions extends Omit<StreamOptions<Chat | Notification>, "onEvent"> {
  onMessage?: (message: Chat | Notification) => void;
}

/** A room that somebody here is in or wants to be in. */
interface Place {
  rooms: Set<Room>;
  /** The gateway has confirmed it on this connection; or on an earlier one. */
  isIn: boolean;
  wasIn: boolean;
  /** The user who has joined last since we have asked to. */
  joined?: string | undefined;
  /** The next who joins is us. */
  isNext?: boolean;
}

/** What has a `room_id` because the gateway says so; with another type it is a worker's. */
const OF_ROOMS = ["room_message", "user_joined", "user_left", "typing", "presence"];
/**
 * To leave a room that one isn't in changes nothing. The answer tells whether this client has a desk here; and where it has connected before its
 * program looked for the desk, the gateway sends broadcasts from then on.
 */
const HELLO = "nowhere";
/** More ids of messages than that are not remembered. A gateway repeats few: those that it had sent and did not know to have arrived. */
const IDS_MAX = 4_096;

const desks = new WeakMap<AnyClient, Desk>();

/** The desk of a client: always the same one. */
export function deskOf(client: AnyClient): Desk {
  let desk = desks.get(client);
  if (!desk) desks.set(client, (desk = new Desk(client)));
  return desk;
}

export class Desk {
  /** Resolves when the gateway has said that there is a desk for this client, rejects if there is none. */
  readonly ready: Promise<void>;
  #settle!: { resolve: () => void; reject: (error: GatewayError) => void };
  #link: Link;
  #places = new Map<string, Place>();
  #inboxes = new Set<Stream<Chat | Notification>>();
  /** What waits for an answer, by the number of the request. */
  #asked = new Map<unknown, (answer: Message) => void>();
  #timers = new Set<unknown>();
  #seen = new Set<string>();
  #user: string | undefined;
  #wasOpen = false;
  /** Why there is nothing to be had here. */
  #refused: GatewayError | undefined;

  /** @internal Use `deskOf`. */
  constructor(client: AnyClient) {
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));
    this.ready.catch(() => {});
    const guest: Guest = {
      opened: () => this.#opened(),
      take: (message) => this.#take(message),
      lost: () => this.#lost(),
      closed: (error) => this.#end(error),
    };
    this.#link = (client as AnyClient & Pick<Client, "attach">).attach(guest);
    if (client.state.status === "closed") this.#end(undefined);
    if (this.#link.isOpen()) this.#opened();
  }

  /** The user that this client is, once it has been told that it has joined a room. In an open gateway each connection is a user of its own. */
  get user(): string | undefined {
    return this.#user;
  }

  /** Joins a room, now or as soon as there is a connection, and after each reconnect. */
  join(id: string, options: RoomOptions = {}): Room {
    const room = new Room(
      {
        ask: (type, payload) => this.#promise(type, { room_id: id, ...payload }),
        drop: (gone) => this.#leave(id, gone as Room),
        report: (error) => this.#link.report(error),
      },
      id,
      options,
    );
    if (options.signal?.aborted || this.#refused) {
      room.end(options.signal?.aborted ? undefined : this.#refused);
      return room;
    }
    const place = this.#places.get(id) ?? { rooms: new Set(), isIn: false, wasIn: false };
    place.rooms.add(room);
    if (place.isIn) queueMicrotask(() => room.enter());
    else if (!this.#places.has(id)) this.#join(id, place);
    this.#places.set(id, place);
    return room;
  }

  /** Chats and notifications for this user, and broadcasts, for as long as it is not ended. Each comes once, also one that the gateway repeats. */
  inbox(options: InboxOptions = {}): Stream<Chat | Notification> {
    const owner = { drop: (gone: Stream<any>) => this.#inboxes.delete(gone), report: (error: GatewayError) => this.#link.report(error) };
    const inbox = new Stream<Chat | Notification>(owner, { ...options, onEvent: options.onMessage });
    if (options.signal?.aborted || this.#refused) inbox.end(options.signal?.aborted ? undefined : this.#refused);
    else this.#inboxes.add(inbox);
    void this.ready.then(
      () => inbox.accept(),
      () => {},
    );
    return inbox;
  }

  /** Writes to a user. Resolves when the gateway has it on its way; what it does not confirm may have been delivered, and is not sent again. */
  async chat(to: string, message: unknown): Promise<void> {
    await this.#promise("chat", { to, message });
  }

  /** Asks the workers (the gateway's `REQUESTS`); resolves with the `payload` of their response. */
  async request(payload: unknown): Promise<any> {
    const requestId = this.#link.nextId();
    const { payload: response } = await this.#answer(requestId, { type: "request", requestId, payload });
    return response;
  }

  #opened(): void {
    this.#refused = undefined;
    this.#send("leave_room", { room_id: HELLO }, (answer) => this.#greeted(answer));
    for (const [id, place] of this.#places) this.#join(id, place);
  }

  #greeted(answer: Message): void {
    const error = answer.type === "error" ? errorOf(answer) : undefined;
    if (!error || error.isBusy) {
      this.#settle.resolve();
      if (this.#wasOpen) this.#missed();
      this.#wasOpen = true;
    } else if (error.code !== "CONNECTION_LOST") {
      const isUnknown = error.code === "INVALID_INPUT" || error.code === "UNKNOWN_ACTION";
      this.#end(isUnknown ? new GatewayError("NO_DESK", "This gateway has no desk: it needs DESK=true", error) : error);
    }
  }

  /** What came for the user or for all while there was no connection. */
  #missed(): void {
    if (!this.#inboxes.size) return;
    for (const [type, symbol] of [["user", this.#user ?? "*"], ["broadcast", "*"]] as const) {
      const loss = { kind: "notRecovered", type, symbol } as const;
      for (const inbox of this.#inboxes) inbox.lose(loss);
      this.#link.lose(loss);
    }
  }

  #join(id: string, place: Place): void {
    const isWanted = () => this.#places.get(id) === place;
    place.joined = undefined;
    place.isNext = false;
    this.#send("join_room", { room_id: id }, (answer) => {
      if (!isWanted() || answer.code === "CONNECTION_LOST") return;
      if (answer.type !== "error") return this.#entered(id, place);
      const error = errorOf(answer);
      this.#link.report(error);
      if (error.isBusy) return this.#later((error.retryAfter ?? 1) * 1_000, () => isWanted() && this.#join(id, place));
      this.#places.delete(id);
      for (const room of place.rooms) room.end(error);
    });
  }

  #entered(id: string, place: Place): void {
    // Our own join is told right before the answer, or else as the first of the room behind it.
    if (place.joined === undefined) place.isNext = true;
    else this.#user = place.joined;
    place.isIn = true;
    const loss = { kind: "notRecovered", type: "room", symbol: id } as const;
    for (const room of place.rooms) {
      if (place.wasIn) room.lose(loss);
      room.enter();
    }
    if (place.wasIn) this.#link.lose(loss);
    place.wasIn = true;
  }

  #leave(id: string, gone: Room): void {
    const place = this.#places.get(id);
    if (!place?.rooms.delete(gone) || place.rooms.size) return;
    this.#places.delete(id);
    this.#send("leave_room", { room_id: id }, (answer) => {
      if (answer.type === "error" && answer.code !== "CONNECTION_LOST") this.#link.report(errorOf(answer));
    });
  }

  #take(message: Message): void {
    const { type, id, requestId, data } = message;
    const answered = id ?? requestId;
    const answer = this.#asked.get(answered);
    if (answer) {
      this.#asked.delete(answered);
      answer(message);
    } else if (!this.#link.isAtDesk(message)) {
      // For others.
    } else if (type === "status") {
      const to = data.type === "room" ? this.#places.get(data.symbol)?.rooms : this.#inboxes;
      for (const one of to ?? []) one.lose({ kind: "skipped", ...data });
    } else if (OF_ROOMS.includes(type as string)) {
      this.#inRoom(message as RoomEvent);
    } else if (type !== "response" && !this.#isRepeat(message)) {
      for (const inbox of this.#inboxes) inbox.deliver(message as Chat);
    }
  }

  #inRoom(event: RoomEvent): void {
    const place = this.#places.get(event.room_id);
    if (!place) return;
    if (event.type === "user_joined") {
      place.joined = event.user_id;
      if (place.isNext) this.#user = event.user_id;
      place.isNext = false;
    }
    const isOwnLeave = event.type === "user_left" && place.isIn && event.user_id === this.#user;
    for (const room of place.rooms) room.take(event);
    // Nobody here has left: its rights have become fewer, and it is told so, or it is back.
    if (!isOwnLeave) return;
    place.isIn = false;
    this.#join(event.room_id, place);
  }

  /** It has come before: the gateway repeats what it doesn't know to have arrived. A worker's own `message_id` is none of ours. */
  #isRepeat({ type, message_id, queued }: Message): boolean {
    if (typeof message_id !== "string") return false;
    const isKnown = this.#seen.has(message_id) && (type === "chat" || queued === true);
    this.#seen.delete(message_id);
    this.#seen.add(message_id);
    if (this.#seen.size > IDS_MAX) this.#seen.delete(this.#seen.values().next().value!);
    return isKnown;
  }

  #lost(): void {
    const asked = [...this.#asked.values()];
    this.#forget();
    for (const answer of asked) answer({ type: "error", code: "CONNECTION_LOST", message: "The connection was lost: it may have been done, and is not tried again" });
    for (const place of this.#places.values()) place.isIn = false;
  }

  #end(error: GatewayError | undefined): void {
    this.#lost();
    this.#refused = error ?? new GatewayError("CLOSED", "This client is closed: make a new one.");
    this.#settle.reject(this.#refused);
    for (const { rooms } of this.#places.values()) for (const room of rooms) room.end(error);
    for (const inbox of this.#inboxes) inbox.end(error);
    this.#places.clear();
    this.#inboxes.clear();
  }

  #forget(): void {
    this.#asked.clear();
    for (const timer of this.#timers) this.#link.clock.clearTimeout(timer);
    this.#timers.clear();
  }

  #later(ms: number, run: () => void): void {
    const timer = this.#link.clock.setTimeout(() => {
      this.#timers.delete(timer);
      run();
    }, ms);
    this.#timers.add(timer);
  }

  #send(type: string, payload: object, answer: (answer: Message) => void): void {
    if (!this.#link.isOpen()) return;
    const id = this.#link.nextId();
    this.#asked.set(id, answer);
    this.#link.send({ type, payload, id });
  }

  #promise(type: string, payload: object): Promise<Message> {
    const id = this.#link.nextId();
    return this.#answer(id, { type, payload, id });
  }

  #answer(id: number, request: object): Promise<Message> {
    if (this.#refused) return Promise.reject(this.#refused);
    if (!this.#link.isOpen()) return Promise.reject(new GatewayError("NOT_CONNECTED", "There is no connection: nothing was sent"));
    return new Promise((resolve, reject) => {
      this.#asked.set(id, (answer) => (answer.type === "error" ? reject(errorOf(answer)) : resolve(answer)));
      this.#link.send(request);
    });
  }
}
