/** What is left of a stack that a whole program wrote; the texts are those of Go 1.19 and of OpenJDK 17. */
import { expect, test } from "vitest";
import { stackOfBot, wordsBefore } from "../../src/report/stack-text.ts";

const GO = `SIGQUIT: quit
PC=0x4c6341 m=4 sigcode=0

goroutine 19 [running]:
main.reconcilePositions(...)
	/opt/bot/main.go:11
main.tradingLoop()
	/opt/bot/main.go:16 +0x1 fp=0xc0000367e0 sp=0xc0000367d8 pc=0x4c6341

goroutine 1 [sleep]:
runtime.gopark(0x1c23d04a904f?, 0xc000048ee0?, 0x40?, 0xfe?, 0x4f7068?)
	/usr/lib/go-1.19/src/runtime/proc.go:363 +0xd6 fp=0xc000048ed0 sp=0xc000048eb0 pc=0x437b56
main.main()
	/opt/bot/main.go:25 +0x10a fp=0xc000048f80 sp=0xc000048f10 pc=0x4c648a

goroutine 2 [force gc (idle)]:
runtime.forcegchelper()
	/usr/lib/go-1.19/src/runtime/proc.go:302 +0xad fp=0xc00003afe0 sp=0xc00003afb0 pc=0x4379ed
created by runtime.init.6
	/usr/lib/go-1.19/src/runtime/proc.go:290 +0x25

rax    0x0
rip    0x4c6341
`;

const JAVA = `2026-01-31 12:00:00
Full thread dump OpenJDK 64-Bit Server VM (17.0.15+6-Debian-1deb12u1 mixed mode, sharing):

"main" #1 prio=5 os_prio=0 cpu=2992.31ms elapsed=3.00s tid=0x00007f5940017ea0 nid=0x7d3 runnable  [0x00007f59455fd000]
   java.lang.Thread.State: RUNNABLE
	at Bot.reconcilePositions(Bot.java:12)
	at Bot.main(Bot.java:21)

"Finalizer" #3 daemon prio=8 os_prio=0 cpu=0.21ms elapsed=2.97s tid=0x00007f59400f9760 nid=0x7db in Object.wait()  [0x00007f59118a7000]
   java.lang.Thread.State: WAITING (on object monitor)
	at java.lang.Object.wait(java.base@17.0.15/Native Method)
	at java.lang.ref.Finalizer$FinalizerThread.run(java.base@17.0.15/Finalizer.java:172)

"VM Thread" os_prio=0 cpu=1.12ms elapsed=10.14s tid=0x00007f1bb80f4bd0 nid=0x3d5c runnable

Found one Java-level deadlock:
=============================
"orders":
  waiting to lock monitor 0x00007f1b, which is held by "main"
`;

test("stackOfBot() leaves the goroutines that run code of the bot", () => {
  expect(stackOfBot(GO).filter((line) => line.startsWith("goroutine "))).toEqual([
    "goroutine 19 [running]:",
    "goroutine 1 [sleep]:",
  ]);
});

test("stackOfBot() leaves the Java threads that run code of the bot, and a deadlock that was found", () => {
  expect(stackOfBot(JAVA).filter((line) => /^\S/.test(line) && !line.startsWith("="))).toEqual([
    expect.stringContaining('"main" #1'),
    "Found one Java-level deadlock:",
    '"orders":',
  ]);
});

test("stackOfBot() leaves everything where nothing is known to be the runtime's own", () => {
  const text =
    'Fatal Python error: Aborted\n\nCurrent thread 0x1 (most recent call first):\n  File "bot.py", line 3 in loop\n';
  expect(stackOfBot(text)).toEqual(text.split("\n").filter(Boolean));
});

test.each([
  ["the end of the output", "tick 1\ntick 2\n", GO, "", "tick 1\ntick 2\n\n"],
  ["between two words", "tick 1\n", GO, "exit 2\n", "tick 1\n\nexit 2\n"],
  ["nowhere", "tick 1\n", "", "", "tick 1\n"],
] as const)("wordsBefore() takes the stack out of the output: %s", (_, before, stack, after, words) => {
  expect(wordsBefore(stack, before + stack + after)).toBe(words);
});
