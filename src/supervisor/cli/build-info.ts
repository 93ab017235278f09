/** What this binary is; the build may replace both values. */
import packageJson from "../../../package.json" with { type: "json" };

declare const BUILD_COMMIT: string | undefined;
declare const BUILD_VERSION: string | undefined;

export const VERSION: string = typeof BUILD_VERSION === "undefined" ? packageJson.version : BUILD_VERSION;

/** Commit that the binary was built from; "source" when it runs unbuilt. */
export const COMMIT: string = typeof BUILD_COMMIT === "undefined" ? "source" : BUILD_COMMIT;
