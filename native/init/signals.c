/* Also part of cloche-inner. */

#include "init.h"

#include <signal.h>
#include <sys/signalfd.h>

int clo_own_signals(void)
{
    sigset_t all, child;

    for (int signal = 1; signal < NSIG; signal++)
        sigaction(signal, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
    sigfillset(&all);
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    return sigprocmask(SIG_SETMASK, &all, NULL) ? -1 : signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
}
