/* engine.h - a loaded model that answers requests.
 *
 *     weft_runtime *rt = NULL;  weft_engine *en = NULL;  weft_request *rq = NULL;
 *     weft_error err;
 *     if (weft_runtime_create(&rt, NULL, &err) != WEFT_OK) return 1;
 *     if (weft_engine_open(&en, rt, "model.gguf", NULL, &err) != WEFT_OK) return 1;
 *     weft_tokens prompt = {0};
 *     if (weft_tokenize(en, "Once upon", 9, WEFT_TOKENIZE_SPECIAL, &prompt, &err)) return 1;
 *     weft_request_options o = weft_request_options_default();
 *     o.prompt = prompt.ids;  o.n_prompt = prompt.count;  o.max_tokens = 64;
 *     if (weft_request_submit(&rq, en, &o, &err) != WEFT_OK) return 1;
 *     for (weft_event ev = {0}; !ev.is_done && weft_request_wait(rq, &ev, -1) == WEFT_OK;)
 *         fwrite(ev.text, 1, ev.text_len, stdout);
 *     weft_request_release(&rq);  weft_tokens_deinit(&prompt);
 *     weft_engine_close(&en);  weft_runtime_destroy(&rt);
 *
 * One engine has one thread of its own that runs the model; requests from any thread reach it
 * through a bounded queue and come back through their own outbox.
 */
#ifndef WEFT_ENGINE_H
#define WEFT_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "weft/dtype.h"
#include "weft/runtime.h"
#include "weft/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct weft_engine weft_engine;
typedef struct weft_request weft_request;

/* ---- open and close ---- */

/* Called from the opening thread. Returning false cancels with WEFT_CANCELLED. */
typedef bool weft_progress_fn(void *user, uint64_t done_bytes, uint64_t total_bytes);

typedef void weft_turn_fn(void *user);

typedef struct weft_engine_options {
    uint32_t ctx;          /* positions of one request; 0 = min(the model's maximum, 8192) */
    uint32_t seqs;         /* requests running at once; 0 = 1 */
    uint32_t queue;        /* requests waiting at once; 0 = 256 */
    uint32_t queue_tokens; /* their prompts' tokens together; 0 = a million */
    uint32_t batch_rows;   /* tokens of one forward; 0 = 512, or 64 a thread up to 2,048 */
    /* Longest step while answers run; 0 = one without prompts, and 0.66 of it for each in wait. */
    uint32_t itl_target_ms;
    weft_dtype kv_type;    /* F16 (default), F32, Q8_0, Q4_0 */
    uint64_t kv_mem_bytes; /* for all KV pools; 0 = `seqs` full contexts */
    bool shares_no_prefix; /* every prompt is run whole, whatever is known of it */
    bool maps_weights;     /* run from the file's own layout: slower, with the least memory */
    /* A folder where packed weights are kept between starts (docs/memory.md), and the most bytes
     * that all files there may have together. NULL or 0: none are kept. */
    const char *pack_cache_dir;
    uint64_t pack_cache_bytes;
    /* A folder where pages of known beginnings are kept, and the most bytes that all files there
     * may have together; 0 = 8 GiB. NULL: none are kept. One engine a folder. */
    const char *kv_cache_dir;
    uint64_t kv_cache_bytes;
    weft_progress_fn *progress;
    void *progress_user;
    /* Called from the engine's thread, once after it has called on_ready of any requests: a reader
     * of many is woken here, not by each. Must be quick and must not call back into weft. */
    weft_turn_fn *on_turn;
    void *turn_user;
} weft_engine_options;

WEFT_API weft_engine_options weft_engine_options_default(void);

/* path: a GGUF file (any part of a split). Everything the plan names is allocated before this
 * returns; a budget that is too small is WEFT_LIMIT with what would fit. */
WEFT_API weft_status weft_engine_open(weft_engine **out, weft_runtime *rt, const char *path,
                                      const weft_engine_options *options, weft_error *err);
/* Cancels what runs, joins the thread. Requests must have been released. Accepts NULL. */
WEFT_API void weft_engine_close(weft_engine **en);

typedef struct weft_memory {
    uint64_t weights_bytes, packed_extra_bytes, kv_pool_bytes, state_pool_bytes, scratch_bytes,
        process_bytes, total_bytes;
    uint64_t
        mapped_bytes; /* weights left in the file, which the system may take back: not in total */
} weft_memory;

typedef struct weft_engine_info {
    const char *path, *arch, *name; /* live as long as the engine */
    uint64_t params_total, file_bytes;
    uint32_t n_layers, n_embd, n_vocab, ctx_train, ctx, seqs, queue;
    bool has_chat_template;
    weft_memory planned, actual;
} weft_engine_info;

WEFT_API weft_engine_info weft_engine_info_now(const weft_engine *en);

/* Requests running and waiting at this moment. */
WEFT_API void weft_engine_load(const weft_engine *en, uint32_t *running, uint32_t *waiting);

/* How long a refused caller should wait before it tries again: until half of the queue will have
 * been served at the rate measured lately. 1000 to 60000. Any thread. */
WEFT_API uint32_t weft_engine_retry_after_ms(const weft_engine *en);

/* ---- text and tokens ---- */

typedef struct weft_tokens {
    int32_t *ids;
    size_t count, capacity;
} weft_tokens;

WEFT_API void weft_tokens_deinit(weft_tokens *t);

typedef enum weft_tokenize_flags {
    WEFT_TOKENIZE_SPECIAL = 1, /* BOS and EOS where the model says so */
    WEFT_TOKENIZE_PARSE = 2,   /* special tokens spelled in the text become those tokens */
} weft_tokenize_flags;

/* Appends to *out. */
WEFT_API weft_status weft_tokenize(const weft_engine *en, const char *text, size_t len,
                                   uint32_t flags, weft_tokens *out, weft_error *err);

/* Text of ids, special tokens left out unless asked. NUL-terminated, freed with weft_free. */
WEFT_API weft_status weft_detokenize(const weft_engine *en, const int32_t *ids, size_t n,
                                     bool shows_special, char **out, size_t *out_len,
                                     weft_error *err);

/* Writes the bytes that one token stands for, which may be part of a character, and returns how
 * many there are (0 when it is not a token). No more than out_bytes are written. */
WEFT_API size_t weft_token_bytes(const weft_engine *en, int32_t id, char *out, size_t out_bytes);

/* request_json: OpenAI's shape ("messages", "tools", "add_generation_prompt",
 * "continue_final_message", "chat_template_kwargs"). Prompt text freed with weft_free. */
WEFT_API weft_status weft_chat_apply(const weft_engine *en, const char *request_json, size_t len,
                                     char **out, size_t *out_len, weft_error *err);

WEFT_API void weft_free(void *p);

/* ---- requests ---- */

typedef struct weft_logit_bias {
    int32_t token;
    float bias;
} weft_logit_bias;

#define WEFT_PRIORITY_MIN (-8)
#define WEFT_PRIORITY_MAX 8
#define WEFT_STOP_MAX 16u
#define WEFT_STOP_BYTES_MAX 1024u
#define WEFT_TOP_LOGPROBS_MAX 20u

typedef struct weft_request_options {
    const int32_t *prompt; /* copied */
    size_t n_prompt;       /* at least 1 */
    uint32_t max_tokens;   /* answer tokens; 0 = what the context still holds */
    float temperature;     /* 0 = greedy */
    int32_t top_k;         /* 0 = off */
    float top_p, min_p;    /* 1 and 0 = off */
    float repetition_penalty, presence_penalty, frequency_penalty; /* 1, 0, 0 = off */
    uint64_t seed; /* read when has_seed, else one is drawn */
    bool has_seed;
    bool ignore_eos; /* generation ends only at the token limit */
    bool has_logprobs;
    bool shows_special;      /* control tokens appear in the text */
    uint32_t n_top_logprobs; /* 0..20, with has_logprobs */
    uint32_t choice;         /* index among the choices of one request: part of the random key */
    uint64_t client;         /* whose fair share it comes out of: a hash of API key or address */
    int32_t priority;        /* WEFT_PRIORITY_MIN to _MAX; higher goes first, 0 is everybody's */
    uint32_t deadline_ms;    /* from submit to the last token; 0 = none */
    const weft_logit_bias *bias; /* copied */
    size_t n_bias;
    const char *const *stop; /* copied; the text ends before the first that appears */
    size_t n_stop;
    /* Called from the engine's thread when the outbox has something new; must be quick and must not
     * call back into weft. Not called again before the next weft_request_poll or _wait. */
    void (*on_ready)(void *user);
    void *user;
} weft_request_options;

WEFT_API weft_request_options weft_request_options_default(void);

typedef enum weft_finish {
    WEFT_FINISH_NONE,   /* still running */
    WEFT_FINISH_STOP,   /* an end token or a stop string */
    WEFT_FINISH_LENGTH, /* max_tokens, or the context is full */
    WEFT_FINISH_CANCELLED,
    WEFT_FINISH_ERROR,    /* weft_request_error says which */
    WEFT_FINISH_DEADLINE, /* deadline_ms passed, waiting or running; what there is was handed out */
} weft_finish;
#define WEFT_FINISH_COUNT 6u

typedef struct weft_logprob {
    int32_t token;
    float logprob; /* natural logarithm */
} weft_logprob;

typedef struct weft_token_logprobs {
    weft_logprob token;
    uint32_t n_top;
    weft_logprob top[WEFT_TOP_LOGPROBS_MAX]; /* best first */
} weft_token_logprobs;

/* What arrived since the last one. Pointers are valid until the next poll, wait or release. */
typedef struct weft_event {
    const char *text; /* whole characters; what may become a stop string is held back */
    size_t text_len;
    const weft_token_logprobs *logprobs; /* [n_logprobs] of the new tokens */
    size_t n_logprobs;
    bool is_done; /* the last event of the request; text may still be there */
    weft_finish finish;
} weft_event;

/* Why the cache had no more of a prompt than cached_tokens. */
typedef enum weft_miss {
    WEFT_MISS_NEW,      /* nothing known goes on from there */
    WEFT_MISS_DIVERGED, /* a known text is the same up to position miss_at and then another */
    WEFT_MISS_EVICTED,  /* it was known and has made room for others */
    WEFT_MISS_PARTIAL,  /* what is left is less than a page: a hit cannot be longer */
} weft_miss;
#define WEFT_MISS_COUNT 4u

typedef struct weft_usage {
    uint32_t prompt_tokens, completion_tokens, cached_tokens;
    weft_miss miss;       /* meaningful once it has started */
    uint32_t miss_at;     /* the first position that was not known, at least cached_tokens */
    uint32_t preemptions; /* times it gave its pages up and came back */
    uint64_t seed;
    uint64_t queued_ns, prefill_ns, decode_ns; /* so far */
} weft_usage;

/* WEFT_AGAIN when the queue is full (weft_engine_retry_after_ms says for how long); WEFT_LIMIT when
 * prompt and answer can never fit the context or the cache (the message has the numbers);
 * WEFT_INVALID names the option. */
WEFT_API weft_status weft_request_submit(weft_request **out, weft_engine *en,
                                         const weft_request_options *options, weft_error *err);

/* WEFT_OK with an event, or WEFT_AGAIN when there is nothing new. wait: up to timeout_ms, -1 for
 * ever. After is_done both keep returning WEFT_AGAIN. One thread a request. */
WEFT_API weft_status weft_request_poll(weft_request *rq, weft_event *out);
WEFT_API weft_status weft_request_wait(weft_request *rq, weft_event *out, int timeout_ms);

/* Asks it to end; the last event says WEFT_FINISH_CANCELLED. Any thread. */
WEFT_API void weft_request_cancel(weft_request *rq);
WEFT_API weft_usage weft_request_usage(const weft_request *rq);
WEFT_API const char *weft_request_error(const weft_request *rq); /* "" without */

/* Cancels if still running and frees it once the engine has let go. Accepts NULL; clears *rq.
 * on_ready is not called any more once this has returned. */
WEFT_API void weft_request_release(weft_request **rq);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_ENGINE_H */
