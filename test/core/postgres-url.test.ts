/** Addresses of PostgreSQL databases in the config and in the variables of older installations. */
import { expect, test } from "vitest";
import { parsePostgresUrl, postgresUrlError, postgresUrlFrom } from "../../src/core/postgres-url.ts";

const nothing = { user: undefined, host: undefined, port: undefined, sslmode: undefined, sslrootcert: undefined };

test.each([
  ["postgres://localhost/ledger", { host: "localhost", database: "ledger" }],
  ["postgresql://bot@db.lan:5433/ledger", { user: "bot", host: "db.lan", port: 5_433, database: "ledger" }],
  ["postgres://[::1]:5432/l", { host: "::1", port: 5_432, database: "l" }],
  ["postgres://b%40t@/l%20x?host=/run/postgresql", { user: "b@t", host: "/run/postgresql", database: "l x" }],
  ["postgres:///l?host=%2Frun&port=5433&user=u", { user: "u", host: "/run", port: 5_433, database: "l" }],
  [
    "postgres://h/l?sslmode=verify-full&sslrootcert=/ca",
    { host: "h", database: "l", sslmode: "verify-full", sslrootcert: "/ca" },
  ],
])("parsePostgresUrl() reads %s", (url, place) => {
  expect(parsePostgresUrl(url)).toEqual({ ...nothing, ...place });
});

test.each([
  "postgres://localhost",
  "postgres://localhost/",
  "mysql://localhost/l",
  "postgres://h:0/l",
  "postgres://h:70000/l",
  "postgres://h/l?sslmode=maybe",
  "postgres://h/l?options=-c",
  "postgres://h/%",
  "postgres://h/a%00b",
])("postgresUrlError() refuses %s and says how it is written", (url) => {
  expect(postgresUrlError(url)).toContain("write postgres://USER@HOST:PORT/DATABASE");
});

test.each(["postgres://u:secret@h/l", "postgres://u@h/l?password=secret"])(
  "postgresUrlError() names the place of the password in %s and does not repeat it",
  (url) => {
    expect(postgresUrlError(url)).toContain("passwordFile");
    expect(postgresUrlError(url)).not.toContain("secret");
  },
);

test.each([
  [
    { POSTGRES_HOST: "db", POSTGRES_PORT: "5433", POSTGRES_USER: "u@x", POSTGRES_DB: "l" },
    "postgres://u%40x@db:5433/l",
  ],
  [{ POSTGRES_DB: "l" }, "postgres://localhost/l"],
  [{ POSTGRES_HOST: "/run/pg", POSTGRES_PORT: "5433", POSTGRES_DB: "l" }, "postgres://:5433/l?host=/run/pg"],
  [{ POSTGRES_HOST: "db" }, undefined],
])("postgresUrlFrom() makes an address of %j", (env, url) => {
  expect(postgresUrlFrom(env)).toBe(url);
  expect(postgresUrlError(url ?? "postgres:///x")).toBe(undefined);
});
