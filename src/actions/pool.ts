/** Tasks side by side, with a bound on how many. */

/** Runs the tasks in order, at most `width` at once. */
export async function runPool(tasks: readonly (() => Promise<void>)[], width: number): Promise<void> {
  const queue = tasks.values();
  const runner = async (): Promise<void> => {
    // The runners share the iterator, so each task is taken once.
    // oxlint-disable-next-line no-await-in-loop
    for (const task of queue) await task();
  };
  await Promise.all(Array.from({ length: Math.min(width, tasks.length) }, runner));
}
