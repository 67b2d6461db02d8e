/* Terminals. This guest can pass no descriptor to the host, so the master stays here, and process 1 carries what is
 * typed and what is shown between it and the socket that the host has passed. It reads nothing that it can't hand on:
 * a reader that does not read stops the writer, as a terminal does.
 *
 * This kernel does not tell a master that its last slave is closed, nor a session that its master is, that the size has
 * changed or that an interrupt was typed. So a terminal is over when its exec is, and those signals are sent by hand. */

#include "inner.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

static struct clo_terminal *find(const struct clo_inner *inner, uint32_t id)
{
    struct clo_terminal *terminal = inner->terminals;

    while (terminal && terminal->id != id)
        terminal = terminal->next;
    return terminal;
}

static void drop(struct clo_inner *inner, struct clo_terminal *gone)
{
    struct clo_terminal **at = &inner->terminals;

    while (*at != gone)
        at = &(*at)->next;
    *at = gone->next;
    close(gone->master);
    close(gone->host);
    close(gone->witness);
    free(gone);
}

/* Opens both ends of a new terminal, the slave as its user's; -errno. */
static int open_pair(const struct clo_inner *inner, const struct clo_exec *asked, int *slave)
{
    const struct winsize size = {.ws_row = asked->rows, .ws_col = asked->columns};
    const int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
    char name[32];
    int number, error;

    if (master < 0)
        return -errno;
    if (ioctl(master, TIOCSPTLCK, &(int){0}) || ioctl(master, TIOCGPTN, &number)
        || (size.ws_row && size.ws_col && ioctl(master, TIOCSWINSZ, &size)))
        goto failed;
    snprintf(name, sizeof name, "/dev/pts/%d", number);
    *slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (*slave < 0)
        goto failed;
    (void)fchown(*slave, inner->uid, inner->gid); /* this kernel may not: then it can't be opened by name */
    return master;
failed:
    error = -errno;
    close(master);
    return error;
}

int clo_terminal_open(struct clo_inner *inner, const struct clo_exec *asked, uint32_t id, int host, int *slave,
                      int witness[2])
{
    struct clo_terminal *terminal = malloc(sizeof *terminal);
    int master;

    if (!terminal)
        return -ENOMEM;
    master = fcntl(host, F_SETFL, O_NONBLOCK) ? -errno : clo_witness_files(inner, terminal, witness);
    if (!master) {
        master = open_pair(inner, asked, slave);
        if (master < 0) {
            close(terminal->witness);
            close(witness[0]);
            close(witness[1]);
        }
    }
    if (master < 0) {
        free(terminal);
        return master;
    }
    terminal->next = inner->terminals;
    terminal->id = id;
    terminal->master = master;
    terminal->host = host;
    terminal->over = terminal->hung_up = false;
    terminal->out.at = terminal->out.size = terminal->in.at = terminal->in.size = 0;
    inner->terminals = terminal;
    return 0;
}

void clo_terminal_over(const struct clo_inner *inner, uint32_t id)
{
    struct clo_terminal *terminal = find(inner, id);

    if (terminal)
        terminal->over = true;
}

void clo_terminal_drop(struct clo_inner *inner, uint32_t id)
{
    struct clo_terminal *terminal = find(inner, id);

    if (terminal)
        drop(inner, terminal);
}

/* To those in the foreground; to the program and its own group where nobody says who they are. */
static void signal_foreground(const struct clo_inner *inner, const struct clo_terminal *terminal, int signal)
{
    const struct clo_inner_exec *exec = clo_find_exec(inner, terminal->id);
    pid_t foreground;

    if (!exec || exec->ended)
        return;
    foreground = clo_foreground(terminal);
    kill(-(foreground > 1 ? foreground : exec->main), signal);
}

int clo_order_resize(const struct clo_inner *inner, const struct clo_packet *packet)
{
    const struct clo_terminal *terminal = find(inner, packet->head.id);
    struct winsize size = {0};

    if (clo_parse_window(packet->body, packet->size, &size.ws_row, &size.ws_col))
        return -EBADMSG;
    if (terminal && ioctl(terminal->master, TIOCSWINSZ, &size) == 0)
        signal_foreground(inner, terminal, SIGWINCH);
    return 0;
}

void clo_terminal_polls(const struct clo_terminal *terminal, struct pollfd *polls)
{
    polls[0] = (struct pollfd){.fd = terminal->master, .events = 0};
    polls[1] = (struct pollfd){.fd = terminal->host, .events = 0};
    polls[0].events |= terminal->out.size ? 0 : POLLIN;
    polls[0].events |= terminal->in.size ? POLLOUT : 0;
    polls[1].events |= terminal->in.size ? 0 : POLLIN;
    polls[1].events |= terminal->out.size ? POLLOUT : 0;
}

/* The bytes at the front that are text; and the signal that the byte after them stands for, or 0. */
static size_t text_before_signal(const struct clo_terminal *terminal, const char *data, size_t size, int *signal)
{
    static const int numbers[] = {VINTR, VQUIT, VSUSP}, signals[] = {SIGINT, SIGQUIT, SIGTSTP};
    struct termios how;

    *signal = 0;
    if (tcgetattr(terminal->master, &how) || !(how.c_lflag & ISIG))
        return size;
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < 3; k++)
            if ((cc_t)data[i] == how.c_cc[numbers[k]] && data[i]) {
                *signal = signals[k];
                return i;
            }
    return size;
}

/* Hands typed bytes on; as write(2). A byte that is a signal is taken away when all before it is written. */
static ssize_t type(const struct clo_inner *inner, const struct clo_terminal *terminal, const char *data, size_t size)
{
    int signal;
    const size_t text = text_before_signal(terminal, data, size, &signal);
    ssize_t done = 0;

    if (text) {
        done = write(terminal->master, data, text);
        if (done != (ssize_t)text)
            return done;
    }
    if (!signal)
        return done;
    signal_foreground(inner, terminal, signal);
    return done + 1;
}

void clo_terminals_listen(const struct clo_inner *inner)
{
    for (struct clo_terminal *terminal = inner->terminals; terminal; terminal = terminal->next) {
        struct clo_flow *flow = &terminal->in;
        ssize_t done;

        if (flow->size)
            continue;
        done = read(terminal->host, flow->data, sizeof flow->data);
        if (done > 0) {
            flow->at = 0;
            flow->size = (size_t)done;
        } else if (!done || errno != EAGAIN) {
            terminal->hung_up = true;
        }
    }
}

/* Moves what there is from the host to the terminal or back; 0 when there is no more, 1 at an end of either. */
static int carry(const struct clo_inner *inner, struct clo_terminal *terminal, bool typed)
{
    struct clo_flow *flow = typed ? &terminal->in : &terminal->out;
    ssize_t done;

    for (;;) {
        if (!flow->size) {
            if (typed)
                return 0; /* more is listened to after the orders that came before it */
            done = read(terminal->master, flow->data, sizeof flow->data);
            if (done <= 0)
                return !done || errno != EAGAIN;
            flow->at = 0;
            flow->size = (size_t)done;
        }
        done = typed ? type(inner, terminal, flow->data + flow->at, flow->size)
                     : send(terminal->host, flow->data + flow->at, flow->size, MSG_NOSIGNAL);
        if (done < 0)
            return errno != EAGAIN;
        flow->at += (size_t)done;
        flow->size -= (size_t)done;
    }
}

bool clo_terminal_shown(const struct clo_inner *inner, uint32_t id)
{
    struct clo_terminal *terminal = find(inner, id);

    return !terminal || carry(inner, terminal, false) || !terminal->out.size;
}

/* What the kernel does when a terminal goes: to those in the foreground, and to the leader of its session. */
static void hang_up(const struct clo_inner *inner, const struct clo_terminal *terminal)
{
    const struct clo_inner_exec *exec = clo_find_exec(inner, terminal->id);

    signal_foreground(inner, terminal, SIGHUP);
    if (!exec || exec->ended)
        return;
    kill(exec->main, SIGHUP);
    kill(exec->main, SIGCONT);
}

/* Whether it is done with. */
static bool pump(const struct clo_inner *inner, struct clo_terminal *terminal)
{
    if (carry(inner, terminal, false) || carry(inner, terminal, true) || terminal->hung_up) {
        hang_up(inner, terminal);
        return true;
    }
    return terminal->over && !terminal->out.size;
}

void clo_terminals_pump(struct clo_inner *inner)
{
    struct clo_terminal *next;

    for (struct clo_terminal *terminal = inner->terminals; terminal; terminal = next) {
        next = terminal->next;
        if (pump(inner, terminal))
            drop(inner, terminal);
    }
}
