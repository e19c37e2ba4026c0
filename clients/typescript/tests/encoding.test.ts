import assert from "node:assert/strict";
import { test } from "node:test";

import { Encoder, ExactNumber, exactText } from "../src/encoding.ts";
import { InvalidRow } from "../src/errors.ts";

const encoder = new Encoder(exactText);

test("what JSON can hold is sent exactly", () => {
  const fields = {
    text: 'é "quoted"\n\u2028',
    big: 12345678901234567890n,
    exact: new ExactNumber("0.1000000000000000000000001"),
    tiny: 1e-7,
    largest: Number.MAX_SAFE_INTEGER,
    yes: true,
    none: null,
    when: new Date(Date.UTC(2026, 3, 9, 11, 8)),
  };

  const row = encoder.item({ id: "a", name: null, fields, tags: {} });

  assert.equal(
    row,
    '{"id":"a","name":null,"fields":{"text":"é \\"quoted\\"\\n\u2028","big":12345678901234567890,' +
      '"exact":0.1000000000000000000000001,"tiny":1e-7,"largest":9007199254740991,"yes":true,"none":null,' +
      '"when":"2026-04-09T11:08:00.000Z"},"tags":{}}',
  );
});

test("an id that is a whole number is sent as its text", () => {
  assert.equal(encoder.item({ id: 7 }), '{"id":"7"}');
  assert.equal(encoder.deletion(12345678901234567890n), '{"id":"12345678901234567890","deleted":true}');
  for (const id of [1.5, NaN, 2 ** 53, null, undefined, true, {}, "\ud800"]) {
    assert.throws(() => encoder.id(id as string), InvalidRow, String(id));
  }
});

const REFUSED: [what: string, value: unknown, says: RegExp][] = [
  ["NaN", NaN, /NaN .*would become null/],
  ["infinity", -Infinity, /would become null/],
  ["undefined", undefined, /would be dropped/],
  ["an integer that has lost digits", 12345678901234567890, /beyond 2\^53.*BigInt/],
  ["half of a surrogate pair", "\ud83d", /not valid Unicode/],
  ["an object", { a: 1 }, /type Object/],
  ["an array", [1], /type Array/],
  ["a function", () => 1, /type (Function|function)/],
  ["a symbol", Symbol("a"), /type symbol/],
  ["a date that is none", new Date("never"), /type Date/],
];

for (const [what, value, says] of REFUSED) {
  test(`${what} is refused, with its place`, () => {
    assert.throws(
      () => encoder.item({ id: "a", fields: { ok: 1, wrong: value as string } }),
      (error: unknown) => error instanceof InvalidRow && error.path === "$.fields.wrong" && says.test(error.message),
    );
    assert.throws(() => encoder.item({ id: "a", name: value as string }), { path: "$.name" });
  });
}

test("properties that an item does not have are refused, not dropped", () => {
  const item = { id: "a", state: "Ready" } as never;
  assert.throws(() => encoder.item(item), { path: "$.state", message: /Put this into fields/ });
  for (const fields of [undefined, null, [1], "text", new Map([["a", 1]])]) {
    assert.throws(() => encoder.item({ id: "a", fields: fields as never }), { path: "$.fields" });
  }
});

test("convert decides about what can't be sent exactly, and is not trusted", () => {
  const lenient = new Encoder((value) => (value === undefined ? null : String(value)));
  assert.equal(lenient.item({ id: "a", fields: { a: NaN, b: undefined as never } }), '{"id":"a","fields":{"a":"NaN","b":null}}');
  const wrong = new Encoder(() => NaN);
  assert.throws(() => wrong.item({ id: "a", fields: { a: NaN } }), InvalidRow);
});

test("text that is no number of JSON makes no ExactNumber", () => {
  for (const text of ["", "1.", ".5", "01", "+1", "NaN", "1 ", "0x1", "1e"]) assert.throws(() => new ExactNumber(text), TypeError);
});

test("a log entry never throws", () => {
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  const context = { circular, nothing: undefined, nan: NaN, big: 10n, bare: Object.create(null), nul: "a\0b", half: "\ud83d" };

  const entry = JSON.parse(encoder.entry("info", "a\0b", "now", context));

  assert.deepEqual(entry, {
    level: "info",
    message: "a\\0b",
    timestamp: "now",
    context: {
      circular: "[object Object]",
      nothing: "undefined",
      nan: "NaN",
      big: 10,
      bare: "object",
      nul: "a\\0b",
      half: "\ufffd",
    },
  });
});

test("a document that JSON would change is refused", () => {
  assert.equal(encoder.document({ poll: 60, nested: [{ a: null }] }), '{"poll":60,"nested":[{"a":null}]}');
  for (const value of [NaN, undefined, 10n]) assert.throws(() => encoder.document({ a: [value] }), InvalidRow);
});
