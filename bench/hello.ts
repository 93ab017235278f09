/** Baseline of the start times: the least that a compiled Bun program does. */
console.log("hello");
