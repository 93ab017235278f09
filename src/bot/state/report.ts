/** How a state was found when it was opened. */

export interface OpenReport {
  /**
   * `fresh`: there was none; `clean`: it was closed in order; `unclean`: it was not, and is whole; `recovered`: it was
   * damaged, and was made again from what could be found.
   */
  readonly kind: "fresh" | "clean" | "unclean" | "recovered";
  readonly uuid: string;
  /** Since when the account must be compared before anything is opened; `undefined` when it need not be. */
  readonly needsReconcile: string | undefined;
  /** What was wrong, for people. */
  readonly findings: readonly string[];
  /** Where the damaged files were moved. */
  readonly quarantine: string | undefined;
  /** Per place, how many rows were taken from it. */
  readonly taken: Readonly<Record<string, number>>;
}
