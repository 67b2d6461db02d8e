/* Lines that gVisor's strace writes of calls whose trace points carry no texts (lines.c, lines_call.c). cffi reads this.
 *
 * A line is a JSON object whose "msg" is "[TID:TID] NAME E CALL(ARGUMENTS)" when a call begins. It is written before the
 * enter point of the same call is sent, by the same thread. What is in it is the guest's. */
struct clo_lines;

enum { CLO_LINE_TEXTS = 4, CLO_LINE_CALL_MAX = 24 };

enum clo_line_flag {
    CLO_LINE_LOSSY = 1,  /* bytes of a text are no UTF-8, and U+FFFD stands for each */
    CLO_LINE_BAD = 2     /* a text could not be read from the guest's memory */
};

/* What a call's line says: of each of its paths and folders that have a text, in the order of the call's arguments. */
struct clo_line {
    uint32_t texts;
    uint32_t flags;
    struct {
        uint32_t argument; /* which it is, from 0 */
        uint32_t size;
        const char *text;  /* valid until the next call about the same lines */
    } text[CLO_LINE_TEXTS];
};

int clo_lines_new(int fd, struct clo_lines **lines);
void clo_lines_free(struct clo_lines *lines);
int clo_lines_read(struct clo_lines *lines);
int clo_lines_take(struct clo_lines *lines, uint32_t tid, const char *call, const uint64_t *arguments,
                   struct clo_line *line);
void clo_lines_forget(struct clo_lines *lines);
uint64_t clo_lines_lost(const struct clo_lines *lines);
int clo_lines_ended(const struct clo_lines *lines);
int clo_line_parse(const char *message, size_t size, uint32_t tid, const char *call, const uint64_t *arguments,
                   struct clo_line *line);
