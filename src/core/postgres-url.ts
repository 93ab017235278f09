/** Where a PostgreSQL database is, as the config names it: a connection URI of libpq without a password. */

/** Its parts; what is `undefined` is libpq's own default. */
export interface PostgresPlace {
  readonly user: string | undefined;
  /** Name or address of the server, or the folder of its socket. */
  readonly host: string | undefined;
  readonly port: number | undefined;
  readonly database: string;
  readonly sslmode: string | undefined;
  readonly sslrootcert: string | undefined;
}

const SHAPE =
  /^postgres(?:ql)?:\/\/(?:([^:@/?\s]+)@)?(\[[0-9a-fA-F:.]+\]|[^:@/?\s[\]]*)(?::(\d{1,5}))?\/([^/?\s]+)(?:\?(\S+))?$/;
const PARAMETERS: readonly string[] = ["host", "port", "user", "sslmode", "sslrootcert"];
/** https://www.postgresql.org/docs/15/libpq-ssl.html */
const SSL_MODES: readonly string[] = ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"];

/** `undefined` when it is no such address. */
export function parsePostgresUrl(url: string): PostgresPlace | undefined {
  const [, user, host = "", port, database, query = ""] = SHAPE.exec(url) ?? [];
  const parameters = database === undefined ? undefined : parametersOf(query);
  if (database === undefined || parameters === undefined) return undefined;
  try {
    const portText = port ?? parameters.get("port");
    const place = {
      user: user === undefined ? parameters.get("user") : decodeURIComponent(user),
      host: parameters.get("host") ?? (host === "" ? undefined : decodeURIComponent(host).replace(/^\[|\]$/g, "")),
      port: portText === undefined ? undefined : Number(portText),
      database: decodeURIComponent(database),
      sslmode: parameters.get("sslmode"),
      sslrootcert: parameters.get("sslrootcert"),
    };
    return isPlace(place) ? place : undefined;
  } catch {
    // A per cent sign that begins no character.
    return undefined;
  }
}

function isPlace({ port, database, sslmode, user = "", host = "" }: PostgresPlace): boolean {
  const plain = [database, user, host].every((text) => !/\p{Cc}/u.test(text));
  const portFits = port === undefined || (Number.isInteger(port) && port >= 1 && port <= 65_535);
  return plain && portFits && (sslmode === undefined || SSL_MODES.includes(sslmode));
}

function parametersOf(query: string): ReadonlyMap<string, string> | undefined {
  const found = new Map<string, string>();
  for (const pair of query === "" ? [] : query.split("&")) {
    const [, name = "", value = ""] = /^([a-z]+)=(.+)$/.exec(pair) ?? [];
    if (!PARAMETERS.includes(name)) return undefined;
    found.set(name, decodedOr(value));
  }
  return found;
}

function decodedOr(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** What is wrong with the address, with the fix; `undefined` when nothing is. Never quotes what may be a password. */
export function postgresUrlError(url: string): string | undefined {
  if (parsePostgresUrl(url) !== undefined) return undefined;
  if (/^postgres(ql)?:\/\/[^/]*:[^/]*@/.test(url) || /[?&]password=/.test(url))
    return "holds a password; write it into a file and name that in passwordFile";
  return "is not the address of a PostgreSQL database; write postgres://USER@HOST:PORT/DATABASE, or postgres://USER@/DATABASE?host=/var/run/postgresql";
}

/** The address of the variables that older installations set; `undefined` when none of them names a database. */
export function postgresUrlFrom(env: Readonly<Record<string, string | undefined>>): string | undefined {
  const of = (name: string): string => encodeURIComponent(env[`POSTGRES_${name}`] ?? "");
  const [host, port, database, user] = [of("HOST"), of("PORT"), of("DB"), of("USER")];
  if (database === "") return undefined;
  const query = host.startsWith("%2F") ? `?host=${decodeURIComponent(host)}` : "";
  const place = query === "" ? host || "localhost" : "";
  return `postgres://${user === "" ? "" : `${user}@`}${place}${port === "" ? "" : `:${port}`}/${database}${query}`;
}
