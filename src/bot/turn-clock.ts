/**
 * Monotonic time that is read once per turn of the event loop, as libuv's uv_now(3): a clock costs as much as the rest of
 * a breaker. What crosses the network crosses a turn, so only the length of the turn is in doubt.
 */

/** Reads that may share one look at the clock: a loop that never lets the event loop turn must see time pass, too. */
const MAX_SHARED_READS = 16;

let readMs = 0;
let readsLeft = 0;
let armed = false;

/** Time of this turn, ms; never ahead of `performance.now()`. */
export function turnMs(): number {
  if (readsLeft > 0) {
    readsLeft -= 1;
    return readMs;
  }
  readMs = performance.now();
  readsLeft = MAX_SHARED_READS;
  if (!armed) {
    armed = true;
    setImmediate(endTurn);
  }
  return readMs;
}

function endTurn(): void {
  armed = false;
  readsLeft = 0;
}
