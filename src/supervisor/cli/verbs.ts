/** The list of verbs: name, one line of help, and the import that happens only when the verb is called. */
import type { Verb } from "./verb.ts";

export interface VerbEntry {
  readonly name: string;
  readonly summary: string;
  /** The binary's own subprocesses; not shown in help. */
  readonly hidden?: true;
  readonly load: () => Promise<{ readonly command: Verb }>;
}

export const verbs: readonly VerbEntry[] = [
  { name: "run", summary: "run the daemon in the foreground", load: () => import("./run.ts") },
  { name: "status", summary: "show the supervisor and its bots", load: () => import("./status.ts") },
  { name: "top", summary: "show bots and events live", load: () => import("./top.ts") },
  { name: "start", summary: "start a bot", load: () => import("./start.ts") },
  { name: "stop", summary: "stop a bot; it stays down until it is started", load: () => import("./stop.ts") },
  { name: "restart", summary: "stop a bot and start it again", load: () => import("./restart.ts") },
  { name: "reload", summary: "read the config again; only changed bots restart", load: () => import("./reload.ts") },
  { name: "logs", summary: "show a bot's output", load: () => import("./logs.ts") },
  { name: "events", summary: "show what the supervisor decided and why", load: () => import("./events.ts") },
  { name: "blackbox", summary: "show what a bot has recorded of itself", load: () => import("./blackbox.ts") },
  { name: "dump", summary: "make, show and thin out crash dumps", load: () => import("./dump.ts") },
  { name: "state", summary: "show, check and salvage what a bot keeps", load: () => import("./state.ts") },
  { name: "emergency", summary: "plan or do the closing of positions", load: () => import("./emergency.ts") },
  {
    name: "maintenance",
    summary: "suspend what closes positions by itself",
    load: () => import("./maintenance.ts"),
  },
  { name: "arm", summary: "end a bot's lockout after an emergency", load: () => import("./arm.ts") },
  { name: "backup", summary: "make, list, verify and prune backups", load: () => import("./backup.ts") },
  { name: "restore", summary: "bring back what a backup holds", load: () => import("./restore.ts") },
  { name: "drill", summary: "restore for practice, and measure it", load: () => import("./drill.ts") },
  { name: "config", summary: "write, check and show the config", load: () => import("./config.ts") },
  { name: "install", summary: "install binary, config and systemd units", load: () => import("./install.ts") },
  { name: "uninstall", summary: "remove them, and keep what is yours", load: () => import("./uninstall.ts") },
  { name: "upgrade", summary: "put a new version in the daemon's place", load: () => import("./upgrade.ts") },
  { name: "selftest", summary: "test recovery on scratch copies", load: () => import("./selftest.ts") },
  { name: "doctor", summary: "show what this machine offers", load: () => import("./doctor.ts") },
  { name: "demo", summary: "watch the whole story on a local paper exchange", load: () => import("./demo.ts") },
  { name: "completion", summary: "make a shell complete commands and names", load: () => import("./completion.ts") },
  { name: "version", summary: "show the version", load: () => import("./version.ts") },
  { name: "__action", summary: "run one action as a worker", hidden: true, load: () => import("./action.ts") },
  { name: "__complete", summary: "names for a shell", hidden: true, load: () => import("./complete.ts") },
  { name: "__state", summary: "look at a bot's state", hidden: true, load: () => import("./state-worker.ts") },
  { name: "__self-check", summary: "could it take over?", hidden: true, load: () => import("./self-check.ts") },
  { name: "__end-bots", summary: "end what a dead daemon left", hidden: true, load: () => import("./end-bots.ts") },
  { name: "__paper-exchange", summary: "the demo's exchange", hidden: true, load: () => import("./demo-exchange.ts") },
  { name: "__sample-bot", summary: "the demo's bot", hidden: true, load: () => import("./demo-bot.ts") },
];
