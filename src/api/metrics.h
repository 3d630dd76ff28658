/* metrics.h - the engine's figures in Prometheus' text format, under weft's names or vLLM's. Pure.
 */
#ifndef WEFT_API_METRICS_H
#define WEFT_API_METRICS_H

#include "api/journal.h"
#include "weft/stats.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

typedef enum metrics_names { METRICS_WEFT, METRICS_VLLM } metrics_names;

/* Requests that no engine saw. */
typedef struct metrics_refused {
    uint64_t early;    /* the queue was full */
    uint64_t too_long; /* it was, and they would never have fitted */
    uint64_t bodies;   /* too large */
    uint64_t headers;  /* likewise */
} metrics_refused;

/* Answers that came to an end of their own, each choice one. */
typedef struct metrics_answers {
    weft_histogram prompt_tokens, generated_tokens;
    weft_histogram token_s; /* mean time between two tokens of an answer */
} metrics_answers;

void metrics_answers_init(metrics_answers *a);
void metrics_answers_add(metrics_answers *a, const weft_usage *usage);

typedef struct metrics_source {
    const char *model_id;
    const weft_engine_info *info;   /* NULL while the model is loading: then little is known */
    const weft_engine_stats *stats; /* NULL likewise */
    const journal *journal;
    const metrics_answers *answers;
    metrics_refused refused;
    uint32_t preparing; /* requests that the clerk has */
    uint64_t wakes;     /* of the event thread */
    uint64_t resident_bytes;
    double cpu_s, start_unix_s; /* of the process */
} metrics_source;

void metrics_write(buf *out, metrics_names names, const metrics_source *m);

#endif /* WEFT_API_METRICS_H */
