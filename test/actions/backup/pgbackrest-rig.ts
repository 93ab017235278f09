/** A PostgreSQL server that archives to a repository of pgBackRest in a folder of its own. */
import { chownSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { lookupUser } from "../../../src/platform/user.ts";
import { asOwner, missing as missingServer, PgServer } from "./postgres-rig.ts";

export const missing =
  missingServer ??
  (Bun.which("pgbackrest") === null
    ? "pgbackrest"
    : process.getuid?.() === 0 && lookupUser("postgres") === undefined
      ? "the user postgres"
      : undefined);
export const WHY = missing === undefined ? "" : ` (skipped: ${missing} is not there)`;
const STANZA = "main";

export class BackRestServer extends PgServer {
  readonly config = join(this.folder, "pgbackrest.conf");
  readonly repository = join(this.folder, "repository");

  async archiving(): Promise<void> {
    mkdirSync(this.repository);
    writeFileSync(
      this.config,
      `[global]\nrepo1-path=${this.repository}\nrepo1-retention-full=1\nlock-path=${join(this.folder, "lock")}\nspool-path=${join(this.folder, "spool")}\nlog-level-file=off\nstart-fast=y\n[${STANZA}]\npg1-path=${this.data}\npg1-socket-path=${this.folder}\n`,
    );
    const owner = lookupUser("postgres");
    if (process.getuid?.() === 0 && owner !== undefined) chownSync(this.repository, owner.uid, owner.gid);
    const command = `pgbackrest --config=${this.config} --stanza=${STANZA} archive-push %p`;
    await this.start(["archive_mode=on", `archive_command=${command}`, "fsync=on"]);
  }

  get settings() {
    return { stanza: STANZA, config: this.config, fullMs: 7 * 86_400_000, differentialMs: 86_400_000 };
  }

  /** Runs the program as its own operator would. Throws what it says. */
  backRest(...words: readonly string[]): void {
    const { exitCode, stderr } = Bun.spawnSync({
      cmd: [...asOwner, "pgbackrest", `--config=${this.config}`, `--stanza=${STANZA}`, ...words],
      cwd: "/",
      stdout: "ignore",
    });
    if (exitCode !== 0) throw new Error(stderr.toString());
  }

  /** A stored file of a table in the newest full backup. */
  storedFile(): string {
    const names = readdirSync(this.repository, { recursive: true }).map(String);
    const [found = ""] = names
      .filter((name) => /F\/pg_data\/base\/\d+\/\d+\.gz$/.test(name))
      .toSorted()
      .slice(-1);
    return join(this.repository, found);
  }
}
