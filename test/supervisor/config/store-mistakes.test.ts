/** Buckets in the section backups: what is refused, with which words. */
import { chmodSync } from "node:fs";
import { expect, test } from "vitest";
import { copyJob, remoteOf } from "../../../src/supervisor/runtime/copies.ts";
import { checkEnvironment } from "../../../src/supervisor/runtime/config/environment.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const withStore = (store: string, target = "{ kind: files, paths: [x] }"): string =>
  [
    "version: 1",
    "bots: { a: { command: [sh] } }",
    "backups:",
    "  stores:",
    "    local: { kind: directory, path: store }",
    `    away: ${store}`,
    `  targets: { it: ${target} }`,
    "",
  ].join("\n");
const GOOD =
  '{ kind: s3, endpoint: "https://s3.example", bucket: vault, accessKeyIdFile: id, secretAccessKeyEnv: KEY }';

test.each([
  [
    '{ kind: s3, endpoint: "https://s3.example", bucket: vault, accessKeyIdFile: id, accessKeyIdEnv: ID, secretAccessKeyFile: s }',
    "bot.yaml:6: backups.stores.away.accessKeyIdEnv: stands beside accessKeyIdFile; keep one of the two",
  ],
  [
    '{ kind: s3, endpoint: "https://s3.example", bucket: vault, accessKeyIdFile: id }',
    "bot.yaml:6: backups.stores.away: cannot be used without the secret access key; add secretAccessKeyFile: FILE or secretAccessKeyEnv: NAME",
  ],
  [
    '{ kind: s3, endpoint: "s3.example", bucket: vault, accessKeyIdFile: id, secretAccessKeyFile: s }',
    'bot.yaml:6: backups.stores.away.endpoint: "s3.example" is not an address; write it as https://HOST or http://HOST:PORT',
  ],
  [
    '{ kind: s3, endpoint: "https://s3.example", bucket: Vault, accessKeyIdFile: id, secretAccessKeyFile: s }',
    'bot.yaml:6: backups.stores.away.bucket: "Vault" is not the name of a bucket; it has 3 to 63 of a-z, 0-9, dot and dash',
  ],
  [
    '{ kind: s3, endpoint: "https://s3.example", bucket: vault, prefix: /a, accessKeyIdFile: id, secretAccessKeyFile: s }',
    'bot.yaml:6: backups.stores.away.prefix: "/a": begins or ends with a slash; leave that out',
  ],
])("%s is refused", (store, message) => {
  expect(folder.mistakes(withStore(store))).toEqual([message]);
});

test("a target that goes to a bucket only is refused", () => {
  expect(folder.mistakes(withStore(GOOD, "{ kind: files, paths: [x], stores: [away] }"))).toEqual([
    "bot.yaml:7: backups.targets.it: goes to buckets only: a backup is made and proven in a directory first; add a store of kind directory",
  ]);
});

test("the keys come from their file and variable, and what is missing is named without its value", () => {
  folder.write("id", "AKID\n");
  const loaded = folder.load(withStore(GOOD), { KEY: "secret" });
  expect(remoteOf(loaded, "away")).toMatchObject({ accessKeyId: "AKID", secretAccessKey: "secret", timeoutMs: 30_000 });
  expect(() => remoteOf(folder.load(withStore(GOOD)), "away")).toThrow(
    "cannot use the store away: the environment variable KEY is not there",
  );
  expect(copyJob(loaded, { target: "it", store: "away" })).toMatchObject({
    newest: null,
    folder: `${folder.dir}/store`,
  });
});

test("a private key or a password that backups need and that is not there is a warning of config check", () => {
  const text = withStore(GOOD, '{ kind: redis, url: "redis://h", passwordFile: word }').replace(
    "backups:",
    "backups:\n  encryption: { recipients: [age1cy0su9fwf3gf9mw868g5yut09p6nytfmmnktexz2ya5uqg9vl9sss4euqm], identityFile: own }",
  );
  folder.write("id", "AKID\n");
  expect(checkEnvironment(folder.load(text, { KEY: "secret" }))).toEqual([
    expect.stringMatching(/encryption\.identityFile: cannot read .*own: there is no such file/),
    expect.stringMatching(/targets\.it\.passwordFile: cannot read .*word: there is no such file/),
  ]);
});

test("a key that is not there is a warning of config check: what lies here is worth having", () => {
  chmodSync(folder.write("id", "AKID\n"), 0o644);
  const warnings = checkEnvironment(folder.load(withStore(GOOD)));
  expect(warnings).toEqual([
    expect.stringMatching(/stores\.away\.accessKeyIdFile: .*is open to others/),
    expect.stringMatching(/stores\.away\.secretAccessKeyEnv: the environment variable KEY is not set/),
  ]);
});
