/** `http`: a URL answers with a good status and, if asked for, with a text in its body; redirects are not followed (as the kubelet's off-host rule, made simple). */
import { resolve } from "node:path";
import * as z from "zod";
import { tag } from "../core/tag.ts";
import { later } from "../core/later.ts";
import { common, defineProbe } from "./contract.ts";
import type { ProbeResult } from "../core/verdict.ts";
import { withDeadline } from "./deadline.ts";
import { unreachable } from "./network.ts";
import { excerpt } from "./text.ts";
import { isUpstream, upstreamField } from "./upstream.ts";

/** How much of a body is read, bytes: enough for a health page, and an endless body ends here. */
const MAX_BODY_BYTES = 64 * 1_024;

const schema = later(() =>
  tag(
    z
      .strictObject({
        ...common,
        kind: z.literal("http").describe("A URL answers with a good status."),
        url: z.url({ protocol: /^https?$/ }).describe("Address to ask, http or https."),
        method: z.enum(["GET", "HEAD"]).default("GET").describe("Request method."),
        headers: z
          .record(z.string().describe("Header name."), z.string().describe("Header value."))
          .optional()
          .describe("Headers to send."),
        expectStatus: z
          .array(z.int().min(100).max(599).describe("A status code."))
          .min(1)
          .optional()
          .describe("Status codes that mean success; default: 200 to 399."),
        expectBody: z.string().min(1).optional().describe("Text that the first 64 KiB of the body must contain."),
        unixSocket: z
          .string()
          .min(1)
          .optional()
          .describe(
            "Unix socket to connect to instead of the URL's host and port; a relative path starts at the folder of the config file.",
          ),
        upstream: upstreamField(),
      })
      .refine((config) => config.method === "GET" || config.expectBody === undefined, {
        path: ["expectBody"],
        error: "a HEAD answer has no body; use method: GET or leave expectBody out",
      }),
    "body of GET",
  ),
);
type HttpConfig = z.output<typeof schema>;

export const http = defineProbe({
  kind: "http",
  schema,
  create: (config, { clock, cwd }) => {
    const unix = config.unixSocket === undefined ? undefined : resolve(cwd, config.unixSocket);
    return {
      run: (signal) =>
        withDeadline({ clock, timeoutMs: config.timeout, signal, late: "failure" }, (runSignal) =>
          ask(config, unix, runSignal),
        ),
    };
  },
});

async function ask(config: HttpConfig, unix: string | undefined, signal: AbortSignal): Promise<ProbeResult> {
  const target = nameOf(config);
  try {
    const response = await fetch(config.url, {
      method: config.method,
      headers: { "accept-encoding": "identity", connection: "close", ...config.headers },
      redirect: "manual",
      keepalive: false,
      // A proxy of the environment is not for us: a broken one would look like a sick bot.
      proxy: false,
      signal,
      ...(unix === undefined ? {} : { unix }),
    });
    return judge(config, response.status, await readStart(response));
  } catch (error) {
    return unreachable(target, error, isUpstream(config));
  }
}

function judge(config: HttpConfig, status: number, body: string): ProbeResult {
  const good = config.expectStatus?.includes(status) ?? (status >= 200 && status <= 399);
  const said = excerpt(body);
  if (!good) return { kind: "failure", reason: `${nameOf(config)}: status ${status}${said === "" ? "" : `: ${said}`}` };
  if (config.expectBody !== undefined && !body.includes(config.expectBody))
    return {
      kind: "failure",
      reason: `${nameOf(config)}: body lacks "${excerpt(config.expectBody, 64)}"${said === "" ? "" : `: ${said}`}`,
    };
  return { kind: "success" };
}

/** The start of the body as text; what follows the first 64 KiB is not fetched. */
async function readStart(response: Response): Promise<string> {
  // The runtime's streams cost a daemon 4 MB for as long as it lives: a health page of known length does without.
  if (isSmall(response.headers)) return response.text();
  if (response.body === null) return "";
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  const reader = response.body.getReader();
  while (bytes < MAX_BODY_BYTES) {
    const { done, value } = await reader.read();
    if (done) break;
    const piece = value.subarray(0, MAX_BODY_BYTES - bytes);
    bytes += piece.byteLength;
    text += decoder.decode(piece, { stream: true });
  }
  // Not awaited: a server that goes on sending must not hold up the answer.
  reader.cancel().catch(() => undefined);
  return text + decoder.decode();
}

/** Whether all of the body is known to be wanted. A compressed one, or one in chunks, may be any size whatever its length says. */
function isSmall(headers: Headers): boolean {
  const length = headers.get("content-length");
  const sized = length !== null && Number(length) <= MAX_BODY_BYTES;
  return sized && !headers.has("content-encoding") && !headers.has("transfer-encoding");
}

/** The address for people: without user, password and query, which may hold secrets. */
function nameOf(config: HttpConfig): string {
  const { origin, pathname } = new URL(config.url);
  const via = config.unixSocket === undefined ? "" : ` (${config.unixSocket})`;
  return `${config.method} ${origin}${pathname}${via}`;
}
