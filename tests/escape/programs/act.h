/* What every attack program shares. A program is called with the name of an act, tries it, and prints one line of JSON:
 * {"act": ..., "done": true or false, "error": "EPERM" or "", "saw": ...}. "done" says that the act had its effect, not
 * only that a call returned. Nothing here is thread-safe: each program does one act and ends.
 */
#ifndef ACT_H
#define ACT_H

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MARK = ENOANO }; /* an errno that no call here gives by itself */

struct act {
    const char *name;
    int (*run)(char **arguments); /* 1: it had its effect; 0: it had not, and errno says why */
    long number;                  /* of the system call that it is about, for --marked */
};

static char act_saw[512];

/* Adds to what the line tells. */
__attribute__((format(printf, 1, 2), unused)) static void saw(const char *format, ...) {
    size_t used = strlen(act_saw);
    va_list list;
    va_start(list, format);
    vsnprintf(act_saw + used, sizeof act_saw - used, format, list);
    va_end(list);
}

/* Gives 1 if the call succeeded (or gave a descriptor), else 0 with errno set. */
__attribute__((unused)) static int worked(long result) {
    return result >= 0;
}

/* Waits for a child; gives its exit code, or 128 + signal. */
__attribute__((unused)) static int ended(pid_t child) {
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child) return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Puts a filter on itself that answers one call with MARK. An older filter of the same strictness gives way to a newer
 * one (seccomp(2)), so this shows that the act makes the call, whatever filter there was. */
static int mark(long number) {
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | MARK),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {sizeof code / sizeof *code, code};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return -1;
    return (int)prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0);
}

/* Prints what was seen as JSON; what is not plain text becomes a dot. */
static void tell(const char *name, int done, int error) {
    const char *word = error ? strerrorname_np(error) : "";
    for (char *c = act_saw; *c; c++)
        if (*c < ' ' || *c > '~' || *c == '"' || *c == '\\') *c = '.';
    printf("{\"act\": \"%s\", \"done\": %s, \"error\": \"%s\", \"saw\": \"%s\"}\n", name, done ? "true" : "false",
           word ? word : "?", act_saw);
    fflush(stdout);
}

/* [--marked] [--hold] ACT [argument ...]; --hold stays after the line is told, with all that the act has made. */
__attribute__((unused)) static int act_main(const struct act *acts, size_t count, char **argv) {
    int marked = argv[1] && !strcmp(argv[1], "--marked");
    int hold = argv[1] && !strcmp(argv[1], "--hold");
    char **arguments = argv + 1 + marked + hold;
    setvbuf(stdout, NULL, _IOFBF, 1024);
    for (size_t i = 0; i < count; i++) {
        if (!arguments[0] || strcmp(acts[i].name, arguments[0])) continue;
        if (marked && (!acts[i].number || mark(acts[i].number))) return 3;
        errno = 0;
        int done = acts[i].run(arguments + 1);
        tell(acts[i].name, done, done ? 0 : errno);
        while (hold) pause();
        return 0;
    }
    fprintf(stderr, "no act %s\n", arguments[0] ? arguments[0] : "");
    return 2;
}

#define ACT_MAIN(acts)                                                     \
    int main(int argc, char **argv) {                                      \
        return argc < 2 ? 2 : act_main(acts, sizeof acts / sizeof *acts, argv); \
    }

#endif
