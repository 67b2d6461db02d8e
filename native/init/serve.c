/* cloche-init: one setup, then programs, until the host says or hangs up.
 *
 * Theory of operation
 *
 * Three kinds of process. *cloche-init* holds the control socket and does what the host asks. Every exec has a
 * *shepherd*, forked beforehand (hire.c), which starts the *program*, is the subreaper of whatever that leaves behind, and ends when the tree
 * below it is empty. So a daemon that forks twice and calls setsid is still known to belong to its exec.
 *
 * The shepherd itself sends STARTED, REFUSED and EXITED: the socket keeps packets whole, so two writers do no harm,
 * and the host hears of an end one process switch and one exit earlier than by way of cloche-init (some 30 to 90
 * microseconds of an exec of 600). The price is that a report can come twice: a shepherd that ends in any other way
 * than by exit code 0 may or may not have reported, so cloche-init then kills what is left and reports EXITED by
 * SIGKILL. The host takes the first report of an id. A guest of the same uid can so kill or stop a shepherd (a stopped
 * one is killed), and gains nothing: it ends its own exec or another of its box, and the host is told so.
 *
 * What a guest cannot do: look into these processes (not dumpable, so no ptrace, /proc/PID/mem or pidfd_getfd), inherit
 * their descriptors (closed before the program starts), signal them when Landlock scopes signals, or kill PID 1 (the
 * kernel drops signals from inside that PID 1 does not handle, and it handles none).
 *
 * cloche-init never waits for a shepherd: orders go by a socket, whose end tells the shepherd that cloche-init is gone.
 * A shepherd that has not killed its tree within two seconds of being told so is itself killed. What falls to
 * cloche-init then, strays, it kills itself; so whatever is its direct child and no shepherd is killed on sight.
 *
 * Whatever is not understood, also half a packet, ends everything: the host is trusted, so it means that the two
 * sides are not of one version. */

#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { KILL_PATIENCE_MS = 2000, STRAY_MS = 3, RETRY_NS = 1000000, QUIET_MS = 2 };

static struct exec *find_exec(const struct server *server, uint32_t id)
{
    struct exec *exec = server->execs;

    while (exec && exec->id != id)
        exec = exec->next;
    return exec;
}

static const struct exec *find_living(const struct server *server, uint32_t id)
{
    const struct exec *exec = find_exec(server, id);

    return exec && !exec->lost ? exec : NULL;
}

static struct exec *find_shepherd(const struct server *server, pid_t pid)
{
    struct exec *exec = server->execs;

    while (exec && exec->shepherd != pid)
        exec = exec->next;
    return exec;
}

static enum clo_verdict judge_strays(const void *whose, pid_t pid)
{
    return find_shepherd(whose, pid) ? CLO_SKIP : CLO_TAKE;
}

static enum clo_verdict judge_guests(const void *whose, pid_t pid)
{
    return find_shepherd(whose, pid) ? CLO_PASS : CLO_TAKE;
}

/* Kills everything; comes back when there is no child left. As PID 1 one call reaches all at the same instant. */
static void kill_all(struct server *server)
{
    const struct timespec retry = {.tv_nsec = RETRY_NS};
    sigset_t child;

    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    clo_tree_start(&server->tree, server->box.proc, NULL, NULL);
    for (;;) {
        while (waitpid(-1, NULL, WNOHANG) > 0)
            ;
        if (waitpid(-1, NULL, WNOHANG) < 0)
            return;
        if (getpid() == 1)
            kill(-1, SIGKILL);
        else if (!clo_tree_kill(&server->tree))
            clo_kill_by_number();
        sigtimedwait(&child, NULL, &retry);
    }
}

static int fail(struct server *server, const struct clo_failure *failure)
{
    struct {
        int32_t error;
        char what[sizeof failure->what];
    } body = {.error = failure->error};

    kill_all(server);
    memcpy(body.what, failure->what, sizeof body.what);
    clo_send(server->box.control, CLO_MSG_FAILED, 0, &body, sizeof body.error + strlen(body.what), -1);
    return 1;
}

/* ---- execs ---- */

static void order(const struct exec *exec, uint32_t type, uint32_t a, uint32_t b)
{
    const struct clo_order text = {type, a, b};

    /* A full socket means a shepherd that no longer works; a broken one, that it is gone, which is seen elsewhere. */
    if (send(exec->orders, &text, sizeof text, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno == EAGAIN)
        kill(exec->shepherd, SIGKILL);
}

void clo_kill_exec(struct exec *exec, uint32_t cause)
{
    if (exec->lost)
        return; /* being killed already */
    order(exec, CLO_MSG_KILL, cause, 0);
    if (!exec->deadline)
        exec->deadline = clo_now_ms() + KILL_PATIENCE_MS;
}

static int start_exec(struct server *server, const struct clo_packet *packet)
{
    const uint32_t id = packet->head.id, passed = CLO_EXEC_STDIN | CLO_EXEC_STDOUT | CLO_EXEC_STDERR;
    struct clo_exec exec;
    enum clo_stage stage;
    int error;

    if (packet->lost)
        return clo_send_refused(server->box.control, id, EMFILE, CLO_STAGE_REQUEST);
    if (!id || find_exec(server, id) || clo_parse_exec(packet->body, packet->size, &exec))
        return -EBADMSG;
    if (packet->count != __builtin_popcount(exec.flags & passed))
        return -EBADMSG;
    if (exec.flags & (CLO_EXEC_WORKER | CLO_EXEC_BY_WORKER))
        return clo_send_refused(server->box.control, id, EOPNOTSUPP, CLO_STAGE_REQUEST);
    server->vacant = true;
    error = clo_hand_over(server, packet, &stage);
    return error ? clo_send_refused(server->box.control, id, -error, stage) : 0;
}

/* ---- orders about execs; an id that is not there has ended while the packet was on its way ---- */

static int order_signal(struct server *server, const struct clo_packet *packet)
{
    const struct exec *exec = find_living(server, packet->head.id);
    uint32_t signal, scope;

    if (clo_parse_signal(packet->body, packet->size, &signal, &scope))
        return -EBADMSG;
    if (exec)
        order(exec, CLO_MSG_SIGNAL, signal, scope);
    return 0;
}

static int order_resize(struct server *server, const struct clo_packet *packet)
{
    const struct exec *exec = find_living(server, packet->head.id);
    uint16_t rows, columns;

    if (clo_parse_window(packet->body, packet->size, &rows, &columns))
        return -EBADMSG;
    if (exec)
        order(exec, CLO_MSG_RESIZE, rows, columns);
    return 0;
}

static int order_kill(struct server *server, uint32_t id)
{
    for (struct exec *exec = server->execs; exec; exec = exec->next)
        if (exec->id && (!id || exec->id == id))
            clo_kill_exec(exec, 0);
    return 0;
}

static int pause_guests(struct server *server, uint32_t token, bool stop)
{
    int32_t error = 0;

    clo_tree_start(&server->tree, server->box.proc, judge_guests, server);
    if (stop) {
        error = -clo_tree_stop(&server->tree);
    } else {
        clo_tree_walk(&server->tree);
        clo_tree_signal(&server->tree, SIGCONT);
    }
    return clo_send(server->box.control, CLO_MSG_DONE, token, &error, sizeof error, -1);
}

/* The shepherd that waits knows the filter of before. */
static int order_watch(struct server *server, const struct clo_packet *packet)
{
    struct clo_view filter;
    int32_t error;

    if (clo_parse_watch(packet->body, packet->size, &filter))
        return -EBADMSG;
    error = -clo_change_watch(&server->box, filter);
    if (!error)
        clo_retire_idle(server);
    return clo_send(server->box.control, CLO_MSG_DONE, packet->head.id, &error, sizeof error, -1);
}

/* 0; 1 for the end; -errno for what is not understood, or a host that is gone. */
static int handle(struct server *server, struct clo_packet *packet)
{
    if (packet->head.type != CLO_MSG_EXEC && (packet->count || packet->lost))
        return -EBADMSG;
    switch (packet->head.type) {
    case CLO_MSG_EXEC:
        return start_exec(server, packet);
    case CLO_MSG_SIGNAL:
        return order_signal(server, packet);
    case CLO_MSG_RESIZE:
        return order_resize(server, packet);
    case CLO_MSG_KILL:
        return packet->size ? -EBADMSG : order_kill(server, packet->head.id);
    case CLO_MSG_PAUSE:
    case CLO_MSG_RESUME:
        return packet->size ? -EBADMSG : pause_guests(server, packet->head.id, packet->head.type == CLO_MSG_PAUSE);
    case CLO_MSG_LIMITS:
        return clo_order_limits(server, packet);
    case CLO_MSG_WATCH:
        return order_watch(server, packet);
    case CLO_MSG_QUIT:
        return packet->size ? -EBADMSG : 1;
    default:
        return -EBADMSG;
    }
}

/* ---- children ---- */

static void reap(struct server *server)
{
    struct signalfd_siginfo info[8];
    int status;
    pid_t pid;

    while (read(server->box.signals, info, sizeof info) == sizeof info)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG | WUNTRACED)) > 0) {
        struct exec *exec = find_shepherd(server, pid);
        if (!exec)
            continue;
        if (WIFSTOPPED(status)) {
            kill(pid, SIGKILL);
        } else if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
            clo_dismiss(server, exec);
        } else {
            exec->lost = true;
            exec->shepherd = -1;
            exec->deadline = 0;
            clo_distrust_idle(server);
            if (!server->strays)
                clo_tree_start(&server->tree, server->box.proc, judge_strays, server);
            server->strays = true;
        }
    }
}

/* One round against what lost shepherds left. When nothing is left their execs are reported. */
static void kill_strays(struct server *server)
{
    struct clo_exited result = {.status = SIGKILL};
    struct exec *next;

    server->tree.judge = judge_strays;
    if (clo_tree_kill(&server->tree) || server->tree.blind)
        return;
    server->strays = false;
    result.leftovers = (uint32_t)server->tree.met_alive;
    for (struct exec *exec = server->execs; exec; exec = next) {
        next = exec->next;
        if (!exec->lost)
            continue;
        result.cause = exec->starved ? CLO_CAUSE_MEMORY : 0;
        if (exec->id)
            clo_send(server->box.control, CLO_MSG_EXITED, exec->id, &result, sizeof result, -1);
        clo_dismiss(server, exec);
    }
}

/* Kills shepherds that are over time; gives how long poll may wait, in milliseconds. */
static int check_deadlines(struct server *server)
{
    int64_t next = INT64_MAX, now = 0;

    for (struct exec *exec = server->execs; exec; exec = exec->next) {
        if (!exec->deadline)
            continue;
        now = now ? now : clo_now_ms();
        if (exec->deadline <= now) {
            kill(exec->shepherd, SIGKILL);
            exec->deadline = 0;
        } else if (exec->deadline < next) {
            next = exec->deadline;
        }
    }
    if (server->strays)
        return STRAY_MS;
    return next == INT64_MAX ? -1 : (int)(next - now);
}

/* The shorter of two waits in milliseconds, of which -1 is endless. */
static int sooner(int first, int second)
{
    return first < 0 || (second >= 0 && second < first) ? second : first;
}

static int serve(struct server *server)
{
    struct pollfd polls[2] = {
        {.fd = server->box.control, .events = POLLIN},
        {.fd = server->box.signals, .events = POLLIN},
    };
    struct clo_failure failure = {0};
    struct clo_packet packet;

    for (;;) {
        int result = 0, patience = sooner(check_deadlines(server), clo_supervise(server)), events;
        if (server->vacant && (patience < 0 || patience > QUIET_MS))
            patience = QUIET_MS;
        events = poll(polls, 2, patience);
        if (events < 0 || server->tree.blind) {
            clo_fail(&failure, EMFILE, "limits: a guest has set those of cloche-init");
            return fail(server, &failure);
        }
        if (!events && server->vacant) {
            server->vacant = false;
            (void)clo_hire(server); /* if it can't be done now, it is tried when there is work */
        }
        if (polls[1].revents)
            reap(server);
        if (server->strays)
            kill_strays(server);
        if (polls[0].revents & (POLLHUP | POLLERR | POLLNVAL))
            result = 1;
        else if (polls[0].revents) {
            result = clo_receive(server->box.control, server->buffer, &packet);
            if (result > 0) {
                result = handle(server, &packet);
                clo_packet_free(&packet);
            } else if (!result) {
                result = 1;
            }
        }
        if (result == -EBADMSG) {
            clo_fail(&failure, EBADMSG, "message: type %u", packet.head.type);
            return fail(server, &failure);
        }
        if (result) {
            kill_all(server);
            return result < 0;
        }
    }
}

/* ---- start ---- */

static int own_process(struct clo_box *box, struct clo_failure *failure)
{
    umask(022);
    box->signals = clo_own_signals();
    if (box->signals < 0 || chdir("/") || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return clo_fail(failure, errno, "start: signals, folder or privileges");
    return 0;
}

/* Takes the first packet and keeps its body for good. */
static int take_setup(struct server *server, struct clo_failure *failure)
{
    struct clo_packet packet;
    char *body;
    int got = clo_receive(server->box.control, server->buffer, &packet);

    if (got == 0)
        return clo_fail(failure, EPIPE, "setup: the host has gone");
    if (got < 0 || packet.head.type != CLO_MSG_SETUP || packet.count || packet.lost)
        return clo_fail(failure, got < 0 ? -got : EBADMSG, "setup: not the first message");
    body = packet.map ? packet.map : malloc(packet.size + 1);
    if (!body)
        return clo_fail(failure, ENOMEM, "setup");
    if (!packet.map)
        memcpy(body, packet.body, packet.size);
    if (clo_parse_setup(body, packet.size, &server->box.setup))
        return clo_fail(failure, EBADMSG, "setup: malformed");
    if (clo_change_bounds(&server->box.bounds, &server->box.setup))
        return clo_fail(failure, E2BIG, "setup: over %d resource limits", CLO_RLIMITS_MAX);
    return clo_keep_watch(&server->box, failure);
}

/* From now on there may be guests. With PID 1 they all end, so it may be killed with its parent. Any other cloche-init
 * must live to kill them, the more so when it has just stopped them and the shepherds to do that: the socket tells it of
 * the host's end, and the signal only wakes it, should a guest have stopped it. */
static int outlive_host(struct clo_failure *failure)
{
    if (getpid() != 1 && prctl(PR_SET_PDEATHSIG, SIGCONT, 0, 0, 0))
        return clo_fail(failure, errno, "ready: the parent's death");
    return 0;
}

static int ready(struct server *server, struct clo_failure *failure)
{
    int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return clo_fail(failure, errno, "ready: /");
    clo_send(server->box.control, CLO_MSG_READY, 0, &(uint32_t){CLO_WIRE_VERSION}, sizeof(uint32_t), root);
    close(root);
    return 0;
}

int clo_serve(int control)
{
    static struct server server; /* large and all zero: it costs neither file nor memory until used */
    struct clo_failure failure = {0};
    struct clo_network network = {0};

    if (clo_own_descriptors(control))
        return 1;
    server.box = (struct clo_box){
        .control = CLO_CONTROL_FD, .signals = -1, .proc = -1, .null = -1, .terminals = -1, .ruleset = -1,
        .watch = clo_find_watch(), .watchable = -1};
    if (take_setup(&server, &failure) || clo_start_network(&server.box.setup, &network, &failure)
        || own_process(&server.box, &failure) || clo_setup(&server.box, &network, &failure)
        || outlive_host(&failure) || ready(&server, &failure) || clo_settle(&server.box, &failure))
        return fail(&server, &failure);
    (void)clo_hire(&server); /* while the host takes note; if it can't be done now, it is tried when there is work */
    return serve(&server);
}
