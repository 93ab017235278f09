/** What a record of backups or of drills and a line of a worker must be, printed from their schemas by scripts/generate.ts; backup-lines.ts reads them. */
import type { Shape } from "./config/plain.ts";

export const RECORD_TABLE: Shape = {
  is: "map",
  keys: {
    version: { is: "one", of: [1] },
    target: { is: "text" },
    store: { is: "text" },
    lastAttemptAt: { is: "text", rules: ["time"] },
    lastSuccess: {
      is: "map",
      keys: {
        at: { is: "text", rules: ["time"] },
        id: { is: "text" },
        snapshotAt: { is: "text", rules: ["time"] },
        unchangedAt: { is: "text", rules: ["time"], optional: true },
        durationMs: { is: "number", whole: true, min: 0 },
        rawBytes: { is: "number", whole: true, min: 0 },
        storedBytes: { is: "number", whole: true, min: 0 },
        level: { is: "one", of: ["L0", "L1", "L2", "L3"] },
      },
      nullable: true,
    },
    lastError: {
      is: "map",
      keys: {
        stage: {
          is: "one",
          of: ["lock", "source", "space", "store", "verify", "publish", "prune", "bots", "swap", "remote"],
        },
        reason: { is: "text" },
      },
      nullable: true,
    },
    failuresInRow: { is: "number", whole: true, min: 0 },
    failures: {
      is: "map",
      keys: {
        lock: { is: "number", whole: true, min: 0, optional: true },
        source: { is: "number", whole: true, min: 0, optional: true },
        space: { is: "number", whole: true, min: 0, optional: true },
        store: { is: "number", whole: true, min: 0, optional: true },
        verify: { is: "number", whole: true, min: 0, optional: true },
        publish: { is: "number", whole: true, min: 0, optional: true },
        prune: { is: "number", whole: true, min: 0, optional: true },
        bots: { is: "number", whole: true, min: 0, optional: true },
        swap: { is: "number", whole: true, min: 0, optional: true },
        remote: { is: "number", whole: true, min: 0, optional: true },
      },
    },
    copies: {
      is: "map",
      keys: {
        upTo: { is: "text", nullable: true },
        unchangedAt: { is: "text", rules: ["time"], optional: true },
        pendingBytes: { is: "number", whole: true, min: 0 },
        backups: { is: "number", whole: true, min: 0 },
        storedBytes: { is: "number", whole: true, min: 0 },
      },
      optional: true,
    },
    full: {
      is: "map",
      keys: {
        lastAttemptAt: { is: "text", rules: ["time"] },
        lastSuccessAt: { is: "text", rules: ["time"], nullable: true },
        failuresInRow: { is: "number", whole: true, min: 0 },
      },
      optional: true,
    },
    proofs: {
      is: "map",
      keys: {
        L0: {
          is: "map",
          keys: {
            at: { is: "text", rules: ["time"] },
            id: { is: "text" },
            ok: { is: "flag" },
            detail: { is: "text", nullable: true },
          },
          optional: true,
        },
        L1: {
          is: "map",
          keys: {
            at: { is: "text", rules: ["time"] },
            id: { is: "text" },
            ok: { is: "flag" },
            detail: { is: "text", nullable: true },
          },
          optional: true,
        },
        L2: {
          is: "map",
          keys: {
            at: { is: "text", rules: ["time"] },
            id: { is: "text" },
            ok: { is: "flag" },
            detail: { is: "text", nullable: true },
          },
          optional: true,
        },
        L3: {
          is: "map",
          keys: {
            at: { is: "text", rules: ["time"] },
            id: { is: "text" },
            ok: { is: "flag" },
            detail: { is: "text", nullable: true },
          },
          optional: true,
        },
      },
      optional: true,
    },
    stood: {
      is: "map",
      keys: {
        L0: { is: "text", rules: ["time"], optional: true },
        L1: { is: "text", rules: ["time"], optional: true },
        L2: { is: "text", rules: ["time"], optional: true },
        L3: { is: "text", rules: ["time"], optional: true },
      },
      optional: true,
    },
    sizes: {
      is: "map",
      keys: {
        full: {
          is: "map",
          keys: {
            id: { is: "text" },
            rawBytes: { is: "number", whole: true, min: 0 },
            storedBytes: { is: "number", whole: true, min: 0 },
            compress: { is: "one", of: ["zstd", "gzip", "none"] },
            shrunk: {
              is: "map",
              keys: { fromBytes: { is: "number", whole: true }, toBytes: { is: "number", whole: true } },
              nullable: true,
            },
          },
          optional: true,
        },
        base: {
          is: "map",
          keys: {
            id: { is: "text" },
            rawBytes: { is: "number", whole: true, min: 0 },
            storedBytes: { is: "number", whole: true, min: 0 },
            compress: { is: "one", of: ["zstd", "gzip", "none"] },
            shrunk: {
              is: "map",
              keys: { fromBytes: { is: "number", whole: true }, toBytes: { is: "number", whole: true } },
              nullable: true,
            },
          },
          optional: true,
        },
      },
      optional: true,
    },
    stock: {
      is: "map",
      keys: {
        tiers: {
          is: "map",
          keys: {
            hourly: { is: "number", whole: true, min: 0 },
            daily: { is: "number", whole: true, min: 0 },
            weekly: { is: "number", whole: true, min: 0 },
            monthly: { is: "number", whole: true, min: 0 },
            other: { is: "number", whole: true, min: 0 },
          },
        },
        storedBytes: { is: "number", whole: true, min: 0 },
        walBytes: { is: "number", whole: true, min: 0, optional: true },
        oldestAt: { is: "text", rules: ["time"], nullable: true },
        newestAt: { is: "text", rules: ["time"], nullable: true },
        disk: {
          is: "map",
          keys: { freeBytes: { is: "number", min: 0 }, reserveBytes: { is: "number", min: 0 } },
          optional: true,
        },
      },
      optional: true,
    },
    damaged: { is: "list", item: { is: "map", keys: { id: { is: "text" }, reason: { is: "text" } } }, optional: true },
  },
};

export const DRILL_TABLE: Shape = {
  is: "map",
  keys: {
    version: { is: "one", of: [1] },
    since: { is: "text", rules: ["time"] },
    last: {
      is: "map",
      keys: {
        id: { is: "text" },
        at: { is: "text", rules: ["time"] },
        ok: { is: "flag" },
        done: { is: "flag" },
        rtoSeconds: { is: "number", min: 0 },
        rpoSeconds: { is: "number", min: 0, nullable: true },
        rtoMet: { is: "flag" },
        rpoMet: { is: "flag" },
        error: { is: "text", nullable: true },
      },
      nullable: true,
    },
    lastSuccessAt: { is: "text", rules: ["time"], nullable: true },
    failuresInRow: { is: "number", whole: true, min: 0 },
  },
};

export const LINE_TABLE: Shape = {
  is: "kinds",
  keys: {
    progress: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["progress"] },
        step: { is: "text" },
        doneBytes: { is: "number" },
        totalBytes: { is: "number" },
      },
    },
    stored: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["stored"] },
        id: { is: "text" },
        rawBytes: { is: "number", whole: true },
        storedBytes: { is: "number", whole: true },
        durationMs: { is: "number", whole: true },
        level: { is: "one", of: ["L0", "L1", "L2", "L3"] },
      },
    },
    unchanged: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["unchanged"] },
        id: { is: "text" },
        snapshotAt: { is: "text" },
        unchangedAt: { is: "text" },
        durationMs: { is: "number", whole: true },
        level: { is: "one", of: ["L0", "L1", "L2", "L3"] },
      },
    },
    verified: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["verified"] },
        id: { is: "text" },
        level: { is: "one", of: ["L0", "L1", "L2", "L3"] },
        ok: { is: "flag" },
        detail: { is: "text", nullable: true },
        checks: {
          is: "list",
          item: { is: "map", keys: { name: { is: "text" }, ok: { is: "flag" }, text: { is: "text" } } },
          optional: true,
        },
      },
    },
    verdict: {
      is: "map",
      keys: { kind: { is: "one", of: ["verdict"] }, id: { is: "text" }, keep: { is: "flag" }, reason: { is: "text" } },
    },
    pruned: { is: "map", keys: { kind: { is: "one", of: ["pruned"] }, ids: { is: "list", item: { is: "text" } } } },
    note: { is: "map", keys: { kind: { is: "one", of: ["note"] }, text: { is: "text" } } },
    alarm: { is: "map", keys: { kind: { is: "one", of: ["alarm"] }, text: { is: "text" } } },
    step: { is: "map", keys: { kind: { is: "one", of: ["step"] }, text: { is: "text" }, touching: { is: "flag" } } },
    restored: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["restored"] },
        id: { is: "text" },
        backup: { is: "text" },
        rawBytes: { is: "number", whole: true },
        durationMs: { is: "number", whole: true },
        aside: { is: "list", item: { is: "text" } },
        marked: { is: "list", item: { is: "text" } },
        troubles: { is: "list", item: { is: "text" } },
      },
    },
    copied: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["copied"] },
        id: { is: "text" },
        sentBytes: { is: "number", whole: true },
        durationMs: { is: "number", whole: true },
      },
    },
    found: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["found"] },
        id: { is: "text" },
        damage: { is: "text", nullable: true },
        backup: {
          is: "map",
          keys: {
            type: { is: "one", of: ["sqlite", "postgres", "redis", "files", "secrets"] },
            physical: { is: "flag", optional: true },
            base: { is: "text", nullable: true },
            snapshotAt: { is: "text" },
            unchangedAt: { is: "text", optional: true },
            createdAt: { is: "text" },
            copiedAt: { is: "text", optional: true },
            rawBytes: { is: "number", whole: true },
            storedBytes: { is: "number", whole: true },
            encrypted: { is: "flag" },
            proven: { is: "one", of: ["L0", "L1", "L2", "L3"], nullable: true },
            refuted: { is: "flag" },
            damage: { is: "text", optional: true },
            pinned: { is: "text", nullable: true },
            trigger: { is: "one", of: ["schedule", "manual", "pre-restore", "pre-upgrade"] },
            tables: { is: "record", key: { is: "text" }, item: { is: "number", whole: true }, nullable: true },
          },
          nullable: true,
        },
      },
    },
    drilled: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["drilled"] },
        report: {
          is: "map",
          keys: {
            version: { is: "one", of: [1] },
            id: { is: "text" },
            startedAt: { is: "text", rules: ["time"] },
            endedAt: { is: "text", rules: ["time"] },
            trigger: { is: "one", of: ["schedule", "manual"] },
            by: {
              is: "map",
              keys: { user: { is: "text" }, host: { is: "text" }, tool: { is: "text" }, config: { is: "text" } },
            },
            objectives: {
              is: "map",
              keys: { rtoSeconds: { is: "number", min: 0 }, rpoSeconds: { is: "number", min: 0 } },
            },
            targets: {
              is: "list",
              item: {
                is: "map",
                keys: {
                  target: { is: "text" },
                  kind: { is: "one", of: ["sqlite", "postgres", "redis", "files", "secrets"] },
                  store: { is: "text" },
                  place: { is: "text" },
                  backups: {
                    is: "list",
                    item: {
                      is: "map",
                      keys: {
                        id: { is: "text" },
                        manifestSha256: { is: "text", patterns: ["^[0-9a-f]{64}$"] },
                        storedBytes: { is: "number", whole: true },
                        parts: { is: "list", item: { is: "text", patterns: ["^[0-9a-f]{64}$"] } },
                      },
                    },
                  },
                  snapshotAt: { is: "text", rules: ["time"], nullable: true },
                  unchangedAt: { is: "text", rules: ["time"], optional: true },
                  wal: {
                    is: "map",
                    keys: {
                      wantedAt: { is: "text", rules: ["time"] },
                      reachedAt: { is: "text", rules: ["time"] },
                      lastSegment: { is: "text" },
                    },
                    optional: true,
                  },
                  physical: { is: "one", of: [true], optional: true },
                  steps: {
                    is: "list",
                    item: {
                      is: "map",
                      keys: {
                        name: { is: "one", of: ["find", "fetch", "restore", "clean"] },
                        startedAt: { is: "text", rules: ["time"] },
                        seconds: { is: "number", min: 0 },
                        ok: { is: "flag" },
                        detail: { is: "text" },
                      },
                    },
                  },
                  checks: {
                    is: "list",
                    item: { is: "map", keys: { name: { is: "text" }, ok: { is: "flag" }, text: { is: "text" } } },
                  },
                  rtoSeconds: { is: "number", min: 0, nullable: true },
                  rpoSeconds: { is: "number", min: 0, nullable: true },
                  rpoObjectiveSeconds: { is: "number", min: 0 },
                  ok: { is: "flag" },
                },
              },
            },
            rtoSeconds: { is: "number", min: 0 },
            rpoSeconds: { is: "number", min: 0, nullable: true },
            rtoMet: { is: "flag" },
            rpoMet: { is: "flag" },
            ok: { is: "flag" },
            broken: { is: "text", optional: true },
            previousSha256: { is: "text", patterns: ["^[0-9a-f]{64}$"], nullable: true },
          },
        },
      },
    },
    fetched: {
      is: "map",
      keys: { kind: { is: "one", of: ["fetched"] }, id: { is: "text" }, storedBytes: { is: "number", whole: true } },
    },
    settled: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["settled"] },
        outcome: { is: "one", of: ["discarded", "rolledBack", "finished", "busy", "failed", "server"] },
        detail: { is: "text" },
        stopped: { is: "list", item: { is: "text" } },
      },
    },
    wal: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["wal"] },
        retainedBytes: { is: "number" },
        lagBytes: { is: "number", nullable: true },
        archived: { is: "number", whole: true },
        archivedBytes: { is: "number", whole: true },
        last: { is: "text", nullable: true },
        gaps: { is: "number", whole: true },
        recoverableTo: { is: "text", nullable: true },
        paused: { is: "flag" },
      },
    },
    walCopied: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["walCopied"] },
        store: { is: "text" },
        last: { is: "text", nullable: true },
        waiting: { is: "number", whole: true },
        failure: { is: "text", nullable: true },
        gap: { is: "flag" },
      },
    },
    walGap: {
      is: "map",
      keys: { kind: { is: "one", of: ["walGap"] }, text: { is: "text" }, needsBase: { is: "flag" } },
    },
    exported: {
      is: "map",
      keys: { kind: { is: "one", of: ["exported"] }, file: { is: "text" }, rawBytes: { is: "number", whole: true } },
    },
    failed: {
      is: "map",
      keys: {
        kind: { is: "one", of: ["failed"] },
        stage: {
          is: "one",
          of: ["lock", "source", "space", "store", "verify", "publish", "prune", "bots", "swap", "remote"],
        },
        reason: { is: "text" },
      },
    },
  },
};
