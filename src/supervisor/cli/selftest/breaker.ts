/** The test of a selftest that tries the circuit breaker which bots import, as this binary has it, on a clock of its own. */
import { breakerConfig } from "../../../core/circuit-parts.ts";
import { Circuit, REJECTED } from "../../../core/circuit.ts";

const FAILURES = 5;
const OPEN_MS = 60_000;
const CALL_MS = 10;

/** Throws what is wrong and returns what was shown. */
export async function breaker(): Promise<string> {
  const config = breakerConfig({ failureThreshold: FAILURES, openMs: OPEN_MS, openJitter: 0, successThreshold: 1 });
  if (!("openMs" in config)) throw new Error(config.join("; "));
  const circuit = new Circuit(config);
  for (let failed = 0; failed < FAILURES; failed += 1) {
    if (circuit.state !== "closed") throw new Error(`it is ${circuit.state} after ${failed} failures`);
    circuit.fail(circuit.enter(0), CALL_MS, 0);
  }
  if (circuit.state !== "open") throw new Error(`it is ${circuit.state} after ${FAILURES} failures`);
  if (circuit.enter(OPEN_MS - 1) !== REJECTED) throw new Error("it lets a call through while it is open");
  const probe = circuit.enter(OPEN_MS);
  if (probe === REJECTED) throw new Error("it lets no probe through once its time is over");
  if (circuit.enter(OPEN_MS) !== REJECTED) throw new Error("it lets a second probe through");
  circuit.succeed(probe, CALL_MS, OPEN_MS);
  // The state is changed by the call above, which the compiler does not see.
  const closed: string = circuit.state;
  if (closed !== "closed") throw new Error(`it is ${closed} after its probe has succeeded`);
  return `it opens after ${FAILURES} failures, lets one probe through after its time, and closes when that succeeds`;
}
