/** Write a connector for Inspire Data Ingest: what is left to write is how to read the source. */

export { Connector, Stream } from "./connector.ts";
export { ExactNumber, exactText } from "./encoding.ts";
export type { Convert, Id, Item, Primitive, Value, Values } from "./encoding.ts";
export * from "./errors.ts";
export { VERSION } from "./http.ts";
export type { Options } from "./options.ts";
export type { Ack, Fault, Rejected, Result, Status, Unsent } from "./results.ts";
