/* openai_request.h - the body of a completion request, checked field by field.
 *
 * Every field is in one table (openai_request.c): it is read, or it may only have the value that
 * changes nothing, or it is refused by name. null is as good as absent.
 */
#ifndef WEFT_API_OPENAI_REQUEST_H
#define WEFT_API_OPENAI_REQUEST_H

#include <jansson.h>

#include "api/api_error.h"
#include "weft/engine.h"

#define OPENAI_CHOICES_MAX 128u
#define OPENAI_PROMPTS_MAX 256u

typedef enum openai_kind {
    OPENAI_CHAT = 1, /* /v1/chat/completions */
    OPENAI_TEXT = 2  /* /v1/completions */
} openai_kind;

typedef struct openai_request {
    openai_kind kind;
    json_t *body;                 /* owned; strings below point into it */
    size_t body_bytes;            /* as it was sent */
    const char *model;            /* NULL when absent */
    bool is_stream, has_usage;    /* stream, stream_options.include_usage */
    uint32_t n;                   /* choices of each prompt */
    weft_request_options options; /* all but the prompt */
    const char *stops[WEFT_STOP_MAX];
    weft_logit_bias *bias; /* owned */
} openai_request;

/* Reads and checks the body. On failure *e says which field, found and wanted. */
bool openai_request_read(openai_request *r, openai_kind kind, str body, api_error *e);
void openai_request_deinit(openai_request *r);

/* Keeps what submitting needs, the stop strings, and lets the rest of the body go: the model's name
 * and the prompts can no longer be asked for. */
void openai_request_forget_body(openai_request *r);

/* Number of prompts: 1 for a chat. */
uint32_t openai_request_prompt_count(const openai_request *r);

/* Tokens of prompt i, appended to *out. */
bool openai_request_prompt(const openai_request *r, uint32_t i, const weft_engine *en,
                           weft_tokens *out, api_error *e);

/* False with the numbers when a prompt and its answer can never fit the context. Cheap: a text is
 * counted only when it is so long that it hardly fits, so true is no promise. */
bool openai_request_fits(const openai_request *r, const weft_engine *en, api_error *e);

#endif /* WEFT_API_OPENAI_REQUEST_H */
