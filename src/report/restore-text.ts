/** A restore's plan for people: what comes back, what is lost, what is replaced, who is stopped. */
import { formatSize } from "../core/size.ts";

interface Plan {
  readonly target: string;
  readonly kind: string;
  readonly backup: string;
  readonly store: string | null;
  readonly snapshotAt: string | null;
  readonly unchangedAt?: string | null;
  readonly lossSeconds: number | null;
  readonly into:
    | { readonly kind: "live" }
    | { readonly kind: "folder"; readonly path: string }
    | { readonly kind: "instant"; readonly path: string; readonly at: string }
    | { readonly kind: "tables"; readonly tables: readonly string[] };
  readonly replaces: readonly { readonly path: string; readonly bytes: number | null }[];
  readonly bots: readonly string[];
  /** Those of them that are up now. */
  readonly up: readonly string[];
  readonly damaged: readonly { readonly id: string; readonly store: string | null; readonly reason: string }[];
}

const UNITS = [
  ["d", 86_400],
  ["h", 3_600],
  ["min", 60],
  ["s", 1],
] as const;

export function planText(plan: Plan): string {
  const rows: readonly (readonly [string, string])[] = [
    ["target", `${plan.target} (${plan.kind})`],
    ["from", plan.store === null ? plan.backup : `${plan.backup} in ${plan.store}`],
    [
      "holds",
      plan.snapshotAt === null
        ? "nobody knows of when: the file does not say"
        : `the state of ${plan.snapshotAt}${plan.unchangedAt == null ? "" : `, which was still that at ${plan.unchangedAt}`}`,
    ],
    // To an instant the WAL makes up for it, as far as it goes.
    ...(plan.lossSeconds === null || plan.into.kind === "instant"
      ? []
      : ([["loses", `what was written in the ${spanText(plan.lossSeconds)} since`]] as const)),
    ...placeRows(plan),
    ...plan.damaged.map(
      ({ id, store, reason }) => ["damaged", damagedText(plan.backup, { id, store, reason })] as const,
    ),
  ];
  return rows.map(([label, text]) => `${label.padEnd(8)}  ${text}`).join("\n");
}

function damagedText(taken: string, { id, store, reason }: Plan["damaged"][number]): string {
  // Of a folder that somebody gave there is no other.
  return id === taken || store === null
    ? `this very backup: ${reason}`
    : `${id} in ${store}, which is passed over: ${reason}`;
}

function placeRows({ into, replaces, bots, up }: Plan): readonly (readonly [string, string])[] {
  if (into.kind === "folder") return [["into", `${into.path}; nothing else is touched`]];
  if (into.kind === "instant")
    return [
      ["and then", `the archived WAL up to ${into.at}`],
      ["loses", "what was written after that"],
      ["into", `${into.path}, a data folder of PostgreSQL; nothing else is touched`],
    ];
  const paths = replaces.map(({ path, bytes }) => (bytes === null ? path : `${path} (${formatSize(bytes)})`));
  const what =
    into.kind === "tables"
      ? `${into.tables.join(", ")} in ${paths.join(", ")}; the other tables stay`
      : `${paths.join(", ")}; kept beside it for 7 days`;
  return [
    ["replaces", what],
    ["stops", stopsText(bots, up)],
  ];
}

/** A bot that is down stays so, and is held to the same level when somebody starts it. */
function stopsText(bots: readonly string[], up: readonly string[]): string {
  if (bots.length === 0) return "no bot: the target names none";
  const down = bots.filter((bot) => !up.includes(bot)).join(", ");
  const stays = `${down}: not up, and not started; level minimal when it is`;
  if (up.length === 0) return `no bot (${stays})`;
  const stopped = `${up.join(", ")}, then started with level minimal`;
  return down === "" ? stopped : `${stopped} (${stays})`;
}

/** The two largest units of a time. */
function spanText(seconds: number): string {
  const parts: string[] = [];
  let rest = seconds;
  for (const [unit, size] of UNITS) {
    const count = Math.floor(rest / size);
    rest -= count * size;
    if (count > 0 || parts.length > 0) parts.push(`${count} ${unit}`);
  }
  return parts.length === 0 ? "0 s" : parts.slice(0, 2).join(" ");
}
