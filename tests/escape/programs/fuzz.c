/* fuzz SEED SECONDS: random system calls with random and interesting arguments, in worker processes. It avoids nothing but
 * its own exit. Prints "calls N" ten times a second; what else it prints, its workers wrote.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WORKERS = 4, ROUND = 100 /* milliseconds that a worker lives */ };

static volatile uint64_t *calls;
static uint64_t state;

/* xorshift64*, Vigna 2016: any state but 0. */
static uint64_t next(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1DULL;
}

static char memory[65536] __attribute__((aligned(4096)));

static long argument(void) {
    static const char *const paths[] = {"/", ".", "/proc/self/mem", "/tmp/fuzz", "/dev/null", "/proc/1/root", "fuzz", "/usr"};
    switch (next() % 12) {
    case 0: return 0;
    case 1: return (long)(next() % 16);              /* a descriptor, a command, a flag */
    case 2: return (long)(1UL << (next() % 64));     /* one flag */
    case 3: return (long)(memory + next() % sizeof memory);
    case 4: return (long)memory;
    case 5: return (long)paths[next() % 8];
    case 6: return -1;
    case 7: return (long)getpid();
    case 8: return (long)(getppid() + (long)(next() % 5) - 2);
    case 9: return -(long)(next() % 4096);
    case 10: return (long)(4096UL << (next() % 20));
    default: return (long)next();
    }
}

static long number(void) {
    uint64_t kind = next() % 64;
    if (kind == 0) return (long)(0x40000000 | next() % 600); /* x32: ends the worker under a filter */
    if (kind == 1) return (long)(next() % 4096);
    return (long)(next() % 470);
}

static void wake(int signal) { (void)signal; }

static void work(uint64_t seed) {
    struct itimerval often = {{0, 5000}, {0, 5000}};
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = wake; /* no SA_RESTART: a call that waits ends */
    sigaction(SIGALRM, &action, NULL);
    setitimer(ITIMER_REAL, &often, NULL);
    state = seed | 1;
    for (size_t i = 0; i < sizeof memory; i++) memory[i] = (char)next();
    for (;;) {
        long n = number();
        if (n == SYS_exit || n == SYS_exit_group) continue;
        ++*calls;
        syscall(n, argument(), argument(), argument(), argument(), argument(), argument());
    }
}

static long now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
    if (argc < 3) return 2;
    uint64_t seed = strtoull(argv[1], NULL, 0) * 2654435761u + 1;
    long end = now() + (long)(strtod(argv[2], NULL) * 1000);
    calls = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    state = seed;
    do {
        pid_t workers[WORKERS];
        for (int i = 0; i < WORKERS; i++) {
            uint64_t own = next();
            workers[i] = fork();
            if (workers[i] == 0) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                work(own);
            }
        }
        struct timespec round = {0, ROUND * 1000000L};
        nanosleep(&round, NULL);
        printf("\ncalls %llu\n", (unsigned long long)*calls);
        fflush(stdout);
        for (int i = 0; i < WORKERS; i++)
            if (workers[i] > 0) kill(workers[i], SIGKILL);
        while (waitpid(-1, NULL, WNOHANG) > 0) {
        }
    } while (now() < end);
    return 0;
}
