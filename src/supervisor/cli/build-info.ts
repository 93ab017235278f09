/** What this binary is; the build replaces the second value. */
import packageJson from "../../../package.json" with { type: "json" };

export const VERSION: string = packageJson.version;

declare const BUILD_COMMIT: string | undefined;

/** Commit that the binary was built from; "source" when it runs unbuilt. */
export const COMMIT: string = typeof BUILD_COMMIT === "undefined" ? "source" : BUILD_COMMIT;
