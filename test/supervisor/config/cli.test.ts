/** `supervisor config` as a user types it. */
import { readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { Command } from "commander";
import { describe, expect, test } from "vitest";
import { command } from "../../../src/supervisor/cli/config.ts";
import type { Environment } from "../../../src/supervisor/runtime/config/substitute.ts";
import { botWith, scratchFolder } from "./folder.ts";

const folder = scratchFolder();

interface Outcome {
  readonly out: string;
  readonly err: string;
  readonly code: number;
}

/** What `config init` answers when the file `name` exists. */
function refused(name: string): Outcome {
  return {
    out: "",
    err: `cannot write ${name}: the file exists; name another, or replace it with --force\n`,
    code: 2,
  };
}

async function config(args: readonly string[], env: Environment = {}): Promise<Outcome> {
  let out = "";
  let err = "";
  let code = 0;
  const parent = new Command("config").exitOverride();
  command.configure(parent, {
    out: (text) => (out += `${text}\n`),
    err: (text) => (err += `${text}\n`),
    env,
    cwd: folder.dir,
    isTerminal: false,
    colour: false,
    setExitCode: (value) => (code = value),
  });
  await parent.parseAsync(args, { from: "user" });
  return { out, err, code };
}

describe("config init", () => {
  test("writes a starter that config check accepts", async () => {
    expect(await config(["init"])).toEqual({
      out: "wrote supervisor.yaml; edit it, then run: supervisor config check\n",
      err: "",
      code: 0,
    });
    expect(await config(["check"])).toEqual({ out: "supervisor.yaml: ok (1 bot)\n", err: "", code: 0 });
  });

  test("says which folder is not there and what to do, also with --force", async () => {
    for (const args of [
      ["init", "none/mine.yaml"],
      ["init", "none/mine.yaml", "--force"],
    ]) {
      const none = join(folder.dir, "none");
      expect(await config(args)).toEqual({
        out: "",
        err: `cannot write none/mine.yaml: there is no folder ${none}; create it (mkdir -p ${none}), or name a file in another\n`,
        code: 1,
      });
    }
  });

  test("does not overwrite a file or write through a link, except with --force", async () => {
    const file = folder.write("mine.yaml", "mine\n");
    symlinkSync(join(folder.dir, "nowhere"), join(folder.dir, "link.yaml"));
    expect(await config(["init", "mine.yaml"])).toEqual(refused("mine.yaml"));
    expect(await config(["init", "link.yaml"])).toEqual(refused("link.yaml"));
    expect(readFileSync(file, "utf8")).toBe("mine\n");
    expect(await config(["init", "--force", "mine.yaml"])).toMatchObject({
      out: "wrote mine.yaml; edit it, then run: supervisor config check --config mine.yaml\n",
      code: 0,
    });
    expect(readFileSync(file, "utf8")).toContain("version: 1");
  });
});

describe("config check", () => {
  test("prints all errors and ends with 2", async () => {
    folder.write("bad.yaml", botWith("stopTimeout: 30", "dumps: {}"));
    expect(await config(["check", "--config", "bad.yaml"])).toEqual({
      out: "",
      err:
        "cannot use config bad.yaml: 2 errors\n" +
        'bad.yaml:5: bots.a.stopTimeout: "30" is not a duration; write it as 250ms, 30s, 5m, 2h or 1d (at most 365d)\n' +
        'bad.yaml:6: bots.a.dumps: unknown key; did you mean "dump"?\n',
      code: 2,
    });
  });

  test("checks the machine, and prints warnings on stderr", async () => {
    folder.write("open.key", "k", 0o644);
    folder.write("warn.yaml", botWith("emergency: { exchange: binance, apiKeyFile: open.key, apiSecretEnv: SECRET }"));
    expect(await config(["check", "--config", "warn.yaml"])).toMatchObject({ code: 2 });
    const { out, err, code } = await config(["check", "--config", "warn.yaml"], { SECRET: "s" });
    expect({ out, code }).toEqual({ out: "warn.yaml: ok (1 bot)\n", code: 0 });
    expect(err).toMatch(/^warn\.yaml:5: warning: .* is open to others \(mode 0644\)/);
  });

  test("prints one object with --json", async () => {
    folder.write("bad.yaml", botWith("stopTimeout: 30"));
    const bad = await config(["check", "--config", "bad.yaml", "--json"]);
    expect(bad.code).toBe(2);
    expect(JSON.parse(bad.out)).toMatchObject({
      file: "bad.yaml",
      ok: false,
      errors: [{ line: 5, column: 18, path: "bots.a.stopTimeout" }],
    });
    folder.write("good.yaml", botWith());
    const good = await config(["check", "--config", "good.yaml", "--json"]);
    expect(JSON.parse(good.out)).toEqual({
      file: join(folder.dir, "good.yaml"),
      ok: true,
      bots: ["a"],
      errors: [],
      warnings: [],
    });
  });
});

describe("config show", () => {
  test("prints the config in force, as YAML and as JSON", async () => {
    folder.write("good.yaml", botWith());
    const yaml = await config(["show", "--config", "good.yaml"]);
    expect(yaml.out).toContain(`# ${join(folder.dir, "good.yaml")}, every default filled in\nversion: 1\n`);
    expect(yaml.out).toContain("    stopTimeout: 30s\n");
    const json = await config(["show", "--config", "good.yaml", "--json"]);
    expect(JSON.parse(json.out)).toMatchObject({ bots: { a: { stopTimeout: "30s", account: "a" } } });
  });
});

describe("config schema", () => {
  test("prints the schema of the config, and with --of status that of the status object", async () => {
    expect(JSON.parse((await config(["schema"])).out)).toMatchObject({
      $schema: "https://json-schema.org/draft/2020-12/schema",
      title: "Supervisor config",
      additionalProperties: false,
    });
    expect(JSON.parse((await config(["schema", "--of", "status"])).out)).toMatchObject({ title: "Supervisor status" });
  });
});
