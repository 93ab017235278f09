/** Ways between a path in the config and the YAML nodes that stand there, through aliases. */
import { isAlias, isMap, isScalar, isSeq, type Document, type Node, type YAMLMap } from "yaml";
import type { Path } from "./issues.ts";

/** Keys and list positions from the root down to the last of `chain`, as `visit` hands ancestors over. */
export function pathOf(chain: readonly unknown[]): (string | number)[] {
  const path: (string | number)[] = [];
  for (const [index, node] of chain.entries()) {
    const child = chain[index + 1];
    if (child === undefined) break;
    if (isSeq(node)) path.push(node.items.indexOf(child));
    else if (isMap(node)) {
      const pair = node.items.find((item) => item === child);
      if (pair !== undefined && isScalar(pair.key)) path.push(String(pair.key.value));
    }
  }
  return path;
}

function resolved(doc: Document.Parsed, node: unknown): unknown {
  return isAlias(node) ? node.resolve(doc) : node;
}

function pairAt(map: YAMLMap, key: string | number): { key: Node | undefined; value: unknown } | undefined {
  const pair = map.items.find((item) => isScalar(item.key) && String(item.key.value) === String(key));
  return pair === undefined ? undefined : { key: isScalar(pair.key) ? pair.key : undefined, value: pair.value };
}

/** The node at `path`, behind aliases; `undefined` when the file does not hold one. */
export function nodeAt(doc: Document.Parsed, path: Path): unknown {
  let node: unknown = resolved(doc, doc.contents);
  for (const step of path) {
    if (isMap(node)) node = resolved(doc, pairAt(node, step)?.value);
    else if (isSeq(node)) node = resolved(doc, node.items[Number(step)]);
    else return undefined;
  }
  return node;
}

/** Where `path` begins in the text: a scalar where it stands, a map or list at its key. */
export function offsetOf(doc: Document.Parsed, path: Path, side: "key" | "value"): number | undefined {
  let node: unknown = resolved(doc, doc.contents);
  let offset: number | undefined;
  for (const [index, step] of path.entries()) {
    const last = index === path.length - 1;
    if (isMap(node)) {
      const pair = pairAt(node, step);
      if (pair === undefined) return offset;
      // An empty value stands nowhere, so its key is shown.
      const scalar = isScalar(pair.value) && pair.value.source !== "" ? pair.value.range?.[0] : undefined;
      offset = (last && side === "value" ? scalar : undefined) ?? pair.key?.range?.[0] ?? offset;
      node = resolved(doc, pair.value);
    } else if (isSeq(node)) {
      const item: unknown = node.items[Number(step)];
      const range = isScalar(item) || isMap(item) || isSeq(item) || isAlias(item) ? item.range : undefined;
      if (item === undefined) return offset;
      offset = range?.[0] ?? offset;
      node = resolved(doc, item);
    } else return offset;
  }
  return offset;
}

/** Whether maps and lists nest more than `limit` levels below `root`; takes no stack and stops at the limit. */
export function isDeeperThan(root: unknown, limit: number): boolean {
  let level: unknown[] = [root];
  for (let depth = 0; depth <= limit; depth += 1) {
    level = level.flatMap((node) => {
      if (isSeq(node)) return node.items;
      return isMap(node) ? node.items.flatMap(({ key, value }) => [key, value]) : [];
    });
    if (level.length === 0) return false;
  }
  return true;
}
