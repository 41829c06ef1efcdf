// The types of events and losses have the fields of the schemas in docs/asyncapi.yaml, required where those require them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";
import { parse } from "yaml";

interface Schema {
  required?: string[];
  properties: Record<string, { type?: string | string[]; $ref?: string }>;
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
  const parts = type.isUnion() ? type.types : [type];
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
  test(`${type}'s fields have the values of its schema`, () => {
    const { properties } = schemas[schema ?? type!]!;
    for (const field of typeOf(type!).getProperties()) {
      const wanted = [properties[field.name]!.type ?? []].flat().map((name) => (name === "integer" ? "number" : name));
      // What is an object or a list there has a type of its own here, and what may be anything is left to either.
      if (!wanted.length || wanted.some((name) => !["string", "number", "boolean"].includes(name))) continue;
      assert.deepEqual(primitives(checker.getNonNullableType(checker.getTypeOfSymbol(field))), new Set(wanted), `${type}.${field.name}`);
    }
  });
}

test("losses have the fields of the statuses that tell them", () => {
  const losses = (typeOf("Loss") as ts.UnionType).types.map(fieldsOf);
  for (const name of ["Gap", "Skipped"]) {
    const wanted = { kind: true, ...fieldsOfSchema(name) };
    assert(losses.some((fields) => JSON.stringify(Object.entries(fields).sort()) === JSON.stringify(Object.entries(wanted).sort())), name);
  }
});

test("refusals are those of the schema", () => {
  const codes = (typeOf("Refusal") as ts.UnionType).types.map((type) => (type as ts.StringLiteralType).value);
  assert.deepEqual(codes.sort(), [...(schemas.Error!.properties.code as { enum: string[] }).enum].sort());
});
