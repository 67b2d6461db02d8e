/* Which of a program's environment is told of. */
#include "programs.h"

#include <string.h>

static const char *const steering[] = {
    "BASH_ENV", "EDITOR", "ENV", "GCONV_PATH", "GIT_SSH_COMMAND", "HISTCONTROL", "HISTFILE", "HISTFILESIZE", "HISTIGNORE",
    "HISTSIZE", "LD_AUDIT", "LD_DEBUG", "LD_LIBRARY_PATH", "LD_PRELOAD", "NODE_OPTIONS", "PAGER", "PATH", "PERL5LIB",
    "PERL5OPT", "PROMPT_COMMAND", "PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP", "RUBYOPT", "VISUAL",
};

/* Whether the first bytes of an entry say that it is kept. Thread safe. */
bool clo_steers(const char *entry, size_t size) {
    const char *end = memchr(entry, '=', size < CLO_STEER_NAME ? size : CLO_STEER_NAME);
    if (!end) return false;
    size_t length = (size_t)(end - entry);
    for (size_t n = 0; n < sizeof steering / sizeof steering[0]; n++)
        if (strlen(steering[n]) == length && !memcmp(entry, steering[n], length)) return true;
    return false;
}
