// The types of events and losses have the fields of the schemas in docs/asyncapi.yaml, required where those require them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";
import { parse } from "yaml";

interface Schema {
  required?: string[];
  properties: Record<string, Field>;
}

interface Field {
  type?: string | string[];
  $ref?: string;
  const?: unknown;
  enum?: unknown[];
  items?: Field;
  allOf?: Field[];
  anyOf?: Field[];
}

const { schemas } = parse(readFileSync("../../docs/asyncapi.yaml", "utf8")).components as { schemas: Record<string, Schema> };
const files = ["src/types.ts", "src/desk-types.ts", "src/errors.ts"];
const program = ts.createProgram(files, { strict: true, target: ts.ScriptTarget.ES2022 });
const checker = program.getTypeChecker();
const exported = files.flatMap((file) => checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(file)!)!));

/** The fields of a type, and whether each is required. */
function fieldsOf(type: ts.Type): Record<string, boolean> {
  return Object.fromEntries(type.getProperties().map((field) => [field.name, !(field.flags & ts.SymbolFlags.Optional)]));
}

/** The types of plain values that a type allows. */
function primitives(type: ts.Type): Set<string> {
  const widest = checker.getBaseConstraintOfType(type) ?? type;
  const parts = widest.isUnion() ? widest.types : [widest];
  return new Set(parts.map((part) => checker.typeToString(checker.getBaseTypeOfLiteralType(part))).map((name) => (["true", "false"].includes(name) ? "boolean" : name)));
}

function typeOf(name: string): ts.Type {
  return checker.getDeclaredTypeOfSymbol(exported.find((symbol) => symbol.name === name) ?? assert.fail(`no type ${name}`));
}

function fieldsOfSchema(name: string): Record<string, boolean> {
  const { properties, required = [] } = schemas[name] ?? assert.fail(`no schema ${name}`);
  return Object.fromEntries(Object.keys(properties).map((field) => [field, required.includes(field)]));
}

for (const [type, schema] of [["Trade"], ["Quote"], ["Candle"], ["News"], ["Halt"], ["Custom"], ["Conflated"], ["MarketEvent", "Event"], ["Moved"], ["Typing"],
  ["RoomMessage"], ["Chat"], ["PresenceCount"]]) {
  test(`${type} has the fields of its schema`, () => {
    assert.deepEqual(fieldsOf(typeOf(type!)), fieldsOfSchema(schema ?? type!));
  });
  test(`${type}'s fields have the values of its schema`, () => assertValues(typeOf(type!), schema ?? type!));
}

/** The types of values that a schema allows; none where they may be anything. */
function valuesOf(field: Field | true): string[] {
  if (field === true) return [];
  const { $ref, const: only, enum: few, items, allOf = [], anyOf = [], type = [] } = field;
  if ($ref) return valuesOf(schemas[$ref.split("/").at(-1)!] as Field);
  if (few || only !== undefined) return (few ?? [only]).map((value) => typeof value);
  if (type === "array") return valuesOf(items!).map((of) => `${of}[]`);
  const own = [type].flat().map((name) => (name === "integer" ? "number" : name));
  return [...own, ...[...allOf, ...anyOf].flatMap(valuesOf)];
}

/** Each field of a type allows the values that its schema does. */
function assertValues(type: ts.Type, schema: string): void {
  for (const field of type.getProperties()) {
    const wanted = new Set(valuesOf(schemas[schema]!.properties[field.name] ?? true));
    // What is an object there has a type of its own here, and what may be anything is left to either.
    if (wanted.size === 0 || wanted.has("object")) continue;
    assert.deepEqual(primitives(checker.getNonNullableType(checker.getTypeOfSymbol(field))), wanted, `${schema}.${field.name}`);
  }
}

test("losses have the fields and values of the statuses that tell them", () => {
  const sorted = (fields: Record<string, boolean>) => JSON.stringify(Object.entries(fields).sort());
  for (const name of ["Gap", "Skipped"]) {
    const wanted = sorted({ kind: true, ...fieldsOfSchema(name) });
    const loss = (typeOf("Loss") as ts.UnionType).types.find((type) => sorted(fieldsOf(type)) === wanted);
    assertValues(loss ?? assert.fail(`no loss for ${name}`), name);
  }
});

test("refusals are those of the schema", () => {
  const codes = (typeOf("Refusal") as ts.UnionType).types.map((type) => (type as ts.StringLiteralType).value);
  assert.deepEqual(codes.sort(), [...(schemas.Error!.properties.code as { enum: string[] }).enum].sort());
});
