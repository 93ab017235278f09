/** What the control socket answers to `/v1/maintenance`. */
import { MAX_MAINTENANCE_MS } from "../../core/maintenance.ts";
import { formatDuration } from "../../core/duration.ts";
import { json, maintenanceBody, readBody, refuse } from "./api.ts";
import type { MaintenanceWatch } from "./maintenance.ts";

/** Begins, ends or tells; the answer has the maintenance as the status shows it. */
export async function maintenanceAnswer(watch: MaintenanceWatch, request: Request): Promise<Response> {
  if (request.method === "GET") return json({ maintenance: watch.status });
  const body = await readBody(request, maintenanceBody);
  if ("refusal" in body) return body.refusal;
  try {
    if (!body.value.on) {
      const ended = watch.end("a person ended it");
      return json({ maintenance: watch.status, ended });
    }
    const { forMs, reason } = body.value;
    if (forMs > MAX_MAINTENANCE_MS) {
      const most = formatDuration(MAX_MAINTENANCE_MS);
      const message = `cannot begin maintenance for ${formatDuration(forMs)}: the longest is ${most}`;
      return refuse(400, { code: "tooLong", message, hint: "say --for again before it ends" });
    }
    watch.begin(forMs, reason);
    return json({ maintenance: watch.status });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return refuse(500, { code: "notWritten", message: `cannot change the maintenance: ${why}` });
  }
}
