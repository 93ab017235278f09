/** Which program is asked for its stack, how, and which is left alone. */
import { expect, test } from "vitest";
import { chooseStack, STACK_MODES, type ProgramFacts } from "../../src/core/stack-choice.ts";

const ALL = new Set([3, 6, 10]);

function facts(changes: Partial<ProgramFacts> = {}): ProgramFacts {
  return { program: "python", caught: ALL, state: "R", hung: true, heard: true, ...changes };
}

test.each([
  ["auto", facts(), "SIGABRT"],
  ["auto", facts({ program: "go" }), "SIGQUIT"],
  ["auto", facts({ program: "java" }), "SIGQUIT"],
  ["auto", facts({ program: "node" }), "node"],
  ["auto", facts({ program: "node", hung: false }), "node"],
  ["auto", facts({ program: "other" }), "none"],
  // It may still hear a polite stop, and cancel its orders.
  ["auto", facts({ hung: false }), "none"],
  ["node-cdp", facts(), "none"],
  ["abrt", facts({ program: "other", hung: false }), "SIGABRT"],
  ["quit", facts({ program: "other", hung: false }), "SIGQUIT"],
  ["none", facts({ program: "node" }), "none"],
] as const)("chooseStack(%s) of %o is %s", (mode, given, expected) => {
  const choice = chooseStack(mode, given);
  expect(choice.kind === "signal" ? choice.signal : choice.kind).toBe(expected);
});

test.each(
  STACK_MODES.flatMap((mode) =>
    (["node", "python", "java", "go", "other"] as const).map((program) => ({ mode, program })),
  ),
)(
  "chooseStack($mode) leaves a $program alone that has no handler, is stopped, or waits in the kernel",
  ({ mode, program }) => {
    const choices = [{ caught: new Set<number>() }, { state: "T" }, { state: "t" }, { state: "D" }].map((changes) =>
      chooseStack(mode, facts({ program, ...changes })),
    );
    expect(choices.map(({ kind }) => kind)).toEqual(["none", "none", "none", "none"]);
  },
);

test("chooseStack() does not end a program whose answer nobody could read", () => {
  expect(chooseStack("auto", facts({ heard: false }))).toEqual({
    kind: "none",
    why: "its output does not go into a file",
  });
});
