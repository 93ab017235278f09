/** Commands of the bots that the chaos tests supervise: each a real child program. */
import { join } from "node:path";

const FIXTURES = join(import.meta.dirname, "..", "fixtures");

/** Stays until it is killed. */
export const STAY = ["sleep", "600"];

/** A shell script of test/fixtures. */
export function script(name: string, ...args: string[]): string[] {
  return ["sh", join(FIXTURES, name), ...args];
}

/** A TypeScript program of test/fixtures, run by the runtime that runs the tests. */
export function program(name: string, ...args: string[]): string[] {
  return [process.execPath, join(FIXTURES, name), ...args];
}
