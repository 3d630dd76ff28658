/* answer.h - a request's whole answer, for tests of the engine.
 *
 *   answer_engine e;  answer_open(&e, TINY_MODELS_DIR "/llama_gqa.gguf", 4, 16);
 *   answer a = answer_ask(&e, &options);
 *   answer_close(&e);
 *
 * Every helper fails the program with the message when weft refuses.
 */
#ifndef WEFT_TESTS_ANSWER_H
#define WEFT_TESTS_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

#include "weft/weft.h"

#define ANSWER_TOKENS_MAX 512u
#define ANSWER_BYTES_MAX 4096u

typedef struct answer_engine {
    weft_runtime *rt;
    weft_engine *en;
} answer_engine;

typedef struct answer {
    char text[ANSWER_BYTES_MAX];
    size_t text_len;
    int32_t ids[ANSWER_TOKENS_MAX]; /* when the request asked for logprobs */
    float logprobs[ANSWER_TOKENS_MAX];
    size_t n_ids;
    uint32_t n_events;
    weft_finish finish;
    weft_usage usage;
} answer;

/* Two threads; seqs at once, `queue` waiting, the model's whole context. */
void answer_open(answer_engine *e, const char *path, uint32_t seqs, uint32_t queue);
void answer_close(answer_engine *e);

/* Greedy, ids kept, ends only at max_tokens. The prompt is borrowed until submit. */
weft_request_options answer_options(const int32_t *prompt, size_t n_prompt, uint32_t max_tokens);

weft_request *answer_submit(const answer_engine *e, const weft_request_options *o);
/* Waits for all events; does not release. */
answer answer_collect(weft_request *rq);
/* Waits until the engine has let go of every request, those ended by a stop string included. */
void answer_settle(const answer_engine *e);
/* submit, collect, release */
answer answer_ask(const answer_engine *e, const weft_request_options *o);

#endif /* WEFT_TESTS_ANSWER_H */
