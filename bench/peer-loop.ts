/** The floor of a restart on Bun: what this program does is all that is done. usage: peer-loop PROGRAM ARGUMENT... */
const program = process.argv.slice(2);

function start(): void {
  Bun.spawn(program, { stdio: ["ignore", "ignore", "ignore"], onExit: start });
}

start();
