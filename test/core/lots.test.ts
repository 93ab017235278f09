import { describe, expect, test } from "vitest";
import { floorToStep } from "../../src/core/lots.ts";

describe("floorToStep()", () => {
  test.each([
    [0.3, 0.1, 0.3],
    [0.299, 0.1, 0.2],
    [1.005, 0.001, 1.005],
    [123_456.789, 0.001, 123_456.789],
    [5, undefined, 5],
    [0.000_49, 0.001, 0],
  ])("floorToStep() cuts %s to step %s", (amount, step, expected) => {
    expect(floorToStep(amount, step)).toBe(expected);
  });
});
