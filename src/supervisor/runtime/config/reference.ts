/** The config's JSON Schema and reference page, made from the zod schema: what scripts/generate.ts writes to config/ and docs/. */
import * as z from "zod";
import { statusSchema } from "../../../core/status.ts";
import { common } from "../../../probes/contract.ts";
import { configField, unitOf, type Field } from "./fields.ts";

/** The JSON Schema for editors (draft 2020-12). */
export function configJsonSchema(): object {
  const { $schema, ...rest }: Field & { $schema?: string } = configField();
  return {
    $schema,
    title: "Supervisor config",
    description: "supervisor.yaml, checked strictly: unknown keys are errors.",
    ...rest,
  };
}

/** The JSON Schema of the object that `supervisor status --json` prints. */
export function statusJsonSchema(): object {
  const { $schema, ...rest } = z.toJSONSchema(statusSchema);
  return { $schema, title: "Supervisor status", description: "What supervisor status --json prints.", ...rest };
}

const INTRODUCTION = `# Config reference

Generated from the schema by \`bun run generate\`. A commented example is \`config/supervisor.example.yaml\`; editors complete and
check the file with \`config/supervisor.schema.json\`.

The file is the one that \`--config\` names, else \`$SUPERVISOR_CONFIG\`, else \`./supervisor.yaml\`, else
\`/etc/tradingbot/supervisor.yaml\`. It is YAML 1.2, strict: an unknown key, a bad unit or an impossible combination is an error
with its line, and all errors show at once (\`supervisor config check\`, exit code 2). \`supervisor config show\` prints the
config in force with every default filled in.

- **Durations** are written \`250ms\`, \`30s\`, \`5m\`, \`2h\` or \`1d\`; **sizes** \`512KiB\`, \`1500MiB\` or \`2GiB\`; **CPU** \`180%\` of one core.
- A **relative path** starts at the folder of the config file. \`~\` is not expanded.
- **\`\${NAME}\`** in any value is replaced by the environment variable, \`\${NAME:-default}\` by the default if it is unset or empty;
  a missing name is an error; \`$\${\` is a literal \`\${\`. Without quotes the result is read as YAML reads it (\`port: \${PORT}\` is
  a number), in quotes it stays text. Inside \`[ ]\` and \`{ }\` a reference needs quotes.
- **Secrets** are never written into the file: it names the files or variables that hold them.
`;

const OUTLOOK = `## Not in this release

\`alerts\`. It is refused, not ignored.
`;

/** The reference page: one table for each section, in the order of the schema. */
export function configReferenceMarkdown(): string {
  const root = configField();
  const bot = inside(inside(root, "bots"));
  const probes = bot.properties?.["probes"]?.items?.oneOf ?? [];
  const shared = sharedFields();
  return [
    INTRODUCTION,
    section("The file", root),
    section("`control`", inside(root, "control")),
    section("`http` and `metrics`", inside(root, "http"), "Two sections with the same keys.\n"),
    section("`http.auth` and `metrics.auth`", inside(inside(root, "http"), "auth")),
    section(
      "`bots.NAME`",
      bot,
      `A bot's name is lower-case letters, digits and dashes, at most 32, beginning with a letter.\n`,
    ),
    section("`bots.NAME.restart`", inside(bot, "restart")),
    section("`bots.NAME.output`", inside(bot, "output"), "How the files are named and read: [logs.md](logs.md).\n"),
    section("`bots.NAME.dump`", inside(bot, "dump"), "What is in one and how it is read: [dumps.md](dumps.md).\n"),
    section(
      "`bots.NAME.limits`",
      inside(bot, "limits"),
      "What each limit does on which machine: [limits.md](limits.md).\n",
    ),
    section(
      "`bots.NAME.emergency`",
      inside(bot, "emergency"),
      "Key and secret each need exactly one of File and Env.\n",
    ),
    ...guardSections(inside(bot, "emergency")),
    section(
      "`bots.NAME.emergency.hook`",
      inside(inside(bot, "emergency"), "hook"),
      "A program or an address. When it is asked, and what it answers: [emergency.md](emergency.md#a-hook-beside-ccxt).\n",
      "###",
    ),
    section("`bots.NAME.emergency.spot`", inside(inside(bot, "emergency"), "spot")),
    section(
      "`bots.NAME.emergency.margin`",
      inside(inside(bot, "emergency"), "margin"),
      "What is done with it: [emergency.md](emergency.md#margin-wallets).\n",
    ),
    section(
      "`bots.NAME.probes`",
      { properties: shared, required: ["kind"] },
      "A list. These fields belong to every kind; a kind that has another default says so below. `timeout` must be shorter\nthan `period`, except for heartbeat and progress.\n",
    ),
    ...probes.map((probe) => probeSection(probe, shared)),
    ...backupSections(inside(root, "backups")),
    OUTLOOK,
  ].join("\n");
}

function guardSections(emergency: Field): readonly string[] {
  return [
    section(
      "`bots.NAME.emergency.limits`",
      inside(emergency, "limits"),
      "What happens over a limit: [emergency.md](emergency.md#limits-of-the-account).\n",
      "###",
    ),
    section(
      "`bots.NAME.emergency.deadman`",
      inside(emergency, "deadman"),
      "What it does, and at which venue: [emergency.md](emergency.md#dead-man-switch).\n",
      "###",
    ),
    section("`bots.NAME.emergency.preflight`", inside(emergency, "preflight"), "", "###"),
    section(
      "`bots.NAME.emergency.testnet`",
      inside(emergency, "testnet"),
      "Key and secret each need exactly one of File and Env.\n",
      "###",
    ),
  ];
}

function pgBackRest(targets: readonly Field[]): Field {
  const field = targets.find(({ properties }) => properties?.["pgbackrest"] !== undefined);
  return field === undefined ? {} : inside(field, "pgbackrest");
}

function backupSections(backups: Field): readonly string[] {
  const kinds = (key: string): readonly Field[] => inside(inside(backups, key)).oneOf ?? [];
  const each = (title: string, fields: readonly Field[]): readonly string[] =>
    fields.map((field) =>
      section(`\`${title}\`, \`kind: ${String(field.properties?.["kind"]?.const)}\``, field, "", "###"),
    );
  return [
    section("`backups`", backups, "How to use it: [backup.md](backup.md).\n"),
    ...each("backups.stores.NAME", kinds("stores")),
    ...each("backups.targets.NAME", kinds("targets")),
    section("`backups.targets.NAME.pgbackrest`", pgBackRest(kinds("targets")), "", "###"),
    ...each("backups.targets.NAME.checks", sqliteChecks(kinds("targets"))),
    ...["encryption", "retention", "verify", "drill", "objectives"].map((key) =>
      section(`\`backups.${key}\``, inside(backups, key), "", "###"),
    ),
  ];
}

/** The kinds of checks; the same for every kind of target that has them. */
function sqliteChecks(targets: readonly Field[]): readonly Field[] {
  return (
    targets.find(({ properties }) => properties?.["checks"] !== undefined)?.properties?.["checks"]?.items?.oneOf ?? []
  );
}

/** The field of `key`, or of the values of a map. */
function inside(field: Field, key?: string): Field {
  const found = key === undefined ? field.additionalProperties : field.properties?.[key];
  return found === undefined || found === false ? {} : found;
}

/** The fields that `probes` lists for every kind. */
function sharedFields(): Readonly<Record<string, Field>> {
  // Safe: zod writes draft 2020-12, of which `Field` names the keywords that these fields make it use.
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion
  const { properties } = z.toJSONSchema(z.strictObject(common), { io: "input" }) as Field;
  return { kind: { type: "kind", description: "What is checked: one of the kinds below." }, ...properties };
}

function probeSection(probe: Field, shared: Readonly<Record<string, Field>>): string {
  const kind = probe.properties?.["kind"];
  const own = Object.entries(probe.properties ?? {}).filter(
    ([key, field]) => key !== "kind" && JSON.stringify(field) !== JSON.stringify(shared[key]),
  );
  const title = `\`kind: ${String(kind?.const)}\``;
  const text = kind?.description === undefined ? "" : `${kind.description}\n`;
  return section(title, { properties: Object.fromEntries(own), required: probe.required ?? [] }, text, "###");
}

function section(title: string, field: Field, text = "", heading = "##"): string {
  const rows = Object.entries(field.properties ?? {}).map(([key, value]) => [
    `\`${key}\``,
    typeText(value),
    defaultText(value, field.required?.includes(key) === true),
    cell(value.description ?? ""),
  ]);
  const body = rows.length === 0 ? [] : [table([["Key", "Type", "Default", "Meaning"], ...rows])];
  return [`${heading} ${title}`, "", ...(text === "" ? [] : [text]), ...body, ""].join("\n").replace(/\n+$/, "\n");
}

/** Longer lists of choices are not spelled out. */
const MAX_CHOICES = 12;

function typeText(field: Field): string {
  const unit = unitOf(field);
  if (unit !== undefined) return unit === "cpu" ? "CPU share" : unit;
  if (field.const !== undefined) return `\`${JSON.stringify(field.const)}\``;
  if (field.enum !== undefined)
    return field.enum.length <= MAX_CHOICES
      ? field.enum.map((choice) => `\`${String(choice)}\``).join(", ")
      : "ccxt id";
  switch (field.type) {
    case "string":
      return field.format === "uri" ? "address" : "text";
    case "integer":
      return `whole number${rangeText(field)}`;
    case "number":
      return `number${rangeText(field)}`;
    case "boolean":
      return "`true`, `false`";
    case "array":
      return "list";
    case "object":
      return "map";
    case undefined:
      return (field.anyOf ?? []).map(typeText).join(" or ");
    default:
      return field.type;
  }
}

function rangeText({ minimum, maximum }: Field): string {
  if (minimum === undefined) return "";
  return maximum === undefined || maximum > 1e9 ? `, at least ${minimum}` : `, ${minimum} to ${maximum}`;
}

function defaultText(field: Field, required: boolean): string {
  if (required) return "required";
  const value = field.default;
  if (value === undefined || (typeof value === "object" && Object.keys(value ?? {}).length === 0)) return "";
  return `\`${typeof value === "string" ? value : JSON.stringify(value)}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}

/** A Markdown table with its columns aligned, as the formatter leaves it. */
function table(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(3, ...rows.map((row) => (row[column] ?? "").length)));
  const line = (row: readonly string[]): string =>
    `| ${row.map((text, column) => text.padEnd(widths[column] ?? 0)).join(" | ")} |`;
  const rule = `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`;
  const [head = [], ...body] = rows;
  return [line(head), rule, ...body.map(line)].join("\n");
}
