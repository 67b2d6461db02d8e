/* Staging: what a box may reach of the caller's files, mounted where its own uid can reach it, under ids of its own.
 *
 * Theory. A box runs under a uid that owns nothing, so a work folder of the caller's would be closed to it. Instead
 * of changing the folder's owner, the child that becomes the box first makes a mount namespace of its own, puts a tiny
 * tmpfs on an existing empty folder, and attaches there a clone of each source whose ids are mapped: on disk the
 * folder stays the caller's, in the mount it is the box's. Other mounts below a source are left out (not recursive):
 * they may be of file systems without id mapping, and were not asked for.
 *
 * What a box writes can be kept in memory: in a tmpfs of its own, or in one that is laid over a clone (overlayfs).
 *
 * System calls: open_tree and move_mount (Linux 5.2), mount_setattr with MOUNT_ATTR_IDMAP (5.12);
 * overlayfs over such clones needs 5.19. */
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "stage.h"
#include "step.h"

enum { NAME_SIZE = 256, COVERED = MS_NOSUID | MS_NODEV | MS_NOEXEC };

static int make_target(int folder, const char *name, bool is_folder) {
    if (is_folder) return mkdirat(folder, name, 0755);
    int fd = openat(folder, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);
    return fd < 0 ? -1 : close(fd);
}

/* A detached clone of the source, or what is detached already, attributes set; a descriptor of its own. */
static int clone_source(struct clo_spawn *spawn, uint32_t index) {
    const struct clo_stage_mount *stage = &spawn->stages[index];
    struct mount_attr want = {.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV};
    if (stage->read_only) want.attr_set |= MOUNT_ATTR_RDONLY;
    if (stage->userns >= 0) {
        want.attr_set |= MOUNT_ATTR_IDMAP;
        want.userns_fd = (uint64_t)stage->userns;
    }
    int tree = stage->tree >= 0
                   ? (int)syscall(SYS_fcntl, stage->tree, F_DUPFD_CLOEXEC, 0)
                   : (int)syscall(SYS_open_tree, AT_FDCWD, stage->source, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0) return clo_step_failed(spawn, CLO_STEP_STAGE_SOURCE, index);
    if (syscall(SYS_mount_setattr, tree, "", AT_EMPTY_PATH, &want, sizeof want))
        return clo_step_failed(spawn, CLO_STEP_STAGE_IDMAP, index);
    return tree;
}

/* In the stage folder: what is written below `target` goes to a new tmpfs `home`, whose root says whose it is. */
static int overlay(const char *target, const char *home) {
    char upper[NAME_SIZE + 8], work[NAME_SIZE + 8], options[4 * NAME_SIZE];
    struct stat owner;
    snprintf(upper, sizeof upper, "%s/upper", home);
    snprintf(work, sizeof work, "%s/work", home);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", target, upper, work);
    if (stat(home, &owner) || mkdir(upper, 0700) || mkdir(work, 0700) || chmod(upper, owner.st_mode & 07777) ||
        chown(upper, owner.st_uid, owner.st_gid))
        return -1;
    return mount("overlay", target, "overlay", MS_NOSUID | MS_NODEV, options);
}

/* In the stage folder: a tmpfs at the target, or an overlay over what is there. */
static int mount_memory(const struct clo_stage_mount *stage, const char *target) {
    char home[NAME_SIZE];
    if (!stage->source) return mkdir(target, 0755) || mount("tmpfs", target, "tmpfs", MS_NOSUID | MS_NODEV, stage->memory);
    int length = snprintf(home, sizeof home, "%s.memory", target);
    errno = ENAMETOOLONG;
    if (length > NAME_SIZE - 16 || mkdir(home, 0700)) return -1;
    return mount("tmpfs", home, "tmpfs", MS_NOSUID | MS_NODEV, stage->memory) || overlay(target, home);
}

/* The same, from the stage folder and back: overlayfs takes relative paths, and they need no room. */
static int add_memory(struct clo_spawn *spawn, int folder, uint32_t index) {
    int back = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (back < 0 || fchdir(folder)) return clo_step_failed(spawn, CLO_STEP_STAGE_TARGET, index);
    if (mount_memory(&spawn->stages[index], spawn->stages[index].target))
        return clo_step_failed(spawn, CLO_STEP_STAGE_MEMORY, index);
    if (fchdir(back)) return clo_step_failed(spawn, CLO_STEP_STAGE_TARGET, index);
    close(back);
    return 0;
}

static int attach(struct clo_spawn *spawn, int folder, int tree, uint32_t index) {
    const char *target = spawn->stages[index].target;
    struct stat source;
    if (fstat(tree, &source)) return clo_step_failed(spawn, CLO_STEP_STAGE_SOURCE, index);
    if (make_target(folder, target, S_ISDIR(source.st_mode))) return clo_step_failed(spawn, CLO_STEP_STAGE_TARGET, index);
    if (syscall(SYS_move_mount, tree, "", folder, target, MOVE_MOUNT_F_EMPTY_PATH))
        return clo_step_failed(spawn, CLO_STEP_STAGE_ATTACH, index);
    close(tree);
    return 0;
}

static bool has_source(const struct clo_stage_mount *stage) { return stage->source || stage->tree >= 0; }

int clo_stage(struct clo_spawn *spawn) {
    char options[64];
    int trees[CLO_STAGES_MAX];
    /* A mount point each, one more for the memory over it, and the root. */
    snprintf(options, sizeof options, "mode=0755,size=64k,nr_inodes=%u", 2 * spawn->n_stages + 1);
    if (syscall(SYS_unshare, CLONE_NEWNS) || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL))
        return clo_step_failed(spawn, CLO_STEP_NAMESPACE, 0);
    /* All sources first: the tmpfs may hide some of them. */
    for (uint32_t i = 0; i < spawn->n_stages; i++)
        if ((trees[i] = has_source(&spawn->stages[i]) ? clone_source(spawn, i) : 0) < 0) return trees[i];
    if (spawn->cover && mount("tmpfs", spawn->cover, "tmpfs", MS_RDONLY | COVERED, "mode=0555,nr_inodes=1"))
        return clo_step_failed(spawn, CLO_STEP_COVER, 0);
    if (!spawn->n_stages) return 0;
    if (mount("tmpfs", spawn->stage_folder, "tmpfs", COVERED, options))
        return clo_step_failed(spawn, CLO_STEP_STAGE_FOLDER, 0);
    int folder = open(spawn->stage_folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folder < 0) return clo_step_failed(spawn, CLO_STEP_STAGE_FOLDER, 0);
    for (uint32_t i = 0; i < spawn->n_stages; i++) {
        int error = has_source(&spawn->stages[i]) ? attach(spawn, folder, trees[i], i) : 0;
        if (!error && spawn->stages[i].memory) error = add_memory(spawn, folder, i);
        if (error) return error;
    }
    close(folder);
    return 0;
}
