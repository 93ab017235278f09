import fc from "fast-check";
import { expect, test } from "vitest";
import {
  layOutPage,
  noteLoop,
  PAGE_BYTES,
  PAGE_TEXT_BYTES,
  readPage,
  writePageText,
} from "../../src/core/instrument-page.ts";

function freshPage(): DataView {
  const view = new DataView(new ArrayBuffer(PAGE_BYTES));
  layOutPage(view);
  return view;
}

const encode = (value: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(value));

test("readPage() reads back what was written last", () => {
  const view = freshPage();
  writePageText(view, encode({ ops: [{ name: "a", since: 1 }], level: "minimal", lastError: "refused" }));
  writePageText(view, encode({ ops: [{ name: "b", since: 2, detail: "sv-1" }] }));
  noteLoop(view, 1_000);
  noteLoop(view, 1_100);
  expect(readPage(view)).toEqual({
    ops: [{ name: "b", since: 2, detail: "sv-1" }],
    loops: 2,
    loopAt: 1_100,
    torn: false,
  });
});

test("readPage() says of a page whose writer died in the middle that it is torn", () => {
  const view = freshPage();
  writePageText(view, encode({ ops: [] }));
  // As the writer leaves it between its first and its last store.
  view.setUint32(8, view.getUint32(8, true) | 1, true);
  expect(readPage(view)?.torn).toBe(true);
  writePageText(view, encode({ ops: [] }));
  expect(readPage(view)?.torn).toBe(false);
});

test("readPage() never throws, and takes only pages for pages", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: PAGE_BYTES + 8 }), fc.boolean(), (bytes, laidOut) => {
      const view = new DataView(new ArrayBuffer(PAGE_BYTES));
      new Uint8Array(view.buffer).set(bytes.subarray(0, PAGE_BYTES));
      if (laidOut) new Uint8Array(view.buffer).set(new TextEncoder().encode("SVBBPG1\n"));
      expect(readPage(view) === undefined).toBe(!laidOut);
    }),
  );
});

test("writePageText() cuts what does not fit", () => {
  const view = freshPage();
  writePageText(view, new Uint8Array(PAGE_TEXT_BYTES + 100).fill(0x20));
  expect(readPage(view)).toMatchObject({ ops: [], torn: false });
});
