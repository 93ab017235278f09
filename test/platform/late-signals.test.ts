/** Signals that come while one program gives way to the next, in a process of their own. */
import { resolve } from "node:path";
import { expect, test } from "vitest";

const MODULE = resolve(import.meta.dirname, "../../src/platform/late-signals.ts");

/** Watches under `umask`, sends itself `signal`, and says what came, with the umask before, meanwhile and after, octal. */
const code = (umask: number, signal: string): string => `
  const { watchLateSignals, lateSignal, endLateWatch } = await import(${JSON.stringify(MODULE)});
  process.umask(${umask});
  process.on("SIGINT", () => {}).on("SIGTERM", () => {}).on("SIGUSR2", () => {});
  const watch = watchLateSignals();
  const none = lateSignal(watch) ?? "none";
  ${signal === "none" ? "" : `process.kill(process.pid, "${signal}"); while (lateSignal(watch) === undefined) await Bun.sleep(1);`}
  console.log(none, endLateWatch(watch) ?? "none", process.umask().toString(8));
  process.exit(0);`;

const CASES = [0o002, 0o014, 0o017, 0o022, 0o077].flatMap((umask) =>
  ["none", "SIGINT", "SIGTERM", "SIGUSR2"].map((signal) => [umask.toString(8), signal, umask] as const),
);

test.concurrent.each(CASES)(
  "watchLateSignals() under umask %s notes %s and nothing else",
  async (octal, signal, umask) => {
    const child = Bun.spawn([process.execPath, "-e", code(umask, signal)], { stdout: "pipe", timeout: 20_000 });
    expect((await child.stdout.text()).trim()).toBe(`none ${signal} ${octal}`);
  },
);
