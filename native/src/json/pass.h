/* Children passed over quickly, where only how many they are matters. */
#ifndef CLOCHE_JSON_PASS_H
#define CLOCHE_JSON_PASS_H

#include "json.h"

/* The child that comes next, if there is one, and the walk behind it. */
struct clo_json_ahead {
    struct clo_json_walk after;
    struct clo_json_child child;
    bool there;
};

/* Go over children that end before `limit`, a place of the text; give how many, in *end where the last ends, and what comes
 * next. */
size_t clo_json_pass_within(struct clo_json_walk *walk, size_t limit, size_t *end, struct clo_json_ahead *ahead);
void clo_json_look_ahead(const struct clo_json_walk *walk, struct clo_json_ahead *ahead);

#endif
