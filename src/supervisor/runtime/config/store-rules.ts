/** Rules for stores of backups that no single field shows: a backup is made in a directory, and a bucket needs its keys. */
import * as z from "zod";

type Report = { readonly addIssue: (issue: { code: "custom"; path: (string | number)[]; message: string }) => void };

const outline = z
  .looseObject({
    stores: z.record(z.string(), z.looseObject({ kind: z.string().catch("") }).catch({ kind: "" })).catch({}),
    drill: z.looseObject({ store: z.string().optional().catch(undefined) }).catch({}),
    targets: z
      .record(z.string(), z.looseObject({ stores: z.array(z.string()).optional().catch(undefined) }).catch({}))
      .catch({}),
  })
  .catch({ stores: {}, drill: {}, targets: {} });

const KEYS = [
  ["accessKeyId", "access key id"],
  ["secretAccessKey", "secret access key"],
] as const;

/** Reports at the paths of the section `backups`. */
export function checkStores(value: unknown, to: Report): void {
  const { stores, drill, targets } = outline.parse(value);
  const report = (path: (string | number)[], message: string): void => to.addIssue({ code: "custom", path, message });
  if (drill.store !== undefined && stores[drill.store] === undefined)
    report(["drill", "store"], `there is no store "${drill.store}"; name one of: ${Object.keys(stores).join(", ")}`);
  for (const [name, store] of Object.entries(stores)) {
    if (store.kind !== "s3") continue;
    if (store["caFile"] !== undefined && !String(store["endpoint"]).startsWith("https:"))
      report(
        ["stores", name, "caFile"],
        "is of use with an endpoint of https only; correct the endpoint, or remove it",
      );
    for (const [key, what] of KEYS) {
      const [file, env] = [store[`${key}File`] !== undefined, store[`${key}Env`] !== undefined];
      if (file && env) report(["stores", name, `${key}Env`], `stands beside ${key}File; keep one of the two`);
      if (!file && !env)
        report(["stores", name], `cannot be used without the ${what}; add ${key}File: FILE or ${key}Env: NAME`);
    }
  }
  for (const [name, { stores: wanted = Object.keys(stores) }] of Object.entries(targets)) {
    const kinds = wanted.map((store) => stores[store]?.kind);
    if (kinds.includes("s3") && !kinds.includes("directory"))
      report(
        ["targets", name],
        "goes to buckets only: a backup is made and proven in a directory first; add a store of kind directory",
      );
  }
}
