/** Prometheus' own checker, where it is installed (Debian package prometheus); tests that need it say that they are skipped. */
export const promtool: string | undefined = Bun.which("promtool") ?? undefined;
