/* The floor of every restart: posix_spawn(3) and waitpid(2), without end. usage: peer-loop PROGRAM ARGUMENT... */
#include <spawn.h>
#include <sys/wait.h>
extern char **environ;

int main(int argc, char **argv) {
  (void)argc;
  for (;;) {
    pid_t pid;
    if (posix_spawn(&pid, argv[1], 0, 0, argv + 1, environ)) return 1;
    waitpid(pid, 0, 0);
  }
}
