/* load_run.h - one load on one server: users or arrivals, until enough has been asked.
 *
 *   closed loop   `users` conversations at all times; each asks again as soon as it is answered
 *   open loop     conversations begin at `rate` a second, by a Poisson process, answered or not
 *
 * A request refused with 429 (or 503 with Retry-After) is asked again when the server says, up to
 * retries_max times; its times count from the first attempt, as its user feels them.
 */
#ifndef WEFT_CLI_LOAD_RUN_H
#define WEFT_CLI_LOAD_RUN_H

#include <jansson.h>

#include "cli/load_hist.h"
#include "cli/load_plan.h"

#define LOAD_USERS_MAX 65536u

/* Why requests fail, counted apart. */
#define LOAD_ERROR_LIST(X)                                               \
    X(REFUSED, "refused")   /* 429 or 503, and no more retries */        \
    X(REJECTED, "rejected") /* any other 4xx: the request is at fault */ \
    X(SERVER, "server")     /* any other status */                       \
    X(CONNECTION, "connection")                                          \
    X(TIMEOUT, "timeout")                                                \
    X(BROKEN, "broken") /* an answer that is not whole */

typedef enum load_error {
#define X(name, text) LOAD_##name,
    LOAD_ERROR_LIST(X)
#undef X
        LOAD_ERROR_COUNT
} load_error;

typedef struct load_target {
    const char *url;   /* "http://127.0.0.1:8080", with or without "/v1" */
    const char *key;   /* NULL = none */
    const char *model; /* sent with every request; NULL = none */
} load_target;

typedef struct load_settings {
    load_plan plan;
    bool is_chat, is_streamed, ignores_eos;
    double temperature;
    const json_t *extra; /* an object: further fields of every request; may be NULL */
    uint32_t users;      /* of a closed loop; of an open one, the most at once */
    double rate;         /* conversations a second; 0 = closed loop */
    uint64_t requests;   /* stop asking after so many ... */
    double duration_s;   /* ... or so long; 0 = no limit of this kind */
    double timeout_s;
    uint32_t retries_max;
    double slo_ttft_ms, slo_itl_ms, slo_e2e_ms; /* of a good answer; 0 = no limit */
    uint64_t first_conversation;                /* conversations count from here */
    bool keeps_texts;
} load_settings;

typedef struct load_result {
    double seconds; /* from the first request to the last answer */
    uint64_t n_asked, n_ok, n_good;
    uint64_t errors[LOAD_ERROR_COUNT];
    char error_texts[LOAD_ERROR_COUNT][200]; /* of the first of each kind */
    uint64_t n_refusals;                     /* answers that were 429, retried or not */
    uint64_t n_late; /* arrivals of an open loop that had to wait for a free user */
    uint64_t prompt_tokens, cached_tokens, output_tokens;
    uint64_t n_counted; /* answers with usage */
    uint32_t in_flight_most;
    load_hist ttft, itl, tpot, e2e;
    char **texts; /* [n_texts] when kept: by conversation and turn; NULL where it failed */
    size_t n_texts;
} load_result;

/* Told about ten times a second. */
typedef void load_progress_fn(void *user, const load_result *so_far, double seconds,
                              uint32_t in_flight);

/* *out must be given to load_result_deinit whatever is returned. */
weft_status load_run(load_result *out, const load_target *t, const load_settings *s,
                     load_progress_fn *progress, void *user, weft_error *err) WEFT_NODISCARD;
void load_result_deinit(load_result *r);

/* The first model that the server lists; freed with mem_free. */
weft_status load_model_find(char **out, const load_target *t, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_CLI_LOAD_RUN_H */
