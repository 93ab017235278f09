/** The stack that a program wrote of itself, without the threads that are its runtime's own: what is left is what the bot did. */

/** Packages of the JDK itself; a thread with nothing else waits in a pool, or is the virtual machine's own. */
const JDK_FRAME = /^\s+at (?:java|javax|jdk|sun|com\.sun)\./;
/** Functions of Go's runtime, and the lines with file and position below each. */
const GO_RUNTIME = /^(?:runtime\.|created by runtime\.|\t|goroutine \d+ )/;

/** Lines of the text; all of them where nothing would be left, or where the program is neither Go nor Java. */
export function stackOfBot(text: string): readonly string[] {
  const parts = text.split(/\n\s*\n/);
  const telling = text.includes("Full thread dump ") ? parts.filter(isJavaThread) : parts.filter(isGoroutine);
  return (telling.length === 0 ? parts : telling).flatMap((part) => part.split("\n").filter(Boolean));
}

/** A thread with a frame of the bot's own, or a deadlock that the virtual machine found. */
function isJavaThread(part: string): boolean {
  const frames = part.split("\n").filter((line) => /^\s+at /.test(line));
  return part.trimStart().startsWith("Found ") || frames.some((line) => !JDK_FRAME.test(line));
}

function isGoroutine(part: string): boolean {
  return part.startsWith("goroutine ") && part.split("\n").some((line) => line !== "" && !GO_RUNTIME.test(line));
}

/** What the bot had said before it was asked for its stack: the answer goes to the same place. */
export function wordsBefore(stack: string, output: string): string {
  const at = stack === "" ? -1 : output.lastIndexOf(stack.trimEnd());
  return at < 0 ? output : output.slice(0, at) + output.slice(at + stack.trimEnd().length);
}
