/** Runs one verb of the CLI in a scratch folder, with a daemon of the test's own making where it needs one. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { Command } from "commander";
import type { Verb } from "../../../src/supervisor/cli/verb.ts";

export interface Outcome {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** A folder with a `supervisor.yaml` and its state in `.supervisor`. */
export class VerbRig implements AsyncDisposable {
  readonly dir = mkdtempSync(join(tmpdir(), "sv-"));
  /** Resolves when a verb has shown something. */
  readonly shown = Promise.withResolvers<void>();
  #daemon: Bun.Server<undefined> | undefined;

  constructor(bots: Readonly<Record<string, object>> = { mine: { command: ["true"] } }) {
    this.write("supervisor.yaml", JSON.stringify({ version: 1, bots }));
  }

  write(name: string, text: string): void {
    const path = join(this.dir, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }

  /** Answers on the control socket in the daemon's place. */
  serve(answer: (path: string, request: Request) => Response | Promise<Response>): void {
    mkdirSync(join(this.dir, ".supervisor/run"), { recursive: true });
    this.#daemon = Bun.serve({
      unix: join(this.dir, ".supervisor/run/control.sock"),
      fetch: (request) => answer(new URL(request.url).pathname, request),
    });
  }

  async endDaemon(): Promise<void> {
    await this.#daemon?.stop(true);
    this.#daemon = undefined;
  }

  /** Rejects with what the verb throws. */
  async run(verb: Verb, ...args: readonly string[]): Promise<Outcome> {
    let out = "";
    let err = "";
    let code = 0;
    const parent = new Command(verb.name).exitOverride().configureOutput({ writeErr: () => {} });
    verb.configure(parent, {
      out: (text) => {
        out += `${text}\n`;
        this.shown.resolve();
      },
      err: (text) => (err += `${text}\n`),
      env: {},
      cwd: this.dir,
      isTerminal: false,
      colour: false,
      setExitCode: (value) => (code = value),
    });
    await parent.parseAsync(args, { from: "user" });
    return { out, err, code };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.endDaemon();
    rmSync(this.dir, { recursive: true, force: true });
  }
}
