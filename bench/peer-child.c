/* The supervised program of `bun run bench peers`: its first act is one line with its pid into the FIFO argv[1].
 * Options: --ready FD (a newline there: s6's readiness), --daemon PIDFILE (for monit), --deaf (ignores SIGTERM), --exit N. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void end(int signal) {
  (void)signal;
  _exit(0);
}

int main(int argc, char **argv) {
  char line[64];
  const char *pidfile = 0;
  int ready = -1, deaf = 0, code = -1;
  for (int i = 2; i < argc; i++) {
    if (!strcmp(argv[i], "--ready") && i + 1 < argc) ready = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--daemon") && i + 1 < argc) pidfile = argv[++i];
    else if (!strcmp(argv[i], "--exit") && i + 1 < argc) code = atoi(argv[++i]);
    else if (!strcmp(argv[i], "--deaf")) deaf = 1;
  }
  if (argc < 2) return 97;
  if (pidfile) {
    pid_t pid = fork();
    if (pid) {
      int file = open(pidfile, O_WRONLY | O_CREAT | O_TRUNC, 0644), n = snprintf(line, sizeof line, "%d\n", (int)pid);
      return file < 0 || write(file, line, n) != n;
    }
    setsid();
  }
  signal(SIGTERM, deaf ? SIG_IGN : end);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  int fifo = open(argv[1], O_WRONLY | O_CLOEXEC), n = snprintf(line, sizeof line, "%d\n", (int)getpid());
  if (fifo < 0 || write(fifo, line, n) != n) return 96;
  close(fifo);
  if (code >= 0) return code;
  if (ready >= 0 && write(ready, "\n", 1) != 1) return 95;
  for (;;) pause();
}
