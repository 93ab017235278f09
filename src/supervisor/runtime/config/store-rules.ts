/** Rules for stores of backups that no single field shows: a backup is made in a directory, and a bucket needs its keys. */
import { map, word, words } from "./outline.ts";

type Report = { readonly addIssue: (issue: { code: "custom"; path: (string | number)[]; message: string }) => void };

const KEYS = [
  ["accessKeyId", "access key id"],
  ["secretAccessKey", "secret access key"],
] as const;

/** Reports at the paths of the section `backups`. */
export function checkStores(value: unknown, to: Report): void {
  const stores = map(map(value)["stores"]);
  const drillStore = word(map(map(value)["drill"])["store"]);
  const report = (path: (string | number)[], message: string): void => to.addIssue({ code: "custom", path, message });
  if (drillStore !== undefined && !Object.hasOwn(stores, drillStore))
    report(["drill", "store"], `there is no store "${drillStore}"; name one of: ${Object.keys(stores).join(", ")}`);
  for (const [name, given] of Object.entries(stores)) {
    const store = map(given);
    if (store["kind"] !== "s3") continue;
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
  for (const [name, target] of Object.entries(map(map(value)["targets"]))) {
    const named = map(target)["stores"];
    // One that is wrong elsewhere is told of there.
    const wanted = Array.isArray(named) && words(named).length === named.length ? words(named) : Object.keys(stores);
    const kinds = wanted.map((store) => map(stores[store])["kind"]);
    if (kinds.includes("s3") && !kinds.includes("directory"))
      report(
        ["targets", name],
        "goes to buckets only: a backup is made and proven in a directory first; add a store of kind directory",
      );
  }
}
