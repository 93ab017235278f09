/** Backups that another program keeps: what it has deleted leaves the list, and another repository empties it not. */
import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { markOrphans, ORPHANED, removeGone } from "../../../src/actions/backup/elsewhere.ts";
import type { Repository } from "../../../src/actions/backup/repository.ts";
import type { Elsewhere, Source } from "../../../src/actions/backup/source.ts";
import { Rig } from "./rig.ts";

function refuse(): never {
  throw new Error("nobody makes one");
}

/** A repository with so many backups, of which a made-up program says where they are. */
class ElsewhereRig extends Rig {
  is: readonly Elsewhere["is"][] = [];

  async fillWith(count: number): Promise<Repository> {
    this.fill(1).close();
    for (let n = 0; n < count; n += 1)
      if ((await this.backUp(this.job(this.sqlite))) !== 0) throw new Error("no backup");
    return this.repository();
  }

  get source(): Source {
    return {
      origin: "",
      measure: refuse,
      capture: refuse,
      keptElsewhere: async () =>
        this.ids.map((id, at) => ({ id, place: "/etc/pgbackrest.conf", is: this.is[at] ?? "there" })),
    };
  }

  get ids(): readonly string[] {
    return readdirSync(this.repository().folder)
      .filter((name) => name.startsWith("state-"))
      .toSorted();
  }

  get pinned(): readonly boolean[] {
    const { backups } = this.repository().list();
    return this.ids.map((id) => backups.find((each) => each.id === id)?.state.pinned === ORPHANED);
  }

  async remove(force = false): Promise<number> {
    await removeGone(this.source, this.repository(), (line) => void this.lines.push(line), force);
    return this.ids.length;
  }
}

test("removeGone() takes out what has gone from a repository that knows others", async () => {
  using rig = new ElsewhereRig();
  const repository = await rig.fillWith(3);
  rig.is = ["gone", "gone", "there"];
  expect([await markOrphans(rig.source, repository), rig.pinned]).toEqual([undefined, [false, false, false]]);
  expect(await rig.remove()).toBe(1);
});

test("markOrphans() pins all when the repository knows not one, whatever it has afterwards; --force takes them out", async () => {
  using rig = new ElsewhereRig();
  const repository = await rig.fillWith(3);
  rig.is = ["gone", "gone", "gone"];
  expect(await markOrphans(rig.source, repository)).toMatch(/knows none of the 3 backups/);
  // The one that was made meanwhile is there.
  rig.is = ["gone", "gone", "there"];
  expect(await markOrphans(rig.source, repository)).toBeUndefined();
  expect([await rig.remove(), rig.pinned]).toEqual([3, [true, true, false]]);
  expect(await rig.remove(true)).toBe(1);
});

test("markOrphans() pins what another server's repository cannot have deleted, and unpins what is there again", async () => {
  using rig = new ElsewhereRig();
  const repository = await rig.fillWith(2);
  rig.is = ["other", "there"];
  expect(await markOrphans(rig.source, repository)).toMatch(/knows none of the 1 backup/);
  expect([await rig.remove(), rig.pinned]).toEqual([2, [true, false]]);
  rig.is = ["there", "there"];
  await markOrphans(rig.source, repository);
  expect(rig.pinned).toEqual([false, false]);
});
