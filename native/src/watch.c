/* Being told of changes in folders (inotify(7)). */
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "cloche_native.h"

_Static_assert(CLO_WATCH_MODIFY == IN_MODIFY && CLO_WATCH_ATTRIB == IN_ATTRIB && CLO_WATCH_MOVED_FROM == IN_MOVED_FROM &&
                   CLO_WATCH_MOVED_TO == IN_MOVED_TO && CLO_WATCH_CREATE == IN_CREATE && CLO_WATCH_DELETE == IN_DELETE &&
                   CLO_WATCH_DELETE_SELF == IN_DELETE_SELF && CLO_WATCH_MOVE_SELF == IN_MOVE_SELF &&
                   CLO_WATCH_UNMOUNT == IN_UNMOUNT && CLO_WATCH_OVERFLOW == IN_Q_OVERFLOW &&
                   CLO_WATCH_IGNORED == IN_IGNORED && CLO_WATCH_FOLDER == IN_ISDIR,
               "inotify(7)");

enum {
    TOLD = IN_MODIFY | IN_ATTRIB | IN_MOVED_FROM | IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_DELETE_SELF | IN_MOVE_SELF
};

/* A new descriptor without watches, which never blocks; the caller's to close. EMFILE: fs.inotify.max_user_instances. */
int clo_watch_open(void) {
    int fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Adds the folder that `folder` is open on, or finds it there: its number. The folder is named by the descriptor, in
 * this process's own /proc, since the call takes no descriptor: no path that a guest can change is looked up, and the
 * link there is followed by intent. ENOSPC: fs.inotify.max_user_watches; ENOENT: /proc is not mounted. */
int clo_watch_add(int watch, int folder) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", folder);
    int number = inotify_add_watch(watch, path, TOLD | IN_ONLYDIR | IN_EXCL_UNLINK);
    return number < 0 ? -errno : number;
}

/* Takes a folder out. EINVAL: it is not there any more, which the kernel tells by CLO_WATCH_IGNORED too. */
int clo_watch_remove(int watch, int number) { return inotify_rm_watch(watch, number) ? -errno : 0; }
