/** `${NAME}` and `${NAME:-default}` in a scalar, as in a shell; `$${` is a literal `${`. Nothing nests. */

/** Variables by name; `process.env` fits. */
export type Environment = Readonly<Record<string, string | undefined>>;

export type Substitution =
  /** `changed` tells whether the text held anything to replace. */
  | { readonly kind: "done"; readonly text: string; readonly changed: boolean }
  | { readonly kind: "failed"; readonly message: string };

const REFERENCE = /\$\$\{|\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-((?:(?!\$\{)[^}])*))?\}|\$\{/g;

/**
 * `text` with every reference replaced. A default applies when the variable is unset or empty; a variable that is set
 * but empty counts as set when there is no default. The first missing name or malformed reference fails the whole text.
 */
export function substitute(text: string, env: Environment): Substitution {
  if (!text.includes("${")) return { kind: "done", text, changed: false };
  let failure: string | undefined;
  const replaced = text.replace(REFERENCE, (match, name?: string, fallback?: string) => {
    if (match === "$${") return "${";
    if (name === undefined) {
      failure ??= '"${" does not begin a reference; write ${NAME} or ${NAME:-default}, or $${ for a literal ${';
      return match;
    }
    const value = env[name];
    if (fallback !== undefined) return value === undefined || value === "" ? fallback : value;
    if (value === undefined)
      failure ??= `the environment variable ${name} is not set; set it, or write \${${name}:-default}`;
    return value ?? match;
  });
  return failure === undefined ? { kind: "done", text: replaced, changed: true } : { kind: "failed", message: failure };
}
