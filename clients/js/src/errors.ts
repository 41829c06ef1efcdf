// What went wrong, as one class, with a code to decide by and a message that says what to do.

/** What a gateway refuses for. */
export type Refusal =
  | "INVALID_JSON"
  | "INVALID_INPUT"
  | "UNKNOWN_ACTION"
  | "SYMBOL_LIMIT_EXCEEDED"
  | "RATE_LIMIT_EXCEEDED"
  | "MESSAGE_TOO_LARGE"
  | "UNAUTHORIZED"
  | "FORBIDDEN"
  | "TOO_MANY_CONNECTIONS"
  | "SLOW_CLIENT"
  | "UNAVAILABLE"
  | "NOT_FOUND"
  | "ROOM_LIMIT_EXCEEDED"
  | "TIMEOUT"
  | "INTERNAL_ERROR";

/**
 * What went wrong: a refusal of the gateway, or a word of this client. `NOT_CONNECTED`: nothing was sent. `CONNECTION_LOST`: what was
 * sent may have been done. `NO_DESK`: the gateway has no rooms.
 */
export type ErrorCode =
  | Refusal
  | "BAD_FRAME"
  | "TOKEN_PROVIDER"
  | "CALLBACK"
  | "CLOSED"
  | "NO_WEBSOCKET"
  | "NOT_CONNECTED"
  | "CONNECTION_LOST"
  | "NO_DESK"
  | (string & {});

/** An error of the gateway or of this client: `code` says which. */
export class GatewayError extends Error {
  override name = "GatewayError";
  constructor(
    readonly code: ErrorCode,
    message: string,
    /** What the gateway added, such as the symbols that are forbidden; or the error that caused this one. */
    readonly data?: unknown,
    /** Seconds after which the gateway would take it. */
    readonly retryAfter?: number,
  ) {
    super(message);
  }

  /** The same may succeed a little later. */
  get isBusy(): boolean {
    return this.code === "RATE_LIMIT_EXCEEDED" || this.code === "UNAVAILABLE";
  }
}

/** A message of the gateway, or of another tab, as the error that it is. */
export function errorOf({ code, message, data, retryAfter }: { code?: string; message?: string; data?: any; retryAfter?: number }): GatewayError {
  return new GatewayError(code!, message!, data, retryAfter);
}

/** Anything thrown, as text. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
