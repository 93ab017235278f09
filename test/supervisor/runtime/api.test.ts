/** Bodies of requests that do not come as they should. */
import { expect, test } from "vitest";
import { refuseBroken } from "../../../src/supervisor/runtime/api.ts";

const post = (body: string | ReadableStream): Request => new Request("http://supervisor/", { method: "POST", body });

test("refuseBroken() does not wait without end for a body that never comes", async () => {
  const refusal = await refuseBroken(post(new ReadableStream()), 10);
  expect(refusal?.status).toBe(408);
  expect(await refusal?.text()).toContain("its body did not end within 10 ms");
});

test("refuseBroken() takes a body that has ended", async () => {
  expect(await refuseBroken(post("{}"))).toBeUndefined();
  expect(await refuseBroken(new Request("http://supervisor/", { method: "POST" }))).toBeUndefined();
});
