import { mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { systemClock, type Clock } from "../../../src/platform/clock.ts";
import { FlightRecorder } from "../../../src/supervisor/runtime/flight-recorder.ts";

/** Later than now by as much as the file system's clock may be behind. */
const settled: Clock = { ...systemClock, wallTime: () => new Date(Date.now() + 10_000), after: () => () => {} };

class Place implements Disposable {
  readonly folder = mkdtempSync(join(tmpdir(), "fr-"));
  readonly blackbox = join(this.folder, "box");
  readonly sealed = join(this.folder, "sealed");
  readonly facts: string[] = [];

  constructor() {
    mkdirSync(this.blackbox);
  }

  recorder(clock: Clock): FlightRecorder {
    const files = { blackbox: this.blackbox, sealedBlackbox: this.sealed, samples: join(this.folder, "samples") };
    return new FlightRecorder({ plan: { files }, clock, fact: (_, text) => void this.facts.push(text) });
  }

  write(name: string): void {
    writeFileSync(join(this.blackbox, name), `{"ts":1,"type":"a"}\n`);
  }

  get left(): readonly string[] {
    return readdirSync(this.blackbox);
  }

  [Symbol.dispose](): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

test("FlightRecorder.seal() finds what is recorded after a look at an empty folder, also where the times are set back", () => {
  using place = new Place();
  const recorder = place.recorder(settled);
  recorder.seal(1);
  place.write("000002-aa-events-0001.ndjson");
  utimesSync(place.blackbox, 1, 1);
  recorder.seal(2);
  expect(place.left).toEqual([]);
});

test("FlightRecorder.seal() does not believe a folder that was changed in the tick of its last look", () => {
  using place = new Place();
  const recorder = place.recorder({ ...systemClock, after: () => () => {} });
  recorder.seal(1);
  place.write("000002-aa-events-0001.ndjson");
  recorder.seal(2);
  expect(place.left).toEqual([]);
});

test("FlightRecorder.seal() leaves files that are not of a black box where they are, at every look", () => {
  using place = new Place();
  place.write("state.db");
  const recorder = place.recorder(settled);
  recorder.seal(1);
  place.write("000002-aa-events-0001.ndjson");
  recorder.seal(2);
  expect(place.left).toEqual(["state.db"]);
  expect(place.facts).toEqual([]);
});
