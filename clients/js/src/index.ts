// Live prices from a ws-gateway: see README.md.

export { Client, connect, type ClientEvents, type ClientOptions, type StatusMessage } from "./client.js";
export type { ConnectionOptions, TokenProvider } from "./connection.js";
export type { Clock, Page, Socket, SocketClass } from "./environment.js";
export { GatewayError } from "./errors.js";
export { Subscription, type SubscribeOptions } from "./subscription.js";
export type * from "./types.js";
