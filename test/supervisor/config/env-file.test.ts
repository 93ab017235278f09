/** Environment files as systemd reads them. */
import { describe, expect, test } from "vitest";
import { parseEnvFile } from "../../../src/supervisor/runtime/config/env-file.ts";

describe("parseEnvFile()", () => {
  test.each([
    ["A=1", { A: "1" }],
    ["A=1\nB=2\n", { A: "1", B: "2" }],
    ["\n# comment\n; comment\n  A = 1 \n", { A: "1" }],
    ["A=", { A: "" }],
    ["A=a b  ", { A: "a b" }],
    ["A=a#b", { A: "a#b" }],
    ["A='a # \"b\" \\n'", { A: 'a # "b" \\n' }],
    ['A="a \\"b\\" \\$c \\x"', { A: 'a "b" $c \\x' }],
    ["A='one' \"two\"", { A: "onetwo" }],
    ["A=it's", { A: "it's" }],
    ["A=one\\\ntwo\nB=3", { A: "onetwo", B: "3" }],
    ['A="line\nbreak"\nB=1', { A: "line\nbreak", B: "1" }],
    ["A=1\r\nB=2\r\n", { A: "1", B: "2" }],
    ["A=1\nA=2", { A: "2" }],
    ["A=x=y", { A: "x=y" }],
    ["A=$HOME", { A: "$HOME" }],
    ["A=\\$x", { A: "$x" }],
    ["", {}],
  ])("reads %j", (text, variables) => {
    expect(parseEnvFile(text)).toEqual({ variables, errors: [] });
  });

  test("counts lines through values that span several", () => {
    expect(parseEnvFile('A="1\n2\n3"\nB\nC=\\\nx\n1D=x\n')).toEqual({
      variables: { A: "1\n2\n3", C: "x" },
      errors: [
        { line: 4, message: "the line is not NAME=VALUE" },
        { line: 7, message: "the line is not NAME=VALUE" },
      ],
    });
  });

  test("refuses an open quote and a NUL character", () => {
    expect(parseEnvFile("A=\0\nB='x").errors).toEqual([
      { line: 1, message: "the value of A holds a NUL character" },
      { line: 2, message: "a quote in the value of B is not closed" },
    ]);
  });
});
