/* load_answer.h - one answer of an OpenAI-compatible server, read as it comes.
 *
 * Bytes and the moment they came in; out come the text, the moments of its first and last piece,
 * the gaps between pieces and what the server says it counted. A server that sends no usage has its
 * pieces counted instead, one token each.
 */
#ifndef WEFT_CLI_LOAD_ANSWER_H
#define WEFT_CLI_LOAD_ANSWER_H

#include "base/buf.h"
#include "cli/load_hist.h"
#include "cli/sse.h"

#define LOAD_ANSWER_BYTES_MAX (64u << 20)

typedef struct load_answer {
    bool is_streamed;
    sse sse;
    buf body;        /* of an answer in one piece, or of an error */
    buf text;        /* of the first choice */
    load_hist *gaps; /* takes the milliseconds between pieces of text; borrowed, may be NULL */
    uint64_t start_ns, first_ns, last_ns, now_ns;
    double gap_max_ms;
    uint32_t n_pieces;
    uint32_t prompt_tokens, output_tokens, cached_tokens;
    bool has_usage;
    bool is_ended;    /* a finish reason or [DONE] came */
    char broken[160]; /* "" or why it is no answer */
} load_answer;

void load_answer_init(load_answer *a);
void load_answer_deinit(load_answer *a);

/* A new answer to what was asked at start_ns. */
void load_answer_begin(load_answer *a, bool is_streamed, uint64_t start_ns, load_hist *gaps);
void load_answer_push(load_answer *a, const char *bytes, size_t len, uint64_t now_ns);
/* The last byte has come. False: it is not a whole answer, and a->broken says why. */
bool load_answer_finish(load_answer *a, uint64_t now_ns);

/* The message of an error body, cut to fit; the beginning of the body when it has none. */
void load_answer_error(const load_answer *a, char *out, size_t out_bytes);

#endif /* WEFT_CLI_LOAD_ANSWER_H */
