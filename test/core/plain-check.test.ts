/** What is read at every start is judged without its schema, and no otherwise than by it. */
import { expect, test } from "vitest";
import { identitySchema, readIdentity } from "../../src/core/identity.ts";
import { journalEntrySchema, readEntry } from "../../src/core/journal-entry.ts";
import { parseOutputMarks, runMarkSchema, timeMarkSchema } from "../../src/core/output-marks.ts";

const IDENTITY = {
  version: 1,
  account: "main",
  bootId: "b",
  pid: 7,
  startTimeTicks: 9,
  invocationId: "i",
  generation: 2,
  ready: true,
  definition: "d",
  cgroup: null,
  restarts: 0,
};
const FACT = { v: 1, seq: 3, at: "2026-01-01T00:00:00.000Z", kind: "fact", level: "info", text: "said" };
const DECISION = {
  ...FACT,
  kind: "decision",
  bot: "a",
  generation: 1,
  event: { kind: "start", atMs: 1.5 },
  from: "stopped",
  to: "starting",
  effects: [{ kind: "spawn", generation: 1 }],
};
const MARK = { v: 1, generation: 1, at: "2026-01-01T00:00:00.000Z", offset: 0 };

/** Each field left out, and with values of every other kind; and a field that is not known. */
/** As `{"__proto__": 5}` in a file is read: a key like others. */
const ODD: unknown = JSON.parse('{"__proto__": 5}');

function variants(whole: Readonly<Record<string, unknown>>): readonly Readonly<Record<string, unknown>>[] {
  const strange = [
    undefined,
    null,
    true,
    "",
    "x",
    0,
    -1,
    1.5,
    2,
    1e300,
    [],
    [1],
    {},
    { kind: 1 },
    { a: -1 },
    { a: 1 },
    ODD,
  ];
  const changed = Object.keys(whole).flatMap((key) => strange.map((value) => ({ ...whole, [key]: value })));
  // As in a file: what is undefined is not there.
  return [whole, { ...whole, more: 1 }, { ...whole, ["__proto__"]: 1 }, ...changed].map(
    (each): Record<string, unknown> => JSON.parse(JSON.stringify(each)),
  );
}

test("readEntry() answers as the schema does", () => {
  for (const each of [...variants(FACT), ...variants(DECISION), null, [], "x"])
    expect({ each, read: readEntry(each) }).toEqual({ each, read: journalEntrySchema.safeParse(each).data });
});

test("readIdentity() answers as the schema does", () => {
  for (const each of [...variants(IDENTITY), ...variants({ ...IDENTITY, restartsBy: { crash: 1 } })]) {
    const reading = readIdentity(JSON.stringify(each));
    const read = reading.kind === "known" ? reading.identity : undefined;
    expect({ each, read }).toEqual({ each, read: identitySchema.safeParse(each).data });
  }
});

test("parseOutputMarks() answers as the schemas do", () => {
  const { generation: _, ...time } = MARK;
  for (const each of [...variants(MARK), ...variants(time), null, [MARK]]) {
    const [read] = parseOutputMarks(JSON.stringify(each));
    const wanted = runMarkSchema.safeParse(each).data ?? timeMarkSchema.safeParse(each).data;
    expect({ each, read }).toEqual({ each, read: wanted });
  }
});
