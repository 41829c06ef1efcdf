// What the desk sends, as types. Names are as the systems write them that such clients come from. Timestamps are Unix milliseconds.

/** Somebody has written into a room. */
export interface RoomMessage {
  type: "room_message";
  from: string;
  room_id: string;
  /** Any JSON, as it was written. */
  message: any;
  timestamp: number;
}

/** A user has come to a room or gone. */
export interface Moved {
  type: "user_joined" | "user_left";
  user_id: string;
  room_id: string;
}

/** A user writes something. */
export interface Typing {
  type: "typing";
  user_id: string;
  room_id: string;
}

/** How many users are in a room; of a large room it comes in place of those who come and go. */
export interface PresenceCount {
  type: "presence";
  room_id: string;
  /** At most 100 of them. */
  users?: string[];
  count: number;
  id?: number | string;
}

/** Whatever comes to the members of a room from the gateway. */
export type RoomEvent = RoomMessage | Moved | Typing | PresenceCount;

/** Somebody has written to this user, or this user to somebody. */
export interface Chat {
  type: "chat";
  from: string;
  to: string;
  message: any;
  timestamp: number;
  /** Of gateways that keep what comes for those who are away. */
  message_id?: string;
  /** It was kept while the user was away. */
  queued?: true;
}

/** What a worker has told this user, a room or everyone: `type` is a word of its own. */
export interface Notification {
  type: string;
  [field: string]: any;
}

/** Who is in a room. */
export interface Members {
  /** The number of users. */
  count: number;
  /** Their names: all of them, or of many some. */
  users: string[];
}
