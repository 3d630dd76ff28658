/* load_report.h - figures of load runs, and three ways to show them: table, JSON, plot. Pure.
 *
 * A figure is one number of one run. A point is one load (so many users, or arrivals a second) on
 * one or two servers, each figure the median over the rounds.
 */
#ifndef WEFT_CLI_LOAD_REPORT_H
#define WEFT_CLI_LOAD_REPORT_H

#include "base/buf.h"
#include "cli/load_run.h"

#define LOAD_TARGETS_MAX 2u
#define LOAD_ROUNDS_MAX 100u

const char *load_error_name(load_error e);

/* Durations stand four in a row, for the four percentiles of each kind. */
#define LOAD_FIGURE_LIST(X)                \
    X(SECONDS, "seconds")                  \
    X(REQUESTS_S, "requests_s")            \
    X(OUTPUT_TOK_S, "output_tok_s")        \
    X(TOTAL_TOK_S, "total_tok_s")          \
    X(GOODPUT_S, "goodput_s")              \
    X(GOOD_SHARE, "good_share")            \
    X(PROMPT_TOKENS, "prompt_tokens_mean") \
    X(OUTPUT_TOKENS, "output_tokens_mean") \
    X(CACHED_SHARE, "cached_share")        \
    X(TTFT_MEAN, "ttft_ms_mean")           \
    X(TTFT_P50, "ttft_ms_p50")             \
    X(TTFT_P90, "ttft_ms_p90")             \
    X(TTFT_P99, "ttft_ms_p99")             \
    X(ITL_MEAN, "itl_ms_mean")             \
    X(ITL_P50, "itl_ms_p50")               \
    X(ITL_P90, "itl_ms_p90")               \
    X(ITL_P99, "itl_ms_p99")               \
    X(TPOT_MEAN, "tpot_ms_mean")           \
    X(TPOT_P50, "tpot_ms_p50")             \
    X(TPOT_P90, "tpot_ms_p90")             \
    X(TPOT_P99, "tpot_ms_p99")             \
    X(E2E_MEAN, "e2e_ms_mean")             \
    X(E2E_P50, "e2e_ms_p50")               \
    X(E2E_P90, "e2e_ms_p90")               \
    X(E2E_P99, "e2e_ms_p99")

typedef enum load_figure {
#define X(name, text) LOAD_FIGURE_##name,
    LOAD_FIGURE_LIST(X)
#undef X
        LOAD_FIGURE_COUNT
} load_figure;

typedef struct load_figures {
    double of[LOAD_FIGURE_COUNT];
} load_figures;

load_figures load_figures_from(const load_result *r);
/* Each figure's median by itself; n is at least 1 and at most LOAD_ROUNDS_MAX. */
load_figures load_figures_median(const load_figures *all, uint32_t n);

/* What two servers answered to the same requests. */
typedef struct load_equality {
    uint64_t n_both, n_same; /* answered by both; with the same text */
    double common_sum;       /* of the shares of the longer text before the first difference */
} load_equality;

void load_equality_add(load_equality *e, const load_result *a, const load_result *b);

/* One server at one load. */
typedef struct load_side {
    load_figures figures;
    uint64_t n_asked, n_ok, n_refusals, n_late; /* of all rounds */
    uint64_t errors[LOAD_ERROR_COUNT];
    char error_texts[LOAD_ERROR_COUNT][200];
} load_side;

void load_side_add(load_side *s, const load_result *r);

typedef struct load_point {
    double load; /* users, or conversations a second */
    load_side sides[LOAD_TARGETS_MAX];
    load_equality same;
} load_point;

typedef struct load_report {
    const load_target *targets; /* [n_targets] */
    uint32_t n_targets;
    const load_settings *settings;
    bool is_open;
    uint32_t rounds;
    const load_point *points; /* [n_points] */
    uint32_t n_points;
} load_report;

void load_report_table(const load_report *r, buf *out);
/* An owned object; NULL when memory is out. */
json_t *load_report_json(const load_report *r);

#endif /* WEFT_CLI_LOAD_REPORT_H */
