/** The format of Redis' append-only file: what is whole of a log, whatever pieces it comes in, and what a list names. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AofScan, readAofList } from "../../../src/actions/backup/aof.ts";

const command = (...words: readonly string[]): Buffer =>
  Buffer.concat([
    Buffer.from(`*${words.length}\r\n`),
    ...words.map((word) => Buffer.from(`$${Buffer.byteLength(word)}\r\n${word}\r\n`)),
  ]);

const single = fc
  .array(fc.string({ unit: "grapheme", maxLength: 12 }), { minLength: 0, maxLength: 3 })
  .map((words) => command("SET", ...words));
const transaction = fc
  .array(single, { maxLength: 3 })
  .map((all) => Buffer.concat([command("MULTI"), ...all, command("EXEC")]));
const comment = fc.nat().map((at) => Buffer.from(`#TS:${at}\r\n`));
const units = fc.array(fc.oneof(single, transaction, comment), { maxLength: 8 });

describe("AofScan", () => {
  test("knows the end of the last whole command or transaction at every cut and in pieces of any size", () => {
    fc.assert(
      fc.property(units, fc.nat(), fc.integer({ min: 1, max: 40 }), (all, anyCut, pieceBytes) => {
        const log = Buffer.concat(all);
        const cut = anyCut % (log.length + 1);
        const scan = new AofScan();
        for (let at = 0; at < cut; at += pieceBytes) scan.add(log.subarray(at, Math.min(cut, at + pieceBytes)));
        let whole = 0;
        for (const unit of all)
          if (whole + unit.length <= cut) whole += unit.length;
          else break;
        expect([scan.wholeBytes, scan.bytes]).toEqual([whole, cut]);
      }),
    );
  });

  test.each([
    ["text", "hello\r\n"],
    ["a count of none", "*0\r\n"],
    ["a word that is longer than it says", "*1\r\n$3\r\nPINGS\r\n"],
    ["a length that is no number", "*1\r\n$x\r\n"],
    ["a line without an end", "*1".padEnd(300, "1")],
  ])("refuses %s", (_, text) => {
    expect(() => new AofScan().add(Buffer.from(text))).toThrow("no log of commands any more at byte");
  });
});

describe("readAofList()", () => {
  test("names base and logs in order, and leaves out what is only to be deleted", () => {
    const text =
      "file a.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type h\nfile a.2.incr.aof seq 2 type i startoffset 5\n";
    expect(readAofList(text).map(({ name, base }) => [name, base])).toEqual([
      ["a.2.base.rdb", true],
      ["a.2.incr.aof", false],
    ]);
  });

  test.each([
    ["a path", "file ../x seq 1 type b\n"],
    ["a name in quotes", 'file "a b" seq 1 type b\n'],
    ["a kind that nobody knows", "file a seq 1 type x\n"],
    ["two bases", "file a seq 1 type b\nfile b seq 2 type b\n"],
  ])("refuses %s", (_, text) => {
    expect(() => readAofList(text)).toThrow("its list");
  });
});
