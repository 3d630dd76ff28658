/* completion_json.h - the documents and chunks of completions, in OpenAI's shape. Pure.
 */
#ifndef WEFT_API_COMPLETION_JSON_H
#define WEFT_API_COMPLETION_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "weft/engine.h"

/* What every chunk of one completion repeats. */
typedef struct completion_head {
    bool is_chat;
    bool has_usage_field; /* stream_options.include_usage: other chunks say "usage": null */
    char id[40];
    int64_t created;
    const char *model; /* borrowed */
} completion_head;

/* Draws an id. */
void completion_head_init(completion_head *h, bool is_chat, const char *model);

/* One token's entry of "logprobs". *text_offset advances by its characters. */
json_t *completion_json_logprob(const completion_head *h, const weft_engine *en,
                                const weft_token_logprobs *l, size_t *text_offset);

/* A choice of a whole answer. entries: array of completion_json_logprob, or NULL. */
json_t *completion_json_choice(const completion_head *h, uint32_t index, str text, json_t *entries,
                               weft_finish finish);
/* The whole answer; takes choices over. */
json_t *completion_json_document(const completion_head *h, json_t *choices, const weft_usage *u);

/* Stream chunks: the opening role, text, the finish (text empty), usage at the end. */
json_t *completion_json_role_chunk(const completion_head *h, uint32_t index);
json_t *completion_json_chunk(const completion_head *h, uint32_t index, str text, json_t *entries,
                              weft_finish finish);
/* The same as completion_json_chunk of text without logprobs, dumped, in a server-sent event: what
 * nearly every token becomes, so it is written without building a document. Appends. */
void completion_json_text_event(buf *out, const completion_head *h, uint32_t index, str text);
json_t *completion_json_usage_chunk(const completion_head *h, const weft_usage *u);

#endif /* WEFT_API_COMPLETION_JSON_H */
