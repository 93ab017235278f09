/**
 * How a program that is about to be ended is asked for its stack. A signal is sent only to what handles it, and one that ends the
 * program only where it hangs: then that is what comes anyway, while a bot that still listens is asked to stop politely.
 */

export const STACK_MODES = ["auto", "node-cdp", "abrt", "quit", "none"] as const;
export type StackMode = (typeof STACK_MODES)[number];

const SIGQUIT = 3;
const SIGABRT = 6;
const SIGUSR1 = 10;

export interface ProgramFacts {
  readonly program: "node" | "python" | "java" | "go" | "other";
  /** Numbers of the signals that it has handlers for (SigCgt of proc(5)). */
  readonly caught: ReadonlySet<number>;
  /** Letter of its state (proc(5)). */
  readonly state: string;
  /** It gives no sign of life or of progress, so that nothing polite reaches it. */
  readonly hung: boolean;
  /** What it says on its error output can be read. */
  readonly heard: boolean;
}

export type StackChoice =
  | { readonly kind: "node" }
  | { readonly kind: "signal"; readonly signal: "SIGABRT" | "SIGQUIT"; readonly entry: string }
  /** Why it is not asked; `undefined` where there is nothing to ask. */
  | { readonly kind: "none"; readonly why?: string };

export function chooseStack(mode: StackMode, facts: ProgramFacts): StackChoice {
  const asked = wayOf(mode, facts);
  if (asked === undefined) return { kind: "none" };
  // A signal would wait until the program is let go on, and a program in the kernel answers nothing.
  if (facts.state === "T" || facts.state === "t") return { kind: "none", why: "it is stopped, and cannot answer" };
  if (facts.state === "D") return { kind: "none", why: "it waits in the kernel, and cannot answer" };
  if (asked.kind === "signal" && !facts.heard) return { kind: "none", why: "its output does not go into a file" };
  return asked;
}

function wayOf(
  mode: StackMode,
  { program, caught, hung }: ProgramFacts,
): Exclude<StackChoice, { kind: "none" }> | undefined {
  const auto = mode === "auto" && hung;
  if ((mode === "auto" || mode === "node-cdp") && program === "node" && caught.has(SIGUSR1)) return { kind: "node" };
  if ((mode === "abrt" || (auto && program === "python")) && caught.has(SIGABRT))
    return { kind: "signal", signal: "SIGABRT", entry: "stacks/python.txt" };
  if ((mode === "quit" || (auto && (program === "java" || program === "go"))) && caught.has(SIGQUIT))
    return { kind: "signal", signal: "SIGQUIT", entry: "stacks/quit.txt" };
  return undefined;
}
