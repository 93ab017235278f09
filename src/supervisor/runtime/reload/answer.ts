/** `POST /v1/reload`: the answer of a reload, or the refusal with every mistake of the file on a line of its own. */
import type { ReloadAnswer } from "../../../core/reload.ts";
import { json, readBody, refuse, reloadBody } from "../api.ts";
import { ReloadRefusal } from "./reloader.ts";

const STATUS = { config: 422, refused: 422, inProgress: 409, stopping: 503 } as const satisfies Record<
  ReloadRefusal["code"],
  number
>;

export async function reloadAnswer(
  reload: (options: { readonly dryRun: boolean }) => Promise<ReloadAnswer>,
  request: Request,
): Promise<Response> {
  const body = await readBody(request, reloadBody);
  if ("refusal" in body) return body.refusal;
  try {
    return json(await reload(body.value));
  } catch (error) {
    if (!(error instanceof ReloadRefusal)) throw error;
    const [message = "", ...details] = error.message.split("\n");
    return refuse(STATUS[error.code], {
      code: error.code,
      message,
      ...(details.length === 0 ? {} : { details }),
      ...(error.hint === undefined ? {} : { hint: error.hint }),
    });
  }
}
