/* The supervised program of `bun run bench peers`: its first act is one line with its pid into the FIFO argv[1].
 * Options: --ready FD (a newline there: s6's readiness), --daemon PIDFILE (for monit), --deaf (answers SIGTERM by that
 * line once more, and goes on), --exit N. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *births;
static char line[64];
static int length;

static void tell(int signal) {
  (void)signal;
  int fifo = open(births, O_WRONLY | O_CLOEXEC);
  if (fifo < 0 || write(fifo, line, length) != length) _exit(96);
  close(fifo);
}

static void end(int signal) {
  (void)signal;
  _exit(0);
}

int main(int argc, char **argv) {
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
      int file = open(pidfile, O_WRONLY | O_CREAT | O_TRUNC, 0644);
      length = snprintf(line, sizeof line, "%d\n", (int)pid);
      return file < 0 || write(file, line, length) != length;
    }
    setsid();
  }
  births = argv[1];
  length = snprintf(line, sizeof line, "%d\n", (int)getpid());
  signal(SIGTERM, deaf ? tell : end);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, 0);
  tell(0);
  if (code >= 0) return code;
  if (ready >= 0 && write(ready, "\n", 1) != 1) return 95;
  for (;;) pause();
}
