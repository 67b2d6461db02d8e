/* What gVisor's sentry says of its guest (trace sessions), as events. Read by cffi after cdef_rules.h, and so without
 * preprocessor lines. The decoder (seccheck.c): */
enum {
    CLO_SENTRY_PACKET_MAX = 262144, /* bytes of a packet that are looked at */
    CLO_SENTRY_SPARE = 262144,      /* room for all records that one packet can bring about */
    CLO_SENTRY_OWN_INIT = 1,        /* flag: thread group 1, and its children before their first program, are the box's */
    CLO_REFLEX_MAX = 256,           /* bytes of what is written at a grave match */
    CLO_SENTRY_CUT = 0x80000000
};

struct clo_sentry_how {
    uint64_t shadows[8]; /* a bit for each call whose raw enter point is held until another message tells of it */
    uint32_t sandbox, flags;
    void *lines; /* struct clo_lines: texts of calls whose points have none; NULL: nobody writes them */
};

struct clo_sentry_counts {
    uint64_t packets, bad; /* bad: no message */
    uint64_t unknown;      /* of a type that is not known */
    uint64_t dropped;      /* by the sentry, as it says */
    uint64_t records, unreadable;
};

struct clo_sentry_decoder;
struct clo_sentry_decoder *clo_sentry_decoder_new(const struct clo_sentry_how *how);
void clo_sentry_decoder_free(struct clo_sentry_decoder *decoder);
size_t clo_sentry_decode(struct clo_sentry_decoder *decoder, const void *packets, size_t size, uint64_t now, void *out,
                         size_t room, size_t *next);
size_t clo_sentry_flush(struct clo_sentry_decoder *decoder, uint64_t now, void *out, size_t room);
void clo_sentry_counted(const struct clo_sentry_decoder *decoder, struct clo_sentry_counts *counts);

/* ---- The listener: a thread that hears what the sentries of boxes say (listener.c). ---- */
struct clo_listener_thread; /* for many boxes */
struct clo_listened;        /* a box */

struct clo_listen {
    struct clo_sentry_how sentry;
    uint64_t wants; /* acts, a bit each, of which every record goes to the ring, matched by a rule or not */
    uint64_t ring;  /* bytes, a power of two */
    int32_t socket; /* our end: belongs to the box once clo_listen gave 0 */
};

struct clo_listened_status {
    uint64_t records, lost, lost_matches; /* as in clo_observed_status */
    uint64_t packets, bad, unknown, dropped, unreadable; /* as in clo_sentry_counts */
    uint32_t ended; /* the sentry's end is closed */
};

int clo_listener_new(struct clo_listener_thread **thread);
void clo_listener_free(struct clo_listener_thread *thread);
int clo_listen(struct clo_listener_thread *thread, const struct clo_listen *how, struct clo_listened **box);
void clo_listened_free(struct clo_listened *box);
int clo_listened_bell(const struct clo_listened *box);
void clo_listened_catch_up(struct clo_listened *box);
int64_t clo_listened_take(struct clo_listened *box, void *out, size_t room);
int64_t clo_listened_take_matches(struct clo_listened *box, void *out, size_t room);
void clo_listened_want(struct clo_listened *box, uint64_t acts);
int clo_listened_judge(struct clo_listened *box, struct clo_program *program);
int clo_listened_reflex(struct clo_listened *box, int fd, uint32_t least, const void *request, size_t size);
int clo_listened_reflexed(const struct clo_listened *box);
int clo_listened_matched(struct clo_listened *box, uint64_t *counts, size_t room);
void clo_listened_counts(const struct clo_listened *box, uint64_t *counts);
void clo_listened_status(const struct clo_listened *box, struct clo_listened_status *status);
