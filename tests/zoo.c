// Animals that no script can be: built by tests/faults/hostile.py where there is a compiler. All end by themselves.
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static time_t end;  // nothing here lives longer than this

static int late(void) { return time(NULL) > end; }
static void stay(void) { while (!late()) sleep(1); _exit(0); }
static void say(const char *text) { if (write(1, text, strlen(text)) < 0) _exit(1); }

// Forks, and goes: the next one does the same. Each has a session of its own.
static void chain(long pause) {
    while (!late()) {
        pid_t child = fork();
        if (child > 0) _exit(0);
        if (child < 0) { usleep(100); continue; }
        setsid();
        if (pause) usleep(pause);
    }
    _exit(0);
}

// Two that watch each other: who finds the other gone makes it anew.
static void guard(void) {
    while (!late()) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            while (!late() && getppid() != 1) {
                pid_t before = getppid();
                usleep(500);
                if (getppid() != before) break;  // orphaned: be the guard, and make another
            }
            continue;
        }
        if (child > 0) waitpid(child, NULL, 0); else usleep(1000);
    }
    _exit(0);
}

int main(int argc, char **argv) {  // zoo TOKEN KIND [NUMBER [MICROSECONDS]]
    const char *kind = argc > 2 ? argv[2] : "";
    long number = argc > 3 ? atol(argv[3]) : 1, pause = argc > 4 ? atol(argv[4]) : 0;
    end = time(NULL) + 60;
    signal(SIGTERM, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    if (!strcmp(kind, "chains")) {
        for (long i = 0; i < number; i++) if (!fork()) chain(pause);
        say("ready\n");
        if (argc > 5) stay();
    } else if (!strcmp(kind, "bomb")) {  // as many as it may, at most NUMBER
        for (long i = 0; i < number; i++) {
            pid_t child = fork();
            if (child == 0) { setsid(); chain(20000); }
            if (child < 0) { say("full\n"); usleep(1000); }
        }
        say("ready\n");
        stay();
    } else if (!strcmp(kind, "guards")) {
        for (long i = 0; i < number; i++) if (!fork()) guard();
        say("ready\n");
        stay();
    } else if (!strcmp(kind, "vfork")) {  // its parent is asleep in the kernel
        if (vfork() == 0) { sleep(60); _exit(0); }
    } else if (!strcmp(kind, "sibling")) {  // a child of its parent's parent
        if (syscall(SYS_clone, CLONE_PARENT | SIGCHLD, 0, 0, 0, 0) == 0) { setsid(); stay(); }
    } else if (!strcmp(kind, "traced")) {  // held fast by one that traces it
        pid_t child = fork();
        if (child == 0) { ptrace(PTRACE_TRACEME, 0, 0, 0); raise(SIGSTOP); stay(); }
        waitpid(child, NULL, 0);
        stay();
    } else if (!strcmp(kind, "stopped")) {
        setsid();
        raise(SIGSTOP);
        stay();
    } else if (!strcmp(kind, "subreaper")) {
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
        signal(SIGCHLD, SIG_IGN);  // what it reaps it reaps at once, or all pids would be gone soon
        for (int i = 0; i < 3; i++) if (!fork()) chain(2000);
        stay();
    }
    return 0;
}
