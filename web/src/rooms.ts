// The room: one at a time, with its members, what is written in it, who writes something, and what comes for this user alone. It is
// there where the gateway has a desk. Messages are drawn with the next paint, and only the latest of a flood.

import { type Chat, type Desk, deskOf, type Members, type Notification, type Room, type RoomMessage } from "../../clients/js/src/desk.js";
import type { Client, GatewayError, Loss } from "../../clients/js/src/index.js";
import { button, byId, make, say, time } from "./dom.js";
import { count } from "./format.js";
import { load, store } from "./settings.js";

const LINES_MAX = 200;
const TEXT_MAX = 2_000;
/** Others are told that somebody writes at most so often, and believe it somewhat longer. */
const TYPING_EVERY_MS = 3_000;
const TYPING_FOR_MS = 5_000;

interface Line {
  kind: "said" | "direct" | "moved" | "notice" | "loss";
  who: string;
  text: string;
  atMs: number;
}

/** A user as it is shown: enough of an anonymous one's digits to tell them apart. */
const short = (user: string): string => (/^anon-[0-9a-f]{16}$/.test(user) ? user.slice(0, 9) : user);

export class Rooms {
  readonly #ask: () => void;
  #desk: Desk | undefined;
  #room: Room | undefined;
  /** Whom the next message is for, if not all of the room. */
  #to = "";
  #waiting: Line[] = [];
  #typing = new Map<string, number>();
  #typedAt = -Infinity;

  constructor(ask: () => void) {
    this.#ask = ask;
    byId<HTMLInputElement>("room-id").value = load("room") ?? "";
    byId("room-form").addEventListener("submit", (event) => {
      event.preventDefault();
      const id = byId<HTMLInputElement>("room-id").value.trim();
      if (id) this.#join(id, true);
    });
    byId("room-leave").addEventListener("click", () => this.#leave());
    const members = byId("room-members");
    byId("room-count").addEventListener("click", () => {
      members.hidden = !members.hidden;
      byId("room-count").ariaExpanded = String(!members.hidden);
    });
    byId("room-all").addEventListener("click", () => this.#address(""));
    byId("room-say").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#say();
    });
    byId("room-text").addEventListener("input", () => this.#types());
  }

  /** Another connection, perhaps of another user. */
  use(client: Client): void {
    this.#desk = deskOf(client);
    this.#room = undefined;
    this.#show(undefined);
    const isMine = () => this.#desk === deskOf(client);
    this.#desk.inbox({
      onMessage: (message) => isMine() && this.#line(this.#received(message)),
      onError: (error) => isMine() && this.#refused(error),
    });
    const room = load("room");
    if (room) this.#join(room, false);
  }

  paint(): void {
    if (!this.#waiting.length) return;
    const log = byId("room-log");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const lines = this.#waiting;
    this.#waiting = [];
    for (const { kind, who, text, atMs } of lines) {
      const line = make("li", "", time(atMs), make("span", "", ...(who ? [make("b", "", who), " "] : []), text));
      line.dataset.kind = kind;
      log.append(line);
    }
    while (log.children.length > LINES_MAX) log.firstElementChild!.remove();
    log.hidden = false;
    if (isAtEnd) log.scrollTop = log.scrollHeight;
  }

  #join(id: string, isAsked: boolean): void {
    const desk = this.#desk;
    if (!desk) return;
    this.#room?.leave();
    const isMine = () => this.#room === room;
    const room: Room = (this.#room = desk.join(id, {
      onMessage: (message) => isMine() && this.#line(this.#received(message)),
      onJoined: (user) => isMine() && this.#moved(user, "has come"),
      onLeft: (user) => isMine() && this.#moved(user, "has gone"),
      onTyping: (user) => isMine() && this.#isTyping(user),
      onMembers: (members) => isMine() && this.#members(members),
      onLoss: (loss) => isMine() && this.#lost(loss),
      onError: (error) => isMine() && this.#refused(error),
    }));
    this.#note("");
    room.ready.then(
      () => {
        if (!isMine()) return;
        store("room", id);
        this.#show(id);
        if (isAsked) byId("room-text").focus();
      },
      () => {},
    );
  }

  #leave(): void {
    this.#room?.leave();
    this.#room = undefined;
    store("room", "");
    this.#show(undefined);
    byId("room-id").focus();
  }

  /** Shows the room, or what joins one. */
  #show(id: string | undefined): void {
    byId("room-form").hidden = id !== undefined;
    for (const part of ["room-head", "room-say"]) byId(part).hidden = id === undefined;
    if (id !== undefined) say(byId("room-name"), id);
    byId("room-members").hidden = true;
    byId("room-count").ariaExpanded = "false";
    this.#typing.clear();
    this.#tellTyping();
    this.#address("");
  }

  #members({ count: number, users }: Members): void {
    say(byId("room-count"), number === 1 ? "1 user" : `${count(number)} users`);
    const names = users.map((user) => {
      const isMe = user === this.#desk?.user;
      const name = isMe ? make("span", "", `${short(user)} (you)`) : button("", short(user), `Write to ${user} alone`, () => this.#address(user));
      return make("li", "", name);
    });
    if (number > users.length) names.push(make("li", "", `and ${count(number - users.length)} more`));
    byId("room-members").replaceChildren(...names);
  }

  #address(user: string): void {
    this.#to = user;
    const field = byId<HTMLInputElement>("room-text");
    field.placeholder = user ? `To ${short(user)} alone` : "Message to the room";
    field.ariaLabel = user ? `Message to ${user} alone` : "Message to the room";
    byId("room-all").hidden = !user;
    if (user) field.focus();
  }

  async #say(): Promise<void> {
    const field = byId<HTMLInputElement>("room-text");
    const text = field.value;
    const room = this.#room;
    if (!text.trim() || !room) return;
    field.value = "";
    this.#typedAt = -Infinity;
    this.#note("");
    try {
      if (this.#to) await this.#desk!.chat(this.#to, text);
      else await room.send(text);
    } catch (thrown) {
      this.#refused(thrown as GatewayError);
      // Nobody has to write it again; what may have been delivered is not put back.
      const { code } = thrown as GatewayError;
      if (!field.value && code !== "UNAVAILABLE" && code !== "CONNECTION_LOST") field.value = text;
    }
  }

  #types(): void {
    const now = performance.now();
    if (this.#to || !this.#room || now - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = now;
    // Whoever misses it misses nothing.
    this.#room.typing().catch(() => {});
  }

  #isTyping(user: string): void {
    clearTimeout(this.#typing.get(user));
    this.#typing.set(user, setTimeout(() => this.#hasTyped(user), TYPING_FOR_MS));
    this.#tellTyping();
  }

  #hasTyped(user: string): void {
    clearTimeout(this.#typing.get(user));
    if (this.#typing.delete(user)) this.#tellTyping();
  }

  #tellTyping(): void {
    const users = [...this.#typing.keys()].map(short);
    const who = users.length > 3 ? `${users.length} users write` : users.length > 1 ? `${users.join(", ")} write` : `${users[0]} writes`;
    say(byId("room-typing"), users.length ? `${who} …` : "");
  }

  #moved(user: string, what: string): void {
    this.#hasTyped(user);
    if (user !== this.#desk?.user) this.#line({ kind: "moved", who: short(user), text: what, atMs: Date.now() });
  }

  #received(message: RoomMessage | Chat | Notification): Line {
    const { type, from, to, timestamp, queued } = message as Chat;
    const text = (typeof message.message === "string" ? message.message : JSON.stringify(message.message ?? message)).slice(0, TEXT_MAX);
    const me = this.#desk?.user;
    const name = (user: string) => (user === me ? "you" : short(user));
    if ((type as string) === "room_message") {
      this.#hasTyped(from);
      return { kind: "said", who: name(from), text, atMs: timestamp };
    }
    if (type !== "chat") return { kind: "notice", who: type, text: JSON.stringify(message).slice(0, TEXT_MAX), atMs: Date.now() };
    return { kind: "direct", who: `${name(from)} to ${name(to)}`, text: queued ? `${text} (while you were away)` : text, atMs: timestamp };
  }

  #lost(loss: Loss): void {
    const text = loss.kind === "skipped" ? `${count(loss.count)} messages are missing: the page was too slow` : "Messages may be missing: the connection was lost";
    this.#line({ kind: "loss", who: "", text, atMs: Date.now() });
  }

  #line(line: Line): void {
    this.#waiting.push(line);
    if (this.#waiting.length > LINES_MAX) this.#waiting.shift();
    this.#ask();
  }

  #refused({ code, message, retryAfter }: GatewayError): void {
    if (code === "CLOSED" || code === "UNAUTHORIZED") return;
    this.#note(`${message}${retryAfter === undefined ? "" : ` Again in ${retryAfter} s.`} (${code})`);
    if (this.#room && byId("room-say").hidden) this.#room = undefined;
  }

  #note(text: string): void {
    // A fresh node: the same words again are said again.
    byId("room-note").replaceChildren(...(text ? [make("span", "bad", text)] : []));
  }
}
