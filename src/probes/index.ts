/** The probe registry. To add a probe: write its file and add its name to `registry`. */
import * as z from "zod";
import { later, real } from "../core/later.ts";
import type { Probe, ProbeContext } from "./contract.ts";
import { exec } from "./exec.ts";
import { file } from "./file.ts";
import { heartbeat } from "./heartbeat.ts";
import { http } from "./http.ts";
import { process } from "./process.ts";
import { progress } from "./progress.ts";
import { resources } from "./resources.ts";
import { tcp } from "./tcp.ts";

const registry = [process, heartbeat, progress, http, tcp, exec, file, resources] as const;

type Schemas<Kinds extends readonly { schema: unknown }[]> = { [I in keyof Kinds]: Kinds[I]["schema"] };

/** One probe as the config writes it: a union over `kind`. */
export const probeSchema = later(() =>
  z.discriminatedUnion(
    "kind",
    // Safe: `map` keeps length and order; TypeScript cannot see that for a tuple.
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion
    registry.map(({ schema }) => real<z.ZodObject>(schema)) as unknown as Schemas<typeof registry>,
  ),
);
export type ProbeConfig = z.output<typeof probeSchema>;

/** The names of all kinds, in the order of the documentation. */
export const probeKinds: readonly ProbeConfig["kind"][] = registry.map(({ kind }) => kind);

/** A probe for one generation of one bot; it keeps state between its runs and must not outlive the generation. */
export function createProbe(config: ProbeConfig, context: ProbeContext): Probe {
  const kind = registry.find(({ kind: name }) => name === config.kind);
  if (kind === undefined) throw new Error(`internal error: probe kind ${config.kind} is not in the registry`);
  // Safe: `find` matched the tag, so this kind made this config.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  return (kind.create as (config: ProbeConfig, context: ProbeContext) => Probe)(config, context);
}

/** The name under which a probe appears in status and events. */
export function probeName(config: Pick<ProbeConfig, "name" | "kind">): string {
  return config.name ?? config.kind;
}

/** What an unhealthy verdict of this probe does. */
export function onFailureOf(config: Pick<ProbeConfig, "role" | "onFailure">): NonNullable<ProbeConfig["onFailure"]> {
  return config.onFailure ?? (config.role === "readiness" ? "alert" : "restart");
}
