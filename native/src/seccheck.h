/* The decoder's parts share this. Theory of operation in seccheck.c. */
#ifndef CLOCHE_SECCHECK_H
#define CLOCHE_SECCHECK_H

#include <stdbool.h>
#include <sys/syscall.h>

#include "acts.h"
#include "decode.h"
#include "events.h"
#include "programs.h"

enum {
    CLO_SENTRY_HEAD = 8,
    CLO_SENTRY_NUMBERS = 6,
    CLO_SENTRY_PROCESSES = 1024, /* that are known at once */
    CLO_SENTRY_PROBES = 4,
    CLO_SENTRY_HELD = 256,       /* raw calls that are held */
    CLO_SENTRY_EXECS = 8,        /* starts of programs that are */
    CLO_SENTRY_CWD_MAX = 255,
    CLO_SENTRY_INIT = 1,         /* the thread group that is the box's own */
    CLO_SENTRY_BELONGS = SYS_nfsservctl /* a call by which that says whose a process is: its id, the exec's number */
};
#define CLO_SENTRY_HELD_NS 1000000000u

/* Types of messages. */
enum clo_message_kind {
    CLO_MESSAGE_START = 1, CLO_MESSAGE_CLONED = 2, CLO_MESSAGE_EXECUTED = 3, CLO_MESSAGE_EXITED = 4, CLO_MESSAGE_RAW = 6,
    CLO_MESSAGE_OPEN = 7, CLO_MESSAGE_READ = 9, CLO_MESSAGE_CONNECT = 10, CLO_MESSAGE_EXECVE = 11, CLO_MESSAGE_SOCKET = 12,
    CLO_MESSAGE_CHDIR = 13, CLO_MESSAGE_SETID = 14, CLO_MESSAGE_SETRESID = 15, CLO_MESSAGE_PRLIMIT = 16,
    CLO_MESSAGE_CHROOT = 21, CLO_MESSAGE_CLONE = 23, CLO_MESSAGE_BIND = 24, CLO_MESSAGE_ACCEPT = 25, CLO_MESSAGE_WRITE = 34,
    CLO_MESSAGE_MMAP = 36, CLO_MESSAGE_LISTEN = 37, CLO_MESSAGE_PTRACE = 38, CLO_MESSAGES = 39
};

struct clo_span { const char *text; size_t size; };

/* A message once it is read: what it has not is 0. Texts lie in the packet, but of a program's, which are the decoder's. */
struct clo_message {
    uint32_t kind;
    int32_t tid, pid;
    uint32_t call;         /* number of the system call */
    bool cut, exits;       /* exits: result is what the call gave, or -errno */
    int64_t result;
    uint64_t number[CLO_SENTRY_NUMBERS];
    struct clo_span cwd, name, path, beside /* the path of its descriptor */, address;
    size_t argv, env;      /* bytes of those */
    bool program_cut;
};

struct clo_traced_process {
    int32_t pid;           /* 0: free */
    uint32_t exec;
    bool young;            /* a child of the box's init that is no program yet */
    bool executed;         /* of its last start it was told already */
    uint8_t cwd_size;
    char cwd[CLO_SENTRY_CWD_MAX];
};

struct clo_held_call { int32_t tid, pid; uint32_t call; uint64_t at, number[CLO_SENTRY_NUMBERS]; };

struct clo_held_exec {
    int32_t tid; /* 0: free */
    uint64_t at, turn;
    union { struct clo_event event; char bytes[CLO_EVENT_MAX]; } record;
};

typedef void clo_sentry_tell(void *with, struct clo_event *record);

struct clo_sentry {
    struct clo_calls calls;
    struct clo_watched_index acts;
    uint8_t message_of[CLO_CALLS_MAX]; /* which kind of message tells of a call */
    uint64_t shadows[CLO_CALLS_MAX / 64];
    uint64_t strict;                   /* kinds of messages that tell of these calls alone */
    uint32_t sandbox;
    bool init;
    struct clo_lines *lines;           /* what strace writes, where it does; not this state's */
    struct clo_sentry_counts counts;
    uint64_t turn, held, oldest; /* held: how many are; oldest: none of them was before */
    clo_sentry_tell *tell;
    void *with;
    struct clo_traced_process processes[CLO_SENTRY_PROCESSES];
    struct clo_held_call calls_held[CLO_SENTRY_HELD];
    struct clo_held_exec execs[CLO_SENTRY_EXECS];
    /* scratch */
    char argv[CLO_ARGV_MAX], env[CLO_TEXT_MAX + 1], texts[CLO_TEXTS][CLO_TEXT_MAX];
    union { struct clo_event event; char bytes[CLO_EVENT_MAX]; } record;
};

/* An event while it is made. */
struct clo_telling { struct clo_event event; const char *text[CLO_TEXTS]; };

/* seccheck_fields.c */
int clo_message_read(struct clo_sentry *sentry, uint32_t kind, const uint8_t *payload, size_t size, bool cut,
                     struct clo_message *message);

/* seccheck_acts.c */
void clo_message_tell(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
void clo_held_call_tell(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
struct clo_telling clo_telling_of(struct clo_sentry *sentry, uint32_t act, const struct clo_message *message, uint64_t now);
void clo_telling_text(struct clo_telling *telling, enum clo_text which, const char *text, size_t size, bool vouched);
void clo_telling_send(struct clo_sentry *sentry, const struct clo_telling *telling);

/* seccheck_lines.c */
bool clo_telling_traced(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_call *call,
                        const struct clo_message *message);

/* seccheck_paths.c */
void clo_telling_join(struct clo_sentry *sentry, struct clo_telling *telling, enum clo_text which, struct clo_span path,
                      struct clo_span base);
struct clo_span clo_telling_cwd(struct clo_sentry *sentry, const struct clo_message *message);
void clo_telling_path(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message);
void clo_telling_address(struct clo_sentry *sentry, struct clo_telling *telling, const struct clo_message *message);

/* seccheck_program.c */
void clo_message_execve(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
bool clo_message_execve_ended(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
void clo_message_executed(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
void clo_program_argument(struct clo_sentry *sentry, struct clo_message *message, const char *text, size_t size);
void clo_program_entry(struct clo_sentry *sentry, struct clo_message *message, const char *text, size_t size);

/* seccheck_held.c */
void clo_sentry_before(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
void clo_sentry_hold(struct clo_sentry *sentry, const struct clo_message *message, uint64_t now);
struct clo_held_exec *clo_sentry_exec_of(struct clo_sentry *sentry, int32_t tid);
struct clo_held_exec *clo_sentry_hold_exec(struct clo_sentry *sentry, int32_t tid, uint64_t now);
void clo_sentry_drop_exec(struct clo_sentry *sentry, struct clo_held_exec *held);
void clo_sentry_due(struct clo_sentry *sentry, uint64_t before, uint64_t now);

/* seccheck_processes.c */
struct clo_traced_process *clo_sentry_process(struct clo_sentry *sentry, int32_t pid);
bool clo_sentry_own(struct clo_sentry *sentry, int32_t pid);
void clo_sentry_cwd(struct clo_sentry *sentry, int32_t pid, struct clo_span cwd);
void clo_sentry_born(struct clo_sentry *sentry, int32_t parent, int32_t child);
void clo_sentry_belongs(struct clo_sentry *sentry, uint64_t pid, uint64_t exec);
void clo_sentry_gone(struct clo_sentry *sentry, int32_t pid);

/* seccheck.c */
void clo_sentry_init(struct clo_sentry *sentry, const struct clo_sentry_how *how, clo_sentry_tell *tell, void *with);
void clo_sentry_feed(struct clo_sentry *sentry, const void *packet, size_t size, bool cut, uint64_t now);

static inline bool clo_span_absolute(struct clo_span span) { return span.size && span.text[0] == '/'; }
static inline bool clo_is_execve(const struct clo_sentry *sentry, uint32_t call) {
    return call < CLO_CALLS_MAX && sentry->message_of[call] == CLO_MESSAGE_EXECVE;
}

#endif
