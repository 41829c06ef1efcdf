// Live prices from a ws-gateway: see README.md.

export { Client, connect, type ClientEvents, type ClientOptions, type StatusMessage } from "./client.js";
export type { ConnectionOptions, TokenProvider } from "./connection.js";
export type { Clock, Page, Socket, SocketClass } from "./environment.js";
export { type ErrorCode, GatewayError, type Refusal } from "./errors.js";
export { Stream, type StreamOptions, Subscription, type SubscribeOptions } from "./subscription.js";
export type * from "./types.js";
