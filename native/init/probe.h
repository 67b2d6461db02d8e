/* The self-test's parts: acts that are tried, facts that are read, and the JSON that is written of both. */

#ifndef CLO_PROBE_H
#define CLO_PROBE_H

#include "init.h"

/* One thing tried, in a process of its own. Gives 0 for "could be done", an errno, or CLO_ACT_ABSENT when there is
 * nothing to try it on. */
enum { CLO_ACT_ABSENT = 255 };
struct clo_attempt {
    const char *name;
    int (*try_it)(void);
};

/* Each table ends with a NULL name. */
extern const struct clo_attempt clo_acts_calls[], clo_acts_files[], clo_acts_sockets[], clo_acts_signals[];

/* The process that started the self-test; an act is tried in its grandchild. */
pid_t clo_probe_parent(void);

struct clo_json {
    char text[32768];
    size_t used;
    bool comma;
};
void clo_json_open(struct clo_json *json, const char *name, char bracket);
void clo_json_close(struct clo_json *json, char bracket);
void clo_json_text(struct clo_json *json, const char *name, const char *text);
void clo_json_number(struct clo_json *json, const char *name, long long number);
void clo_json_error(struct clo_json *json, const char *name, int error);

/* probe_facts.c */
void clo_facts_identity(struct clo_json *json);
void clo_facts_network(struct clo_json *json);
void clo_facts_namespaces(struct clo_json *json);
void clo_facts_limits(struct clo_json *json);

#endif
