/** Rules across the fields of the section `backups`, in the manner of rules.ts. */
import { list, map, word } from "./outline.ts";
import { report, type Report } from "./rules.ts";
import { checkStores } from "./store-rules.ts";

const targetOutline = (value: unknown) => {
  const { kind, timezone, schedule, incremental, stores, passwordFile, passwordEnv, pitr, engine, pgbackrest } =
    map(value);
  return {
    kind: word(kind),
    timezone: word(timezone),
    schedule: word(schedule),
    incremental,
    stores: list(stores).map(word),
    passwordFile,
    passwordEnv,
    pitr,
    engine: word(engine),
    pgbackrest,
  };
};

/** Targets go to stores that exist, at times of a known zone, and secrets only encrypted. */
export function checkBackups(value: unknown, to: Report): void {
  checkStores(value, to);
  const { encryption, ...given } = map(value);
  const [stores, targets] = [map(given["stores"]), map(given["targets"])];
  const known = Object.keys(stores);
  if (known.length === 0)
    report(to, ["stores"], "there is no store; add one, as local: { kind: directory, path: FOLDER }");
  if (Object.keys(targets).length === 0) report(to, ["targets"], "there is no target; add one");
  for (const [name, outline] of Object.entries(targets)) {
    const target = targetOutline(outline);
    const { kind, timezone, schedule, incremental, stores: wanted } = target;
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
}: ReturnType<typeof targetOutline>): readonly (readonly [key: string, message: string])[] {
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
  const known = Object.keys(map(map(root)["bots"]));
  return Object.entries(map(map(map(root)["backups"])["targets"])).flatMap(([name, target]) =>
    list(map(target)["bots"]).flatMap((bot, index) =>
      typeof bot !== "string" || known.includes(bot)
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
