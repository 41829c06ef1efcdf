// What went wrong, as one class, with a code to decide by and a message that says what to do.

/** An error of the gateway (its own `code`) or of this client (`BAD_FRAME`, `TOKEN_PROVIDER`, `CALLBACK`, `CLOSED`, `NO_WEBSOCKET`). */
export class GatewayError extends Error {
  override name = "GatewayError";
  constructor(
    readonly code: string,
    message: string,
    /** What the gateway added, such as the symbols that are forbidden; or the error that caused this one. */
    readonly data?: unknown,
  ) {
    super(message);
  }
}

/** Anything thrown, as text. */
export function textOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
