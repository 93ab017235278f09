/** The JSON that goes over the control socket: error shape, request bodies, and answers that are no status. */
import * as z from "zod";

/** Largest request body read from either socket, bytes. */
export const MAX_BODY_BYTES = 64 * 1024;

export const armBody = z.strictObject({
  reason: z.string().min(1).max(500),
  acceptPositions: z.boolean().default(false),
});

export const emergencyBody = z.discriminatedUnion("mode", [
  z.strictObject({ mode: z.literal("plan") }),
  z.strictObject({ mode: z.literal("close"), confirm: z.string().optional(), yes: z.boolean().default(false) }),
]);

export const heartbeatBody = z.strictObject({
  status: z.string().max(4_096).optional(),
  progress: z.union([z.string(), z.number()]).optional(),
  inFlight: z.number().int().min(0).optional(),
  exposure: z.number().optional(),
  positions: z.number().int().min(0).optional(),
});

export interface ApiError {
  readonly code: string;
  readonly message: string;
  readonly hint?: string;
}

export function json(value: unknown, status = 200): Response {
  return new Response(`${JSON.stringify(value)}\n`, { status, headers: { "content-type": "application/json" } });
}

export function refuse(status: number, error: ApiError): Response {
  return json({ error }, status);
}

/** A body of at most 64 KiB, parsed and checked; or the response that refuses it. */
export async function readBody<T>(
  request: Request,
  schema: z.ZodType<T>,
): Promise<{ value: T } | { refusal: Response }> {
  const length = Number(request.headers.get("content-length") ?? "0");
  if (length > MAX_BODY_BYTES)
    return { refusal: refuse(413, { code: "tooLarge", message: "cannot read the request: its body is over 64 KiB" }) };
  try {
    const text = await request.text();
    const parsed = schema.safeParse(text === "" ? {} : JSON.parse(text));
    if (parsed.success) return { value: parsed.data };
    const why = z.prettifyError(parsed.error).replaceAll("\n", " ");
    return { refusal: refuse(400, { code: "badRequest", message: `cannot use the request: ${why}` }) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return { refusal: refuse(400, { code: "badRequest", message: `cannot read the request: ${why}` }) };
  }
}
