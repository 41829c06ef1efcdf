// React hooks for the desk: a room, who is in it, notifications, a talk with a user. A component is in its room for as long as it is
// mounted; several components in one room are one member.

import { useCallback, useMemo, useRef } from "react";
import { type Chat, deskOf, type InboxOptions, type Members, type Notification, type Room, type RoomMessage } from "./desk.js";
import { GatewayError } from "./errors.js";
import { type Draw, useLive } from "./react-live.js";
import type { AnyClient } from "./shared.js";
import type { Loss } from "./types.js";

/** Messages that are kept if a hook is not told otherwise. */
const KEEP = 100;
/** A user who has not been said to write for so long has stopped. */
const TYPING_FOR_MS = 5_000;

/** What `useRoom` gives. */
export interface RoomNow {
  /** The last messages since this component has joined, the newest last. */
  messages: readonly RoomMessage[];
  /** Who is there, once it is known. */
  members: Members | undefined;
  /** The users who are writing something. */
  typing: readonly string[];
  /** The gateway has taken this client in. */
  joined: boolean;
  /** The user that this client is, once it has joined. */
  user: string | undefined;
  /** The last loss, if messages are missing. */
  loss: Loss | undefined;
  /** Why the gateway refuses the room. */
  error: GatewayError | undefined;
}

/** What a room can be asked to do: the same functions for as long as the component shows the same room. */
export interface RoomActions {
  /** Writes into the room. It comes back in its place among the others. Resolves when the gateway has it on its way. */
  send: (message: unknown) => Promise<void>;
  /** Tells the others that this user writes something: call it while that is so, each 3 s. */
  tellTyping: () => Promise<void>;
}

/** What `useNotifications` and `useChat` give. */
export interface InboxNow<M> {
  /** The last messages since this component was mounted, the newest last. */
  messages: readonly M[];
  /** The last loss, if messages are missing. */
  loss: Loss | undefined;
  /** Why there are none here, as for a gateway without a desk (`NO_DESK`). */
  error: GatewayError | undefined;
}

const NO_ROOM: RoomNow = { messages: [], members: undefined, typing: [], joined: false, user: undefined, loss: undefined, error: undefined };
const NO_INBOX: InboxNow<any> = { messages: [], loss: undefined, error: undefined };

/** A room that this client is in for as long as the component is mounted. `keep`: the number of messages, 100 if left out. */
export function useRoom(client: AnyClient, roomId: string, { keep = KEEP }: { keep?: number } = {}): RoomNow & RoomActions {
  const room = useRef<Room>(undefined);
  const start = useCallback(
    (draw: Draw<RoomNow>) => {
      const desk = deskOf(client);
      let now = NO_ROOM;
      const show = (change: Partial<RoomNow>) => {
        now = { ...now, ...change };
        draw(() => now);
      };
      const timers = new Map<string, ReturnType<typeof setTimeout>>();
      const stopped = (user: string) => {
        clearTimeout(timers.get(user));
        if (timers.delete(user)) show({ typing: [...timers.keys()] });
      };
      const joined = desk.join(roomId, {
        onMessage: (message) => {
          stopped(message.from);
          show({ messages: lastOf(now.messages, message, keep) });
        },
        onTyping: (user) => {
          stopped(user);
          timers.set(user, setTimeout(() => stopped(user), TYPING_FOR_MS));
          show({ typing: [...timers.keys()] });
        },
        onLeft: stopped,
        // Also after a new connection, where this may be another user.
        onMembers: (members) => show({ members, user: desk.user }),
        onLoss: (loss) => show({ loss }),
        onError: (error) => show({ error, joined: false }),
      });
      room.current = joined;
      let isOver = false;
      joined.ready.then(
        () => isOver || show({ joined: true, user: desk.user }),
        () => {},
      );
      return () => {
        isOver = true;
        for (const timer of timers.values()) clearTimeout(timer);
        joined.leave();
      };
    },
    [client, roomId, keep],
  );
  const now = useLive(NO_ROOM, start);
  // Its functions are made for a room: what is written in one never goes to the next.
  const actions = useMemo<RoomActions>(() => {
    const here = () => (room.current?.id === roomId ? room.current : Promise.reject(new GatewayError("NOT_CONNECTED", "The room is not joined yet: nothing was sent")));
    return {
      send: async (message) => (await here()).send(message),
      tellTyping: async () => (await here()).typing(),
    };
  }, [roomId]);
  return useMemo(() => ({ ...now, ...actions }), [now, actions]);
}

/** Who is in a room, which this client joins for that; undefined until it is known, and where the gateway refuses the room. */
export function usePresence(client: AnyClient, roomId: string): Members | undefined {
  const start = useCallback(
    (draw: Draw<Members | undefined>) => {
      const draws = (members: Members | undefined) => draw(() => members);
      const room = deskOf(client).join(roomId, { onMembers: draws, onMessage: () => {}, onError: () => draws(undefined) });
      return () => room.leave();
    },
    [client, roomId],
  );
  return useLive<Members | undefined>(undefined, start);
}

/** What workers tell this user or everyone: notifications and broadcasts. `keep`: their number, 100 if left out. */
export function useNotifications(client: AnyClient, { keep = KEEP }: { keep?: number } = {}): InboxNow<Notification> {
  const start = useCallback(
    (draw: Draw<InboxNow<Notification>>) => inboxOf(client, keep, draw, (message): message is Notification => message.type !== "chat"),
    [client, keep],
  );
  return useLive<InboxNow<Notification>>(NO_INBOX, start);
}

/** A talk with one user: what either has written to the other since the component was mounted, and `send`. */
export function useChat(client: AnyClient, user: string, { keep = KEEP }: { keep?: number } = {}): InboxNow<Chat> & { send: (message: unknown) => Promise<void> } {
  const start = useCallback(
    (draw: Draw<InboxNow<Chat>>) =>
      inboxOf(client, keep, draw, (message): message is Chat => message.type === "chat" && (message.from === user || message.to === user)),
    [client, user, keep],
  );
  const now = useLive<InboxNow<Chat>>(NO_INBOX, start);
  const send = useCallback((message: unknown) => deskOf(client).chat(user, message), [client, user]);
  return useMemo(() => ({ ...now, send }), [now, send]);
}

/** Draws what comes to the inbox and is wanted, until what is returned is called. */
function inboxOf<M extends Chat | Notification>(
  client: AnyClient,
  keep: number,
  draw: Draw<InboxNow<M>>,
  isWanted: (message: Chat | Notification) => message is M,
): () => void {
  let now: InboxNow<M> = NO_INBOX;
  const show = (change: Partial<InboxNow<M>>) => {
    now = { ...now, ...change };
    draw(() => now);
  };
  const options: InboxOptions = {
    onMessage: (message) => isWanted(message) && show({ messages: lastOf(now.messages, message, keep) }),
    onLoss: (loss) => show({ loss }),
    onError: (error) => show({ error }),
  };
  const inbox = deskOf(client).inbox(options);
  return () => inbox.unsubscribe();
}

function lastOf<M>(messages: readonly M[], message: M, keep: number): readonly M[] {
  return [...messages, message].slice(-keep);
}
