/** Where the daemon is reached from outside: its control socket in the runtime folder, and the TCP servers of the config. */
import { existsSync } from "node:fs";
import type { Server } from "bun";
import { ensureDir } from "../../platform/files.ts";
import { socketFile } from "../../platform/socket-file.ts";
import type { Config } from "./config/load.ts";
import { controlSocketPath } from "./config/paths.ts";
import { openControl, type ControlDeps } from "./control.ts";
import { openWeb, type Web, type WebDeps } from "./web.ts";

export interface ListenersDeps
  extends Omit<ControlDeps, "path">, Pick<WebDeps, "status" | "pulseAgeMs" | "configRead" | "stopping"> {
  readonly runtimeDir: string;
  /** What holds now; the control socket stays as it was at the start. */
  readonly config: () => Config;
  readonly stopping: () => boolean;
  readonly say: (level: "info" | "warn" | "alert", text: string) => void;
}

export class Listeners {
  readonly #deps: ListenersDeps;
  readonly #path: string;
  #control: Server<undefined> | undefined;
  /** The control socket's file as it was opened. */
  #file: string | undefined;
  #web: Web | undefined;

  constructor(deps: ListenersDeps) {
    this.#deps = deps;
    this.#path = controlSocketPath(deps.runtimeDir);
  }

  /** Throws when the socket cannot be opened. */
  openControl(): void {
    this.#control = openControl({ ...this.#deps, path: this.#path });
    this.#file = socketFile(this.#path);
  }

  /** Opens the TCP servers; one that cannot be opened is said, and tried again. */
  async openWeb(): Promise<void> {
    const { config, status, pulseAgeMs, configRead, stopping, say } = this.#deps;
    const bots = (): Config["bots"] => config().bots;
    this.#web = await openWeb({ config: config(), bots, status, pulseAgeMs, configRead, stopping, say });
  }

  async closeWeb(): Promise<void> {
    await this.#web?.stop(true);
    this.#web = undefined;
  }

  /** Why an address of `http` or `metrics` is not listened on now; null: all are. */
  get trouble(): string | null {
    return this.#web?.trouble() ?? null;
  }

  /** Opens what could not be opened yet. */
  retryWeb(): void {
    this.#web?.retry();
  }

  /** Somebody cleaned or moved the runtime folder: without its sockets the daemon would not be reached, and the bots not be heard. */
  renew(reopenOthers: () => void): void {
    const { runtimeDir, say } = this.#deps;
    if (!existsSync(runtimeDir)) {
      say("warn", `the runtime folder ${runtimeDir} was removed; making it again`);
      ensureDir(runtimeDir, 0o711);
    }
    reopenOthers();
    const file = socketFile(this.#path);
    if (file !== undefined && file === this.#file) return;
    say("warn", "the control socket was removed or replaced; opening it again");
    void this.#control?.stop(true);
    this.openControl();
  }

  async close(): Promise<void> {
    await this.closeWeb();
    await this.#control?.stop(true);
  }
}
