// One room: what is written in it, for callbacks and for a loop, and who is there. Joining it is the desk's part.

import type { Members, Moved, PresenceCount, RoomEvent, RoomMessage, Typing } from "./desk-types.js";
import { type Owner, Stream, type StreamOptions } from "./subscription.js";
import type { Loss } from "./types.js";

/** Who is told what happens in a room. */
export interface RoomOptions extends Omit<StreamOptions<RoomMessage>, "onEvent"> {
  onMessage?: (message: RoomMessage) => void;
  onJoined?: (user: string) => void;
  onLeft?: (user: string) => void;
  /** A user writes something: told again and again for as long as it does. */
  onTyping?: (user: string) => void;
  /** Who is there: after the join, and whenever it has changed. */
  onMembers?: (members: Members) => void;
}

/** What a room needs of its desk. */
interface RoomOwner extends Owner<Room> {
  ask(type: string, payload?: object): Promise<any>;
}

/** A room that one is in: loop over what is written in it with `for await`, or pass callbacks. */
export class Room extends Stream<RoomMessage> {
  readonly id: string;
  #owner: RoomOwner;
  #options: RoomOptions;
  #members: { users: Set<string>; count: number } | undefined;
  /** Who has come and gone since the question was sent that waits. */
  #since: Moved[] | undefined;

  /** @internal */
  constructor(owner: RoomOwner, id: string, options: RoomOptions) {
    super(owner, { ...options, onEvent: options.onMessage });
    this.id = id;
    this.#owner = owner;
    this.#options = options;
  }

  /** Writes into the room. It comes back in its place among the others. Resolves when the gateway has it on its way. */
  async send(message: unknown): Promise<void> {
    await this.#owner.ask("room_message", { message });
  }

  /** Tells the others that this user writes something. */
  async typing(): Promise<void> {
    await this.#owner.ask("typing");
  }

  /** Who is there. */
  async presence(): Promise<Members> {
    const { users, count } = (await this.#owner.ask("presence")) as PresenceCount;
    return { users: users ?? [], count };
  }

  /** Leaves it, and ends the loop over it. */
  leave(): void {
    this.unsubscribe();
  }

  /** @internal The gateway has taken this client in. */
  enter(): void {
    this.accept();
    this.#askMembers();
  }

  /** @internal */
  override lose(loss: Loss): void {
    super.lose(loss);
    // Somebody may have come or gone among what is missing.
    if (loss.kind === "skipped" && this.#members) this.#askMembers();
  }

  /** @internal */
  take(event: RoomEvent): void {
    const { onJoined, onLeft, onTyping } = this.#options;
    if (event.type === "room_message") {
      this.deliver(event);
    } else if (event.type === "presence") {
      // A large room: only numbers are told.
      if (this.#members) this.#show(event);
    } else if (event.type === "typing") {
      this.call(onTyping, (event satisfies Typing).user_id);
    } else {
      this.call(event.type === "user_joined" ? onJoined : onLeft, event.user_id);
      this.#move(event);
    }
  }

  #askMembers(): void {
    if (!this.#options.onMembers || this.#since) return;
    this.#since = [];
    this.presence().then(
      ({ users, count }) => {
        const since = this.#since ?? [];
        this.#since = undefined;
        this.#members = { users: new Set(users), count };
        for (const moved of since) this.#apply(moved);
        this.#show({ count: this.#members.count });
      },
      // The next join asks again.
      () => (this.#since = undefined),
    );
  }

  #move(moved: Moved): void {
    this.#since?.push(moved);
    const members = this.#members;
    if (!members) return;
    // Where not all names are known, the number can't be told from them.
    if (members.users.size !== members.count) return this.#askMembers();
    this.#apply(moved);
    this.#show({ count: members.count });
  }

  #apply({ type, user_id }: Moved): void {
    const { users } = this.#members!;
    const isWhole = users.size === this.#members!.count;
    if (type === "user_joined") users.add(user_id);
    else users.delete(user_id);
    if (isWhole) this.#members!.count = users.size;
  }

  #show({ count }: { count: number }): void {
    this.#members!.count = count;
    this.call(this.#options.onMembers, { count, users: [...this.#members!.users] });
  }
}
