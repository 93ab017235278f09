/** `driver: webhook`: the hook is an address; body and time are signed, so that it can tell us from everybody else. */
import { createHmac } from "node:crypto";
import { HOOK_TIMEOUT_MS, MAX_HOOK_ANSWER_BYTES } from "../../core/close-hook.ts";
import type { WebhookAccess } from "../../core/close-job.ts";
import type { VenueOptions } from "./contract.ts";
import { describeError } from "./describe-error.ts";
import type { HookPort } from "./hook-venue.ts";
import { createTransport, UnreachableError } from "./transport.ts";

/** Header with the time of the request, ms since 1970, and the one with its signature. */
const TIME_HEADER = "X-Supervisor-Timestamp";
const SIGNATURE_HEADER = "X-Supervisor-Signature";

/** Posts each request once. Redirects are refused and only 2xx is an answer. */
export function createWebhookPort(access: WebhookAccess, options: VenueOptions): HookPort {
  const { clock, signal, onCall } = options;
  const transport = createTransport({
    clock,
    endpoint: undefined,
    signal,
    onThrottled: () => undefined,
    onCall,
    timeouts: { headersMs: HOOK_TIMEOUT_MS, callMs: HOOK_TIMEOUT_MS },
    maxBodyBytes: MAX_HOOK_ANSWER_BYTES,
  });
  return async (request) => {
    const body = JSON.stringify(request);
    const time = String(clock.wallTime().getTime());
    try {
      const response = await transport.fetch(access.url, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          "Idempotency-Key": request.id,
          [TIME_HEADER]: time,
          [SIGNATURE_HEADER]: `v1=${signatureOf(access.secret, time, body)}`,
        },
        body,
      });
      if (!response.ok) return { kind: "none", why: `the hook answered with status ${response.status}` };
      return { kind: "text", text: await response.text() };
    } catch (error) {
      const unreachable = error instanceof UnreachableError ? { unreachable: error.message } : {};
      return { kind: "none", why: describeError(error, access), ...unreachable };
    }
  };
}

/** HMAC-SHA256 over the time, a dot and the body, as hex: the dot keeps digits of the one from becoming the other's. */
function signatureOf(secret: string, time: string, body: string): string {
  return createHmac("sha256", secret).update(`${time}.${body}`).digest("hex");
}
