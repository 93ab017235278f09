/** The jobs of the workers that make a crash dump: what is captured of a start while it lives, and what is packed after its death. */
import { join } from "node:path";
import type { CaptureJob, PackJob } from "../../core/dump-job.ts";
import { dumpFileName, DUMP_VERSION } from "../../core/dump.ts";
import type { ExitInfo } from "../../core/lifecycle-types.ts";
import { secretValues } from "../../core/redact.ts";
import type { Clock } from "../../platform/clock.ts";
import type { BotPlan } from "./bot-plan.ts";
import type { Generation } from "./generation.ts";
import { withoutSecrets, type KnownSecrets } from "./known-secrets.ts";

/** Bytes of chance in a dump's id. */
const ID_BYTES = 3;

export interface JobDeps {
  readonly plan: Pick<BotPlan, "name" | "account" | "config" | "files">;
  readonly clock: Clock;
  readonly version: string;
  readonly secrets: () => KnownSecrets;
}

/** What is told of the start that a dump is made of. */
export interface Subject {
  readonly generation: Generation;
  readonly level: string;
}

/** The end of a start, or the wish of a person to have it dumped. */
export interface Death {
  readonly exit: ExitInfo | null;
  readonly reason: string;
  readonly signature: string;
  readonly repeats: number;
  readonly light: boolean;
  readonly captured: { readonly folder: string } | undefined;
  readonly glance: PackJob["glance"];
  readonly status: Promise<unknown>;
}

/** What is read of a living start, into a folder of its own. */
export function captureJob(deps: JobDeps, generation: Generation, how: Pick<CaptureJob, "stack" | "hung">): CaptureJob {
  const { files, config } = deps.plan;
  const { child, leaf: cgroup } = generation;
  return {
    version: 1,
    pid: child.pid,
    startTicks: child.startTicks,
    ...(cgroup === undefined ? {} : { cgroup }),
    folder: join(files.dumps, `.capture-${newId()}`),
    tagKey: join(files.dumps, ".tag-key"),
    ...how,
    ...(config.output.to === "file" ? { output: { log: files.log, index: files.outputIndex } } : {}),
    secrets: secretsOf(deps, generation),
  };
}

/** What is packed of a start and its death. The bot's part of the status is waited for. */
export async function packJob(deps: JobDeps, { generation, level }: Subject, of: Death): Promise<PackJob> {
  const { plan, clock, version } = deps;
  const { files, config, name, account } = plan;
  const id = newId();
  const at = clock.wallTime();
  const file = dumpFileName({ bot: name, at: at.getTime(), reason: of.reason, signature: of.signature, id }, isoTime);
  const { enabled: _, stack: __, ...policy } = config.dump;
  return {
    version: 1,
    ...(of.captured === undefined ? {} : { captured: of.captured.folder }),
    ...(of.glance === undefined ? {} : { glance: of.glance }),
    dumps: files.dumps,
    file,
    manifest: {
      v: DUMP_VERSION,
      id,
      bot: name,
      account,
      generation: generation.generation,
      pid: generation.child.pid,
      reason: of.reason,
      createdAt: at.toISOString(),
      startedAt: generation.startedAt.toISOString(),
      exit: of.exit,
      restarts: generation.restarts,
      level,
      repeats: of.repeats,
      ...(of.light ? { light: true } : {}),
      versions: { supervisor: version, runtime: `Bun ${Bun.version}` },
    },
    blackbox: { blackbox: files.blackbox, sealed: files.sealedBlackbox },
    state: files.state,
    samples: files.samples,
    output: { log: files.log, index: files.outputIndex, runs: files.runs },
    journal: files.journal,
    status: await of.status,
    config: `${JSON.stringify(withoutSecrets(config), undefined, 2)}\n`,
    secrets: secretsOf(deps, generation),
    policy,
  };
}

function secretsOf({ secrets }: JobDeps, generation: Generation): CaptureJob["secrets"] {
  const { values, files } = secrets();
  return { values: [...values, ...secretValues(generation.env)], files: [...files] };
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString();
}

function newId(): string {
  return crypto.getRandomValues(Buffer.alloc(ID_BYTES)).toString("hex");
}
