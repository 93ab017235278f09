/** Baseline of the idle daemon: a compiled Bun program that only waits, with a timer of one second as the daemon has. */
setInterval(() => {}, 1_000);
