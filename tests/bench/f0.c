/* The floor of floors: SIZE children of COMMAND, at most JOBS at once, vfork and exec and wait. f0 SIZE JOBS COMMAND */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    if (argc != 4)
        return 2;
    long waiting = atol(argv[1]), room = atol(argv[2]), alive = 0;
    int failed = 0, status;
    char *command[] = {argv[3], NULL};
    while (waiting || alive) {
        if (waiting && alive < room) {
            pid_t child = vfork();
            if (child < 0)
                return 2;
            if (!child) {
                execv(command[0], command);
                _exit(127);
            }
            waiting--, alive++;
        } else {
            if (wait(&status) < 0)
                return 2;
            failed |= status;
            alive--;
        }
    }
    return failed != 0;
}
