/** Waiting in tests: for a fact, with a deadline, never for luck. */

const POLL_MS = 5;

/** Resolves with the first answer of `ask` that is neither `undefined` nor `false`; rejects after `deadlineMs`. */
export async function until<T>(what: string, ask: () => T | undefined | false, deadlineMs = 30_000): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const answer = ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await Bun.sleep(POLL_MS);
  }
}

/** The same of what is asked of another process. */
export async function eventually<T>(
  what: string,
  ask: () => Promise<T | undefined | false>,
  deadlineMs = 30_000,
): Promise<T> {
  const endMs = performance.now() + deadlineMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined && answer !== false) return answer;
    if (performance.now() > endMs) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await Bun.sleep(POLL_MS);
  }
}

export const FIXTURES = new URL("../fixtures/", import.meta.url).pathname;

/** Environment of a child that marks it as of this test and nothing else. */
export function markedEnvironment(mark: string): Record<string, string> {
  return { PATH: "/usr/local/bin:/usr/bin:/bin", INVOCATION_ID: mark };
}
