/** What a close looked at, in words: "flat" must not be read as the whole account when the config names symbols. */

/** Three names keep a progress line below its 200 characters; the report's `scope` has them all. */
const MAX_NAMED = 3;

/** How "flat" is said; an empty scope is the whole account. */
export function flatText(scope: readonly string[]): string {
  if (scope.length === 0) return "the account is flat";
  return `flat for the configured symbols (${namedScope(scope)}); other symbols were not looked at`;
}

function namedScope(scope: readonly string[]): string {
  const named = scope.slice(0, MAX_NAMED).join(", ");
  return scope.length <= MAX_NAMED ? named : `${named} and ${scope.length - MAX_NAMED} more`;
}
