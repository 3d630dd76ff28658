/* stats.h - what an engine has done since it was opened, as plain numbers for whoever draws them.
 *
 *     weft_engine_stats s;
 *     weft_engine_stats_now(en, &s);
 *     printf("%u running, half of the first tokens within %.3f s\n", s.running,
 *            weft_histogram_quantile(&s.first_token_s, 0.5));
 *
 * Counters only grow. The struct is a copy: it stays as it was when it was taken.
 */
#ifndef WEFT_STATS_H
#define WEFT_STATS_H

#include <stdint.h>

#include "weft/engine.h"
#include "weft/histogram.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WEFT_STATS_GROUPS_MAX 4u

/* The value that a share q of the observations does not exceed, interpolated within its bucket; 0
 * without observations. */
WEFT_API double weft_histogram_quantile(const weft_histogram *h, double q);

typedef enum weft_reject {
    WEFT_REJECT_QUEUE,        /* too many requests wait */
    WEFT_REJECT_QUEUE_TOKENS, /* their prompts are too long together */
    WEFT_REJECT_TOO_LONG,     /* can never fit the context or the cache */
    WEFT_REJECT_INVALID,      /* an option out of range */
} weft_reject;
#define WEFT_REJECT_COUNT 4u

/* Pages of one KV group: used ones are in block tables, cached ones only in the prefix tree. */
typedef struct weft_pages {
    uint32_t window; /* 0 = full attention */
    uint32_t total, used, cached;
} weft_pages;

typedef struct weft_engine_stats {
    /* now */
    uint32_t running, waiting;
    uint64_t waiting_tokens; /* prompt tokens of those waiting */
    uint32_t n_groups;
    weft_pages pages[WEFT_STATS_GROUPS_MAX]; /* [n_groups] */
    double tokens_per_s;                     /* rows run a second of step time, lately */

    /* since open */
    uint64_t prompt_tokens; /* of admitted requests, cached or run */
    uint64_t generated_tokens;
    uint64_t prefix_queries;                 /* prompt tokens looked up in the prefix tree */
    uint64_t prefix_hits;                    /* of those, found */
    uint64_t prefix_misses[WEFT_MISS_COUNT]; /* the rest by cause; hits + misses = queries */
    uint64_t recalled_tokens;                /* brought back into the tree from the cache folder */
    uint64_t preemptions;
    uint64_t steps;
    uint64_t rejected[WEFT_REJECT_COUNT];
    uint64_t finished[WEFT_FINISH_COUNT];
    weft_histogram first_token_s; /* submit to first token */
    weft_histogram inter_token_s; /* token to token of one answer */
    weft_histogram queue_s;       /* submit to first admission */
    weft_histogram prefill_s;     /* admission to first token */
    weft_histogram decode_s;      /* first token to finish */
    weft_histogram end_to_end_s;  /* submit to finish */
    weft_histogram step_s;        /* one forward with sampling */
    weft_histogram step_rows;     /* rows of one forward */
} weft_engine_stats;

/* Any thread. */
WEFT_API void weft_engine_stats_now(const weft_engine *en, weft_engine_stats *out);

#ifdef __cplusplus
}
#endif

#endif /* WEFT_STATS_H */
