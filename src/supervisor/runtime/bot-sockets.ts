/** The two sockets of one bot, the one that it is heard through and the one that answers it, and whether they are still at their paths. */
import type { Server } from "bun";
import type { NotifySocket } from "../../platform/notify-socket.ts";
import { socketFile } from "../../platform/socket-file.ts";

export interface BotSocketsDeps {
  readonly paths: { readonly notify: string; readonly server: string };
  readonly openNotify: () => Pick<NotifySocket, "drain" | "close"> | { readonly error: string };
  /** Throws when it cannot be opened. */
  readonly openServer: () => Pick<Server<undefined>, "stop">;
  /** Makes the bot's folders and gives its signs anew. Throws when that fails. */
  readonly renewSigns: () => void;
  readonly say: (level: "warn" | "alert", text: string) => void;
}

/** Longest share of one turn that reading a notify socket may take, ms. */
const DRAIN_MS = 5;

export class BotSockets {
  readonly #deps: BotSocketsDeps;
  #notify: Pick<NotifySocket, "drain" | "close"> | undefined;
  #server: Pick<Server<undefined>, "stop"> | undefined;
  /** The files of the two as they were opened; one that was bound before its folder was moved, or removed, is heard by nobody there. */
  #notifyFile: string | undefined;
  #serverFile: string | undefined;
  /** The signs could not be given when the sockets were opened again. */
  #owesSigns = false;
  /** What was said last of what fails; empty: nothing does. */
  #trouble = "";

  /** Opens the notify socket. Where it cannot be opened the bot runs unheard, an alert says so, and it is tried again at each look. */
  constructor(deps: BotSocketsDeps) {
    this.#deps = deps;
    try {
      this.#openNotify();
    } catch (error) {
      this.#trouble = messageOf(error);
      deps.say("alert", this.#trouble);
    }
  }

  /** Takes the server, or opens it, which is apart from the other one for the sake of many bots. Throws when it cannot be opened. */
  serve(server = this.#deps.openServer()): void {
    this.#server = server;
    this.#serverFile = socketFile(this.#deps.paths.server);
  }

  /** Reads what waits in the notify socket. */
  drain(): void {
    this.#notify?.drain(DRAIN_MS);
  }

  /**
   * Opens anew what somebody has removed, moved away or put another file in the place of, with the folders and signs of the bot. Each
   * deed by itself: a full disk that takes no sign does not keep the bot from being heard. What fails is said once. Never throws.
   */
  look(): void {
    const troubles: string[] = [];
    const attempt = (deed: () => void): boolean => {
      try {
        deed();
        return true;
      } catch (error) {
        troubles.push(messageOf(error));
        return false;
      }
    };
    const [notifyStays, serverStays] = this.#stay();
    const unheard = this.#notify === undefined;
    if (!(notifyStays || unheard) || !serverStays || this.#owesSigns)
      this.#owesSigns = !attempt(() => this.#deps.renewSigns());
    const heard = notifyStays || attempt(() => this.#reopenNotify());
    const reached = serverStays || attempt(() => this.#reopenServer());
    if (heard && reached && !(notifyStays && serverStays))
      this.#deps.say("warn", `a socket of the bot was removed or not open; it is open now`);
    const trouble = troubles.join("; ");
    if (trouble !== "" && trouble !== this.#trouble)
      this.#deps.say("alert", `cannot renew the bot's sockets and signs, which is tried again: ${trouble}`);
    this.#trouble = trouble;
  }

  /** Whether notify socket and server are those at their paths. One that cannot be looked at is tried to be opened. */
  #stay(): readonly [boolean, boolean] {
    const { notify, server } = this.#deps.paths;
    return [
      this.#notify !== undefined && isAt(notify, this.#notifyFile),
      this.#server !== undefined && isAt(server, this.#serverFile),
    ];
  }

  /** What waits in the old one is read first. */
  #reopenNotify(): void {
    this.drain();
    this.#notify?.close();
    this.#notify = undefined;
    this.#openNotify();
  }

  #openNotify(): void {
    const opened = this.#deps.openNotify();
    if ("error" in opened) throw new Error(opened.error);
    this.#notify = opened;
    this.#notifyFile = socketFile(this.#deps.paths.notify);
  }

  #reopenServer(): void {
    void this.#server?.stop(true);
    this.#server = undefined;
    this.serve();
  }

  /** Resolves when both are closed. */
  async close(): Promise<void> {
    this.#notify?.close();
    await this.#server?.stop(true);
  }
}

function isAt(path: string, file: string | undefined): boolean {
  try {
    return file !== undefined && socketFile(path) === file;
  } catch {
    return false;
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
