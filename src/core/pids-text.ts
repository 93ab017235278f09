/** Pids as people are told of them. */

/**
 * 0 stands for a process that has no pid here (another PID namespace), and is never shown as one: kill(1) takes it for the group
 * of whoever types it. `noun` stands before the numbers.
 */
export function pidsText(pids: readonly number[], noun = ""): string {
  const numbers = pids.filter((pid) => pid > 0);
  const seen = numbers.length === 0 ? [] : [`${noun}${numbers.join(", ")}`];
  const unseen = numbers.length === pids.length ? [] : ["a process without a pid here"];
  return [...seen, ...unseen].join(" and ");
}
