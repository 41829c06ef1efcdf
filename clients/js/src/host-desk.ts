// The desk of several tabs on one connection: whose answer is whose, and which rooms some tab is still in.

import type { Client, Link } from "./client.js";
import type { Message } from "./connection.js";

type Send = (message: object) => void;

interface Asked {
  send: Send;
  request: Message;
}

export class HostDesk {
  readonly #link: Link;
  readonly #tabs = new Set<Send>();
  readonly #rooms = new Map<string, Set<Send>>();
  readonly #asked = new Map<unknown, Asked>();

  constructor(client: Client) {
    const lost = () => {
      this.#rooms.clear();
      this.#asked.clear();
    };
    this.#link = client.attach({ opened: () => {}, take: (message) => this.#heard(message), lost, closed: lost });
  }

  /** A tab asks something, and hears all from now on. */
  ask(send: Send, request: Message): void {
    this.#tabs.add(send);
    const room: string = request.payload?.room_id;
    if (request.type === "leave_room" && this.#isStillWanted(room, send)) {
      const { id } = request;
      return send({ desk: { type: "success", message: `Left ${room}`, data: { room_id: room }, timestamp: this.#link.clock.now(), id } });
    }
    if (request.type === "join_room") this.#rooms.set(room, (this.#rooms.get(room) ?? new Set()).add(send));
    if (!this.#link.isOpen()) return this.#reply({ send, request }, { type: "error", code: "CONNECTION_LOST", message: "The connection was lost" });
    const number = this.#link.nextId();
    this.#asked.set(number, { send, request });
    this.#link.send({ ...request, [request.id === undefined ? "requestId" : "id"]: number });
  }

  /** A tab has gone. */
  leave(send: Send): void {
    this.#tabs.delete(send);
    for (const [room, tabs] of this.#rooms) {
      if (tabs.has(send) && !this.#isStillWanted(room, send)) {
        this.ask(() => {}, { type: "leave_room", payload: { room_id: room }, id: 0 });
      }
    }
  }

  /** Another tab is in the room, which this one leaves. */
  #isStillWanted(room: string, send: Send): boolean {
    const tabs = this.#rooms.get(room);
    tabs?.delete(send);
    if (tabs?.size === 0) this.#rooms.delete(room);
    return !!tabs?.size;
  }

  #heard(message: Message): void {
    const { type, id, requestId } = message;
    const number = id ?? requestId;
    const asked = this.#asked.get(number);
    if (asked) {
      this.#asked.delete(number);
      if (type === "error" && asked.request.type === "join_room") this.#isStillWanted(asked.request.payload.room_id, asked.send);
      this.#reply(asked, message);
    } else if (this.#link.isAtDesk(message)) {
      for (const send of this.#tabs) send({ desk: message });
    }
  }

  /** With the number that the tab has given it. */
  #reply({ send, request }: Asked, message: Message): void {
    const { id, requestId } = request;
    send({ desk: { ...message, ...(id === undefined ? { requestId } : { id }) } });
  }
}
