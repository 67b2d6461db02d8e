/* A shepherd: the process that starts one program, reaps its tree and tells the host how it ended. */

#include "init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { RETRY_NS = 3000000, DRAIN_SIZE = 65536 };

struct shepherd {
    const struct clo_box *box;
    const struct clo_job *job;
    struct clo_tree *tree;
    pid_t main;
    int terminal; /* its number on the box's devpts, or -1 */
    int sink;     /* what the program writes to nowhere, when the box has no /dev/null; or -1 */
    bool ended, reported, childless;
    struct clo_exited result;
};

/* Opens a terminal on the devpts that setup saw; gives the master, and the slave by the master, not by its path. */
static int open_terminal(struct shepherd *shepherd, int *slave)
{
    const struct winsize size = {.ws_row = shepherd->job->exec.rows, .ws_col = shepherd->job->exec.columns};
    int master = openat(shepherd->box->terminals, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);

    if (master < 0) /* outside a box /dev/pts/ptmx is there, but closed to all: the one to use is next to it */
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0)
        return -errno;
    if (ioctl(master, TIOCSPTLCK, &(int){0}) || ioctl(master, TIOCGPTN, &shepherd->terminal)
        || (*slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0
        || (size.ws_row && size.ws_col && ioctl(master, TIOCSWINSZ, &size))) {
        int error = -errno;
        close(master);
        return error;
    }
    return master;
}

/* Gives the three descriptors of a program that has no terminal: those passed, and nothing for the others. */
static int open_stdio(struct shepherd *shepherd, int *stdio)
{
    static const uint32_t passed[3] = {CLO_EXEC_STDIN, CLO_EXEC_STDOUT, CLO_EXEC_STDERR};
    int in[2], out[2], next = 0;

    stdio[0] = stdio[1] = stdio[2] = shepherd->box->null;
    if (shepherd->box->null < 0) {
        if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
            return -errno;
        close(in[1]);
        stdio[0] = in[0];
        stdio[1] = stdio[2] = out[1];
        shepherd->sink = out[0];
    }
    for (int i = 0; i < 3; i++)
        if (shepherd->job->exec.flags & passed[i])
            stdio[i] = shepherd->job->packet->fds[next++];
    return 0;
}

static void microseconds(const struct timeval *time, uint64_t *out)
{
    *out = (uint64_t)time->tv_sec * 1000000 + (uint64_t)time->tv_usec;
}

/* Reaps whatever has ended. */
static void reap(struct shepherd *shepherd)
{
    struct rusage usage;
    int status;
    pid_t pid;

    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        if (pid != shepherd->main || shepherd->ended)
            continue;
        shepherd->ended = true;
        shepherd->result.status = status;
        shepherd->result.peak_kib = (uint64_t)usage.ru_maxrss;
        microseconds(&usage.ru_utime, &shepherd->result.user_us);
        microseconds(&usage.ru_stime, &shepherd->result.system_us);
    }
    shepherd->childless = pid < 0;
}

static void drain_signals(const struct shepherd *shepherd)
{
    struct signalfd_siginfo info[8];

    while (read(shepherd->box->signals, info, sizeof info) == sizeof info)
        ;
}

/* Kills everything below and comes back when nothing is left. */
static void kill_tree(struct shepherd *shepherd)
{
    const struct timespec retry = {.tv_nsec = RETRY_NS};
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    clo_tree_start(shepherd->tree, shepherd->box->proc, NULL, NULL);
    shepherd->tree->uncounted = shepherd->main;
    for (reap(shepherd); !shepherd->childless; reap(shepherd)) {
        if (!clo_tree_kill(shepherd->tree)) {
            if (shepherd->tree->blind)
                _exit(1); /* cloche-init takes over: it may still see */
            clo_kill_by_number();
        }
        sigtimedwait(&child, NULL, &retry);
    }
    shepherd->result.leftovers = (uint32_t)shepherd->tree->met_alive;
}

static void send_signal(struct shepherd *shepherd, int signal, uint32_t scope)
{
    if (scope == CLO_SCOPE_MAIN && !shepherd->ended)
        kill(shepherd->main, signal);
    /* Once the leader is reaped the number of its group can be somebody else's. */
    if (scope == CLO_SCOPE_GROUP && !shepherd->ended)
        kill(-shepherd->main, signal);
    if (scope == CLO_SCOPE_TREE || (scope == CLO_SCOPE_GROUP && shepherd->ended)) {
        clo_tree_start(shepherd->tree, shepherd->box->proc, NULL, NULL);
        clo_tree_walk(shepherd->tree);
        clo_tree_signal(shepherd->tree, signal);
    }
}

/* The slave is opened anew, because a descriptor kept open would keep the terminal from hanging up. */
static void resize(const struct shepherd *shepherd, uint32_t rows, uint32_t columns)
{
    const struct winsize size = {.ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns};
    char name[16];
    int slave;

    if (shepherd->terminal < 0 || shepherd->ended)
        return;
    snprintf(name, sizeof name, "%d", shepherd->terminal);
    slave = openat(shepherd->box->terminals, name, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    if (slave < 0)
        return; /* hung up: nobody is left to see the size */
    ioctl(slave, TIOCSWINSZ, &size);
    close(slave);
}

/* Does what cloche-init orders; false when cloche-init is gone. */
static bool follow_orders(struct shepherd *shepherd)
{
    struct clo_order order;
    ssize_t got = read(shepherd->job->orders, &order, sizeof order);

    if (got != (ssize_t)sizeof order)
        return got < 0 && errno == EAGAIN;
    if (order.type == CLO_MSG_KILL) {
        if (!shepherd->reported)
            shepherd->result.cause = order.a;
        kill_tree(shepherd);
    } else if (order.type == CLO_MSG_SIGNAL)
        send_signal(shepherd, (int)order.a, order.b);
    else if (order.type == CLO_MSG_RESIZE)
        resize(shepherd, order.a, order.b);
    return true;
}

static void drain_sink(struct shepherd *shepherd)
{
    static char nowhere[DRAIN_SIZE];

    if (read(shepherd->sink, nowhere, sizeof nowhere) > 0)
        return;
    close(shepherd->sink);
    shepherd->sink = -1;
}

/* cloche-init kills what has too much memory itself, so the end may be seen before the order that says why. */
static void learn_cause(struct shepherd *shepherd)
{
    struct clo_order order;

    while (recv(shepherd->job->orders, &order, sizeof order, MSG_DONTWAIT) == (ssize_t)sizeof order)
        if (order.type == CLO_MSG_KILL && order.a)
            shepherd->result.cause = order.a;
}

/* Tends the tree until it is empty. The host hears of the end only when the leftovers are dead, and so have closed
 * their ends of the program's pipes; or at once when they may stay. */
static _Noreturn void tend(struct shepherd *shepherd)
{
    struct pollfd polls[3] = { /* all signals are blocked, so nothing interrupts */
        {.fd = shepherd->box->signals, .events = POLLIN},
        {.fd = shepherd->job->orders, .events = POLLIN},
        {.events = POLLIN},
    };

    for (;;) {
        polls[2].fd = shepherd->sink;
        if (poll(polls, 3, -1) < 0) {
            /* EINVAL: a guest has lowered this process's limit of open files. What was asked for is still done. */
            kill_tree(shepherd);
            _exit(1);
        }
        if (polls[2].revents)
            drain_sink(shepherd);
        if (polls[1].revents && !follow_orders(shepherd)) {
            kill_tree(shepherd);
            _exit(1);
        }
        if (polls[0].revents)
            drain_signals(shepherd);
        reap(shepherd);
        if (shepherd->ended && !(shepherd->job->exec.flags & CLO_EXEC_LINGER) && !shepherd->childless)
            kill_tree(shepherd);
        if (shepherd->ended && !shepherd->reported) {
            shepherd->reported = true;
            if (WIFSIGNALED(shepherd->result.status))
                learn_cause(shepherd);
            clo_send(shepherd->box->control, CLO_MSG_EXITED, shepherd->job->id, &shepherd->result,
                     sizeof shepherd->result, -1);
        }
        if (shepherd->ended && shepherd->childless)
            _exit(0);
    }
}

static _Noreturn void refuse(const struct shepherd *shepherd, int error, enum clo_stage stage)
{
    clo_send_refused(shepherd->box->control, shepherd->job->id, error, stage);
    _exit(0);
}

/* What would keep a pipe or a terminal of the guest open goes, and so does the request. */
static void let_go(const struct shepherd *shepherd, struct clo_start *start, int master)
{
    for (int i = 0; i < 3; i++)
        if (start->stdio[i] != shepherd->box->null)
            close(start->stdio[i]); /* a second time for some: EBADF, as nothing is opened meanwhile */
    if (master >= 0)
        close(master);
    clo_packet_free(shepherd->job->packet);
    free(start->argv);
    free(start->env);
}

/* Waits for work. Without any, when cloche-init is gone, there is nothing to leave behind. */
static void take_job(struct clo_job *job, struct clo_packet *packet, char *buffer)
{
    struct clo_order order;

    if (read(job->orders, &order, sizeof order) != (ssize_t)sizeof order || order.type != CLO_MSG_EXEC)
        _exit(0);
    job->id = order.a;
    job->nproc = order.b;
    if (clo_receive(job->orders, buffer, packet) <= 0)
        _exit(1);
    job->packet = packet;
}

_Noreturn void clo_shepherd(const struct clo_box *box, struct clo_tree *tree, int orders, char *buffer)
{
    struct clo_packet packet;
    struct clo_job job = {.orders = orders};
    struct shepherd shepherd = {.box = box, .job = &job, .tree = tree, .terminal = -1, .sink = -1};
    struct clo_start start = {.box = box, .job = &job};
    const struct sigaction quiet = {.sa_handler = SIG_DFL, .sa_flags = SA_NOCLDSTOP};
    int master = -1, error = prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) || sigaction(SIGCHLD, &quiet, NULL) ? errno : 0;

    take_job(&job, &packet, buffer);
    if (error)
        refuse(&shepherd, error, CLO_STAGE_FORK);
    if (packet.lost)
        refuse(&shepherd, EMFILE, CLO_STAGE_REQUEST);
    if (clo_parse_exec(packet.body, packet.size, &job.exec)) /* cloche-init has looked at it: it can't be */
        _exit(1);
    start.argv = clo_point(&job.exec.argv);
    start.env = clo_point(&job.exec.env);
    if (!start.argv || !start.env)
        refuse(&shepherd, ENOMEM, CLO_STAGE_REQUEST);
    start.terminal = job.exec.flags & CLO_EXEC_PTY;
    if (start.terminal) {
        master = open_terminal(&shepherd, &start.stdio[0]);
        if (master < 0)
            refuse(&shepherd, -master, CLO_STAGE_PTY);
        start.stdio[1] = start.stdio[2] = start.stdio[0];
    } else if ((error = open_stdio(&shepherd, start.stdio))) {
        refuse(&shepherd, -error, CLO_STAGE_STDIO);
    }
    shepherd.main = clo_start_program(&start);
    if (start.error)
        refuse(&shepherd, start.error, start.stage);
    clo_send(box->control, CLO_MSG_STARTED, job.id, &(uint32_t){(uint32_t)shepherd.main}, sizeof(uint32_t), master);
    let_go(&shepherd, &start, master);
    tend(&shepherd);
}
