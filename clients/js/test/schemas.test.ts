// The types of events and losses have the fields of the schemas in docs/asyncapi.yaml, required where those require them.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import ts from "typescript";
import { parse } from "yaml";

interface Schema {
  required?: string[];
  properties: Record<string, { type?: string; $ref?: string }>;
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
