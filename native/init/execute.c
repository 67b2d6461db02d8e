/* A request's strings as execve(2) takes them, and the search for its program. Also part of cloche-inner. */

#include "init.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char DEFAULT_PATH[] = "/usr/local/bin:/usr/bin:/bin";

char **clo_point(const struct clo_strings *strings)
{
    char **list = calloc(strings->count + 1, sizeof *list);
    const char *at = strings->data;

    for (size_t i = 0; list && i < strings->count; i++) {
        list[i] = (char *)at;
        at += strlen(at) + 1;
    }
    return list;
}

static const char *search_path(char *const *env)
{
    for (; *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return *env + 5;
    return DEFAULT_PATH;
}

/* Whether execvp(3) would go on to the next folder after this error. */
static bool goes_on(int error)
{
    return error == EACCES || error == ENOENT || error == ENOTDIR || error == ESTALE || error == ENODEV
           || error == ETIMEDOUT;
}

int clo_execve(const char *path, char *const *argv, char *const *env)
{
    execve(path, argv, env);
    return errno;
}

int clo_execute(char *const *argv, char *const *env, clo_execve_call *call)
{
    const size_t size = strlen(argv[0]);
    char path[CLO_PATH_SIZE];
    bool denied = false;
    int error = ENOENT;

    if (strchr(argv[0], '/') || !size)
        return call(argv[0], argv, env);
    for (const char *folder = search_path(env); folder; folder = *folder ? folder + 1 : NULL) {
        const size_t length = strcspn(folder, ":");
        if (size < sizeof path - 2 && length < sizeof path - size - 1) {
            memcpy(path, folder, length);
            path[length] = '/';
            memcpy(path + length + (length > 0), argv[0], size + 1); /* an empty folder is the current one */
            error = call(path, argv, env);
            denied |= error == EACCES;
            if (!goes_on(error))
                return error;
        } else {
            error = ENAMETOOLONG;
        }
        folder += length;
    }
    return denied ? EACCES : error;
}
