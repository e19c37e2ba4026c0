/** Rows as JSON text, exactly or not at all. */

import { InvalidRow } from "./errors.ts";

export type Primitive = string | number | bigint | boolean | null | ExactNumber;
export type Value = Primitive | Date;
export type Values = Readonly<Record<string, Value>>;
export type Id = string | number | bigint;
/** Gets a value that can't be sent exactly; returns one that can, or throws an error that says what to do. */
export type Convert = (value: unknown) => Primitive;

/** The state of an item, which replaces the whole former state of its id. */
export interface Item {
  readonly id: Id;
  readonly name?: string | null;
  readonly fields?: Values;
  readonly tags?: Values;
}

/** What JSON text has to escape, and halves of surrogate pairs. */
const SPECIAL = /["\\\u0000-\u001f\ud800-\udfff]/;
const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

/** A number of any size or precision, by its JSON text: `new ExactNumber("0.10")`. */
export class ExactNumber {
  readonly text: string;

  constructor(text: string) {
    if (!NUMBER.test(text)) throw new TypeError(`${JSON.stringify(text)} is no number of JSON: correct its text.`);
    this.text = text;
  }

  toString(): string {
    return this.text;
  }
}

/** Return ISO text of a date; throw TypeError for all else that JSON would lose or change. */
export function exactText(value: unknown): Primitive {
  if (value instanceof Date && !Number.isNaN(value.getTime())) return value.toISOString();
  throw new TypeError(problem(value));
}

function problem(value: unknown): string {
  switch (typeof value) {
    case "undefined":
      return "undefined would be dropped. Use null, or leave the member out.";
    case "number":
      return Number.isFinite(value)
        ? `${value} is beyond 2^53 and may have lost digits. Pass a BigInt, or an ExactNumber with its text.`
        : `${value} has no JSON form and would become null. Use null or text, or pass convert.`;
    case "string":
      return "The text is not valid Unicode (half of a surrogate pair). Repair it, as by toWellFormed().";
    default:
      return `A value of type ${typeName(value)} can't be sent. Convert it to text or a number, or pass convert.`;
  }
}

function typeName(value: unknown): string {
  return (typeof value === "object" && value?.constructor?.name) || typeof value;
}

/** Writes rows as JSON. `convert` decides about values that can't be sent exactly. */
export class Encoder {
  readonly #convert: Convert;

  constructor(convert: Convert) {
    this.#convert = convert;
  }

  /** Return an item, whose id may be a number. */
  item(item: Item): string {
    let text = `{"id":${this.id(item.id)}`;
    for (const [name, value] of Object.entries(item)) {
      if (name !== "id") text += `,"${name}":${this.#property(name, value)}`;
    }
    return `${text}}`;
  }

  /** Return the statement that an item is gone. */
  deletion(id: Id): string {
    return `{"id":${this.id(id)},"deleted":true}`;
  }

  /** Return an id alone: a number as its text. */
  id(id: Id): string {
    if (typeof id === "string" || typeof id === "bigint" || Number.isSafeInteger(id)) {
      return this.#value(String(id), "$.id");
    }
    const message = typeof id === "number" ? problem(id) : "An id is a string or a whole number: choose a stable key.";
    throw new InvalidRow(Number.isFinite(id) && !Number.isInteger(id) ? "An id is no fraction: pass text." : message, "$.id");
  }

  /** Return a log entry. What has no JSON form is written as text: a log must not fail. */
  entry(level: string, message: string, timestamp: string, context: Readonly<Record<string, unknown>>): string {
    const known = Object.entries(context).map(([name, value]) => {
      const isPlain = value === null || typeof value === "boolean" || typeof value === "bigint" || Number.isFinite(value);
      return `${cleaned(name)}:${isPlain ? String(value) : cleaned(value)}`;
    });
    const head = `{"level":${cleaned(level)},"message":${cleaned(message)},"timestamp":"${timestamp}"`;
    return `${head},"context":{${known.join(",")}}}`;
  }

  /** Return any JSON document; throw InvalidRow if it would not be the same. */
  document(value: unknown): string {
    return JSON.stringify(value, (name, one: unknown) =>
      typeof one === "bigint" || (typeof one !== "object" && plain(one) === undefined) ? refuse(one, `$.${name}`) : one,
    );
  }

  #property(name: string, value: unknown): string {
    if (name === "name") return this.#value(value, "$.name");
    if (name !== "fields" && name !== "tags") {
      throw new InvalidRow("An item has only id, name, fields and tags. Put this into fields.", `$.${name}`);
    }
    if (typeof value !== "object" || value === null || Array.isArray(value) || value instanceof Map) {
      throw new InvalidRow("It is not a plain object with a value for each name.", `$.${name}`);
    }
    let text = "";
    for (const [member, one] of Object.entries(value)) {
      text += `${text && ","}${this.#value(member, `$.${name}`)}:${this.#value(one, `$.${name}.${member}`)}`;
    }
    return `{${text}}`;
  }

  #value(value: unknown, path: string): string {
    return plain(value) ?? plain(this.#converted(value, path)) ?? refuse(value, path);
  }

  #converted(value: unknown, path: string): Primitive {
    try {
      return this.#convert(value);
    } catch (error) {
      throw new InvalidRow(error instanceof Error ? error.message : String(error), path);
    }
  }
}

/** Return the JSON text of a value that has an exact one. */
function plain(value: unknown): string | undefined {
  switch (typeof value) {
    case "string":
      if (!SPECIAL.test(value)) return `"${value}"`; // four times as fast as JSON.stringify
      return value.isWellFormed() ? JSON.stringify(value) : undefined;
    case "number":
      return Number.isSafeInteger(value) || (Number.isFinite(value) && !Number.isInteger(value)) ? String(value) : undefined;
    case "bigint":
    case "boolean":
      return String(value);
    default:
      return value === null ? "null" : value instanceof ExactNumber ? value.text : undefined;
  }
}

function refuse(value: unknown, path: string): never {
  throw new InvalidRow(problem(value), path);
}

/** Return JSON text without what the service refuses: U+0000 is spelled out, halves of surrogate pairs are replaced. */
function cleaned(value: unknown): string {
  let text: string;
  try {
    text = value instanceof Error ? (value.stack ?? String(value)) : String(value);
  } catch {
    text = typeName(value);
  }
  return JSON.stringify(text.replaceAll("\0", "\\0").toWellFormed());
}
