/** Rules across the fields of the section `backups`, in the manner of rules.ts. */
import * as z from "zod";
import { later } from "../../../core/later.ts";
import { report, type Report } from "./rules.ts";
import { checkStores } from "./store-rules.ts";

const word = later(() => z.string().optional().catch(undefined));
const targetOutline = later(() =>
  z
    .looseObject({
      kind: word,
      timezone: word,
      schedule: word,
      incremental: z.unknown().optional(),
      stores: z.array(word).optional().catch(undefined),
      passwordFile: z.unknown().optional(),
      passwordEnv: z.unknown().optional(),
      pitr: z.unknown().optional(),
      engine: word,
      pgbackrest: z.unknown().optional(),
    })
    .catch({ kind: undefined, timezone: undefined, schedule: undefined, incremental: undefined, stores: undefined }),
);
const backupsOutline = later(() =>
  z
    .looseObject({
      stores: z.record(z.string(), z.unknown()).catch({}),
      targets: z.record(z.string(), targetOutline).catch({}),
      encryption: z.unknown().optional(),
    })
    .catch({ stores: {}, targets: {}, encryption: undefined }),
);
const userOutline = later(() => z.looseObject({ bots: z.array(word).catch([]) }).catch({ bots: [] }));
const usersOutline = later(() =>
  z
    .looseObject({
      bots: z.record(z.string(), z.unknown()).catch({}),
      backups: z.looseObject({ targets: z.record(z.string(), userOutline).catch({}) }).catch({ targets: {} }),
    })
    .catch({ bots: {}, backups: { targets: {} } }),
);

/** Targets go to stores that exist, at times of a known zone, and secrets only encrypted. */
export function checkBackups(value: unknown, to: Report): void {
  checkStores(value, to);
  const { stores, targets, encryption } = backupsOutline.parse(value);
  const known = Object.keys(stores);
  if (known.length === 0)
    report(to, ["stores"], "there is no store; add one, as local: { kind: directory, path: FOLDER }");
  if (Object.keys(targets).length === 0) report(to, ["targets"], "there is no target; add one");
  for (const [name, target] of Object.entries(targets)) {
    const { kind, timezone, schedule, incremental, stores: wanted = [] } = target;
    if (target.passwordFile !== undefined && target.passwordEnv !== undefined)
      report(to, ["targets", name, "passwordEnv"], "the password is in passwordFile already; name one of the two");
    for (const [index, store] of wanted.entries())
      if (store !== undefined && !known.includes(store))
        report(
          to,
          ["targets", name, "stores", index],
          `there is no store "${store}"; name one of: ${known.join(", ")}, or add it under backups.stores`,
        );
    for (const [key, message] of engineFaults(target)) report(to, ["targets", name, key], message);
    if (timezone !== undefined && !isTimeZone(timezone))
      report(to, ["targets", name, "timezone"], `"${timezone}" is not a time zone; write it as Europe/Berlin, or UTC`);
    if (incremental !== undefined && schedule === undefined)
      report(
        to,
        ["targets", name, "incremental"],
        'incremental backups are made between full ones; add the schedule of those, as schedule: "@daily"',
      );
    if (kind === "secrets" && encryption === undefined)
      report(
        to,
        ["targets", name, "kind"],
        "secrets are never stored unencrypted; add backups.encryption with the public key of age-keygen",
      );
  }
}

/** pgBackRest makes what pitr asks for, and nothing else. */
function engineFaults({
  engine,
  pgbackrest,
  pitr,
}: z.output<typeof targetOutline>): readonly (readonly [key: string, message: string])[] {
  if (engine !== "pgbackrest")
    return pgbackrest === undefined
      ? []
      : [["pgbackrest", "is of use with engine: pgbackrest only; add that, or leave it out"]];
  return [
    ...(pitr === true ? [] : [["engine", "pgBackRest makes the bases and WAL of pitr; add pitr: true"] as const]),
    ...(pgbackrest === undefined
      ? [["engine", "pgBackRest needs to know its stanza; add pgbackrest: { stanza: NAME }"] as const]
      : []),
  ];
}

/** Bots that a target names and that are not there, with the path of each. */
export function targetBotErrors(
  root: unknown,
): readonly { readonly path: (string | number)[]; readonly message: string }[] {
  const { bots, backups } = usersOutline.parse(root);
  const known = Object.keys(bots);
  return Object.entries(backups.targets).flatMap(([name, target]) =>
    target.bots.flatMap((bot, index) =>
      bot === undefined || known.includes(bot)
        ? []
        : [
            {
              path: ["backups", "targets", name, "bots", index],
              message: `there is no bot "${bot}"; the bots are: ${known.join(", ")}`,
            },
          ],
    ),
  );
}

function isTimeZone(name: string): boolean {
  // The default: for a look at it the runtime would read its time zone data, five megabytes that stay.
  if (name === "UTC") return true;
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }).resolvedOptions().timeZone !== "";
  } catch {
    return false;
  }
}
