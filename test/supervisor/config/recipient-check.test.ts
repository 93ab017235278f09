/** A private key that does not open what is stored is found when the config is checked, not when a restore needs it. */
import { generateX25519Identity, identityToRecipient } from "age-encryption";
import { expect, test } from "vitest";
import { recipientWarnings } from "../../../src/supervisor/runtime/config/recipient-check.ts";
import { scratchFolder } from "./folder.ts";

const folder = scratchFolder();
const [ours, theirs] = await Promise.all([generateX25519Identity(), generateX25519Identity()]);
const [own, other] = await Promise.all([identityToRecipient(ours), identityToRecipient(theirs)]);

/** Of a config whose backups are encrypted for the other key; `lines` say the rest of `backups`. */
const warningsWith = (encryption: string, ...lines: readonly string[]) =>
  recipientWarnings(
    folder.load(
      [
        "version: 1",
        "bots: { a: { command: [sh] } }",
        "backups:",
        "  stores: { local: { kind: directory, path: store } }",
        "  targets: { conf: { kind: files, paths: [x] } }",
        `  encryption: { recipients: [${other}]${encryption} }`,
        ...lines,
        "",
      ].join("\n"),
    ),
  );

const warningsOf = (key: string | undefined) => {
  if (key !== undefined) folder.write("own.key", key);
  return warningsWith(`, identityFile: ${key === undefined ? "absent.key" : "own.key"}`);
};

test("recipientWarnings() names both where no key is that of a recipient, and is silent where one of several is", async () => {
  const [warning] = await warningsOf(`# ours\n${ours}\n`);
  expect(warning).toContain(`its key is that of ${own}, and backups are encrypted for ${other}`);
  expect(warning).toContain("backups.encryption.identityFile");
  expect(await warningsOf(`${ours}\n${theirs}\n`)).toEqual([]);
});

test("recipientWarnings() says of a file that it holds no key, and leaves one that is empty or not there to others", async () => {
  expect(await warningsOf("AGE-SECRET-KEY-1NONSENSE\n")).toEqual([expect.stringContaining("holds no key of age")]);
  expect(await warningsOf("\n")).toEqual([]);
  expect(await warningsOf(undefined)).toEqual([]);
});

const told = (verify: string) => warningsWith("", `  verify: { ${verify} }`);

test("recipientWarnings() says which proofs must fail without a private key", async () => {
  const [both, ...more] = await told("");
  expect(both).toContain("verify.every is L1 and verify.daily is L2: each such proof fails, and the backup with it");
  expect(both).toContain("backups.encryption");
  expect(more).toEqual([]);
  expect(await told("every: L0")).toEqual([
    expect.stringContaining("and verify.daily is L2: each such proof fails; name"),
  ]);
  expect(await told("every: L0, daily: L0")).toEqual([]);
});
