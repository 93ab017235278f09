/** References to the environment: what they become, and as which type. */
import { describe, expect, test } from "vitest";
import { substitute } from "../../../src/supervisor/runtime/config/substitute.ts";
import { parseSource } from "../../../src/supervisor/runtime/config/source.ts";

const env = { NAME: "value", EMPTY: "", PORT: "8080", DOLLAR: "${NAME}", _x1: "y" };

describe("substitute()", () => {
  test.each([
    ["plain text", "plain text"],
    ["${NAME}", "value"],
    ["a ${NAME} b ${PORT}", "a value b 8080"],
    ["${_x1}", "y"],
    ["${MISSING:-default}", "default"],
    ["${MISSING:-}", ""],
    ["${MISSING:-a b:c-d}", "a b:c-d"],
    ["${EMPTY:-default}", "default"],
    ["${EMPTY}", ""],
    ["${NAME:-default}", "value"],
    ["$${NAME}", "${NAME}"],
    ["$$${NAME}", "$${NAME}"],
    ["$${NAME} ${NAME}", "${NAME} value"],
    ["$NAME and $(date) and $$", "$NAME and $(date) and $$"],
    ["${DOLLAR}", "${NAME}"],
  ])("makes %j %j", (text, expected) => {
    expect(substitute(text, env)).toMatchObject({ kind: "done", text: expected });
  });

  test.each(["${}", "${1}", "${NAME", "${NAME-x}", "${NA ME}", "${A:-${B}}", "x ${"])("refuses %j", (text) => {
    expect(substitute(text, env)).toMatchObject({
      kind: "failed",
      message: expect.stringContaining("does not begin a reference"),
    });
  });

  test("refuses a name that is not set", () => {
    expect(substitute("${NAME} ${MISSING}", env)).toEqual({
      kind: "failed",
      message: "the environment variable MISSING is not set; set it, or write ${MISSING:-default}",
    });
  });
});

describe("parseSource()", () => {
  const types = { I: "8080", F: "1.5", B: "true", N: "", T: "~", S: "30s", H: "0x10", J: "a: b", L: "[1]" };

  test.each([
    ["${I}", 8080],
    ["${F}", 1.5],
    ["${B}", true],
    ["${T}", null],
    ["${N}", null],
    ["${H}", 16],
    ["${S}", "30s"],
    ["${I}0", 80800],
    ["${I}s", "8080s"],
    ["${J}", "a: b"],
    ["${L}", "[1]"],
    ["'${I}'", "8080"],
    ['"${I}"', "8080"],
    ['"${N}"', ""],
    ["!!str ${I}", "8080"],
    ["|-\n  ${I}", "8080"],
    ["${MISSING:-5}", 5],
    ["&a ${I}", 8080],
  ])("reads %j as %j", (text, expected) => {
    const source = parseSource(`x: ${text}\n`, types);
    expect(source.issues).toEqual([]);
    expect(source.root).toEqual({ x: expected });
  });

  test("leaves keys and comments alone", () => {
    expect(parseSource("${I}: ${I} # ${MISSING}\n", types)).toMatchObject({ root: { "${I}": 8080 }, issues: [] });
  });
});
