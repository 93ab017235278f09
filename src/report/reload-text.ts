/** The answer of a reload for people: who changes how, key by key, and what came of it. */
import { plainText } from "../core/plain-text.ts";
import type { BotReload, KeyChange, ReloadAnswer } from "../core/reload.ts";

const MEANING = {
  "in place": "in place",
  restart: "restart",
  supervisor: "needs a restart of the supervisor",
} as const satisfies Record<KeyChange["meaning"], string>;

/** Several lines, without control characters of the config's values. */
export function reloadText(answer: ReloadAnswer): string {
  const { applied, refusal, changes, bots, file } = answer;
  const lines = [...changes.map(changeLine), ...bots.flatMap(botLines)];
  if (refusal !== null) lines.push(`cannot be reloaded: ${refusal}`);
  else if (lines.length === 0) lines.push("nothing has changed");
  else lines.push(applied ? "reloaded" : "nothing was changed; to do it: supervisor reload");
  return [`${file}:`, ...lines].map(plainText).join("\n");
}

function botLines({ name, meaning, changes, state, note, error }: BotReload): readonly string[] {
  const now = state === null ? "" : `, now ${state}`;
  return [
    `${name}: ${meaning}${now}`,
    ...changes.map((change) => `  ${changeLine(change)}`),
    ...(note === null ? [] : [`  note: ${note}`]),
    ...(error === null ? [] : [`  failed: ${error}`]),
  ];
}

function changeLine({ key, before, after, meaning }: KeyChange): string {
  return `${key}: ${before ?? "(none)"} → ${after ?? "(none)"}  [${MEANING[meaning]}]`;
}
