/* The index of a text that comes after another. */
#ifndef CLOCHE_JSON_FOLLOW_H
#define CLOCHE_JSON_FOLLOW_H

#include "json.h"

/* Make the index of `text`, of which the first `same` bytes are the old one's, with the builder, which is new or reset. false: it is no canonical text, or not valid, or
 * there is no memory; what is so only clo_json_read says. True where both are equal texts, too. */
bool clo_json_follow(const struct clo_json_view *old, const uint8_t *text, size_t size, size_t same,
                     struct clo_json_builder *builder);

#endif
