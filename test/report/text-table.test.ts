import { describe, expect, test } from "vitest";
import { layOut, painter, type TextTable } from "../../src/report/text-table.ts";

const table: TextTable = {
  header: ["NAME", "PID", "CPU", "NOTE"],
  rows: [
    [["a-long-name"], ["12345"], ["1.0%"], ["armed"]],
    [["b"], ["-"], ["-"], ["off"]],
  ],
  dispensable: ["CPU", "PID", "NOTE"],
};
const at = (columns: number | undefined) => layOut(table, columns, painter(false)).split("\n");

describe("layOut()", () => {
  test.each([undefined, 31])("at a width of %s shows every column, two spaces apart", (columns) => {
    expect(at(columns)).toEqual([
      "NAME         PID    CPU   NOTE",
      "a-long-name  12345  1.0%  armed",
      "b            -      -     off",
    ]);
  });

  test("leaves out the most dispensable columns until a line fits, and names them in the table's order", () => {
    expect(at(20)).toEqual([
      "NAME         NOTE",
      "a-long-name  armed",
      "b            off",
      "(too narrow for PID, CPU)",
    ]);
  });

  test("cuts no name, however narrow it is", () => {
    expect(at(1).slice(0, 3)).toEqual(["NAME", "a-long-name", "b"]);
  });

  test("colours a cell after its padding, and takes its control characters away", () => {
    const one: TextTable = { header: ["A", "B"], rows: [[["x\u001B[2J", "red"], ["y"]]], dispensable: [] };
    expect(layOut(one, undefined, painter(true)).split("\n")[1]).toBe("\u001B[31mx [2J\u001B[39m  y");
  });
});
