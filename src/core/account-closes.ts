/**
 * What the supervisor tells a bot of the closes of its account, so that the bot knows them from a stranger's: the incidents and
 * what each took away. The supervisor writes it, whoever compares books with an account reads it.
 */

/** A position that was made smaller, as the venue counts it. */
export interface ClosedPosition {
  readonly symbol: string;
  readonly side: "long" | "short";
  /** How much of it is gone; positive. */
  readonly amount: number;
}

/** One incident, as far as it is known. Times are ms since 1970 UTC. */
export interface AccountClose {
  readonly incident: string;
  readonly trigger: string;
  readonly startedAt: number;
  readonly endedAt: number;
  readonly outcome: string;
  readonly positions: readonly ClosedPosition[];
}

/** Incidents that are kept, newest last: a bot that has not come to compare its books may miss some. */
const MAX_CLOSES = 8;
/** Positions of one incident that are kept. */
const MAX_POSITIONS = 500;

/** The text of the file with `close` in it; a further run of an incident takes the place of what was known of it. */
export function withClose(text: string | undefined, close: AccountClose): string {
  const others = readCloses(text).filter(({ incident }) => incident !== close.incident);
  const closes = [...others, { ...close, positions: close.positions.slice(0, MAX_POSITIONS) }].slice(-MAX_CLOSES);
  return `${JSON.stringify({ version: 1, closes })}\n`;
}

/** What is known; what cannot be read is not known. Never throws. */
export function readCloses(text: string | undefined): readonly AccountClose[] {
  try {
    const parsed: unknown = JSON.parse(text ?? "{}");
    const closes: unknown = isRecord(parsed) && parsed["version"] === 1 ? parsed["closes"] : [];
    return Array.isArray(closes) ? closes.filter(isClose) : [];
  } catch {
    return [];
  }
}

/** What two readings of an account, before and after a close, show to be gone; nothing where one of them is missing. */
export function goneBetween(
  before: readonly ClosedPosition[] | undefined,
  after: readonly ClosedPosition[] | undefined,
): readonly ClosedPosition[] {
  if (before === undefined || after === undefined) return [];
  return before.flatMap(({ symbol, side, amount }) => {
    const left = after.find((each) => each.symbol === symbol && each.side === side)?.amount ?? 0;
    return amount > left ? [{ symbol, side, amount: amount - left }] : [];
  });
}

/**
 * The incident that has taken `amount` of a position which was last changed at `changedAt`; `undefined` when
 * none has: it ended before that change, or took less.
 */
export function closeThatTook(
  closes: readonly AccountClose[],
  { symbol, side, amount }: ClosedPosition,
  changedAt: number,
): AccountClose | undefined {
  return closes.findLast(({ positions, endedAt }) => {
    const took = positions.find((each) => each.symbol === symbol && each.side === side)?.amount ?? 0;
    return took >= amount * (1 - 1e-9) && endedAt >= changedAt;
  });
}

function isClose(value: unknown): value is AccountClose {
  if (!isRecord(value)) return false;
  const { positions } = value;
  const texts = ["incident", "trigger", "outcome"].every((key) => typeof value[key] === "string");
  const times = ["startedAt", "endedAt"].every((key) => typeof value[key] === "number");
  return texts && times && Array.isArray(positions) && positions.every(isClosedPosition);
}

function isClosedPosition(value: unknown): value is ClosedPosition {
  if (!isRecord(value)) return false;
  const { symbol, side, amount } = value;
  return typeof symbol === "string" && (side === "long" || side === "short") && typeof amount === "number";
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
