/* metrics.c - tables of families; a row says where its value lies and what each side calls it.
 *
 *   # HELP name what it counts
 *   # TYPE name counter|gauge|histogram
 *   name{label="value"} number
 *
 * Single numbers and histograms are rows of tables, so that the two sets of names cannot drift
 * apart. What has labels (pages, causes, reasons, statuses) is written by a function each.
 */
#include "api/metrics.h"

#include <stddef.h>
#include <string.h>

#include "api/api_json.h"
#include "base/clock.h"
#include "base/histogram.h"

typedef enum value_kind { U32, U64, F64 } value_kind;

typedef struct number {
    const char *name;      /* NULL: weft has it elsewhere, with labels */
    const char *vllm_name; /* NULL: vLLM has none */
    const char *type, *help;
    value_kind kind;
    size_t offset; /* into weft_engine_stats */
} number;

#define STAT(member) offsetof(weft_engine_stats, member)

static const number numbers[] = {
    {"weft_requests_running", "vllm:num_requests_running", "gauge", "Requests running now.", U32,
     STAT(running)},
    {"weft_requests_waiting", "vllm:num_requests_waiting", "gauge", "Requests waiting now.", U32,
     STAT(waiting)},
    {"weft_waiting_prompt_tokens", NULL, "gauge", "Prompt tokens of the requests waiting now.", U64,
     STAT(waiting_tokens)},
    {"weft_rows_per_second", NULL, "gauge", "Rows run a second of step time, lately.", F64,
     STAT(tokens_per_s)},
    {"weft_prompt_tokens_total", "vllm:prompt_tokens_total", "counter",
     "Prompt tokens of admitted requests, cached ones included.", U64, STAT(prompt_tokens)},
    {"weft_generated_tokens_total", "vllm:generation_tokens_total", "counter", "Tokens generated.",
     U64, STAT(generated_tokens)},
    {"weft_prefix_query_tokens_total", "vllm:prefix_cache_queries_total", "counter",
     "Prompt tokens looked up in the prefix cache.", U64, STAT(prefix_queries)},
    {"weft_prefix_hit_tokens_total", "vllm:prefix_cache_hits_total", "counter",
     "Prompt tokens found in the prefix cache.", U64, STAT(prefix_hits)},
    {"weft_recalled_tokens_total", NULL, "counter",
     "Tokens brought back into the prefix cache from the folder on disk.", U64,
     STAT(recalled_tokens)},
    {"weft_preemptions_total", "vllm:num_preemptions_total", "counter",
     "Times a running request gave its pages up.", U64, STAT(preemptions)},
    {"weft_steps_total", NULL, "counter", "Forward passes run.", U64, STAT(steps)},
};

typedef struct distribution {
    const char *name, *vllm_name, *help;
    size_t offset;
} distribution;

static const distribution distributions[] = {
    {"weft_time_to_first_token_seconds", "vllm:time_to_first_token_seconds",
     "From submitting a request to its first token.", STAT(first_token_s)},
    {"weft_inter_token_seconds", "vllm:inter_token_latency_seconds",
     "Between two tokens of one answer.", STAT(inter_token_s)},
    {"weft_queue_seconds", "vllm:request_queue_time_seconds",
     "From submitting a request to its admission.", STAT(queue_s)},
    {"weft_prefill_seconds", "vllm:request_prefill_time_seconds",
     "From admission to the first token.", STAT(prefill_s)},
    {"weft_decode_seconds", "vllm:request_decode_time_seconds", "From the first token to the last.",
     STAT(decode_s)},
    {"weft_end_to_end_seconds", "vllm:e2e_request_latency_seconds",
     "From submitting a request to its end.", STAT(end_to_end_s)},
    {"weft_step_seconds", NULL, "One forward pass with sampling.", STAT(step_s)},
    {"weft_step_rows", "vllm:iteration_tokens_total", "Rows of one forward pass.", STAT(step_rows)},
};

#define ANSWERS(member) offsetof(metrics_answers, member)

static const distribution answer_distributions[] = {
    {"weft_request_prompt_tokens", "vllm:request_prompt_tokens", "Prompt tokens of an answer.",
     ANSWERS(prompt_tokens)},
    {"weft_request_generated_tokens", "vllm:request_generation_tokens", "Tokens of an answer.",
     ANSWERS(generated_tokens)},
    {"weft_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
     "Mean time between two tokens of an answer.", ANSWERS(token_s)},
};

void metrics_answers_init(metrics_answers *a) {
    histogram_init(&a->prompt_tokens, histogram_bounds_n);
    histogram_init(&a->generated_tokens, histogram_bounds_n);
    histogram_init(&a->token_s, histogram_bounds_s);
}

void metrics_answers_add(metrics_answers *a, const weft_usage *u) {
    histogram_add(&a->prompt_tokens, u->prompt_tokens);
    histogram_add(&a->generated_tokens, u->completion_tokens);
    if (u->completion_tokens > 1) {
        histogram_add(&a->token_s, clock_seconds(u->decode_ns) / (u->completion_tokens - 1));
    }
}

static const char *const miss_names[WEFT_MISS_COUNT] = {
    [WEFT_MISS_NEW] = "new",
    [WEFT_MISS_DIVERGED] = "diverged",
    [WEFT_MISS_EVICTED] = "evicted",
    [WEFT_MISS_PARTIAL] = "partial_page",
};

/* Causes of the HTTP layer, behind those of the engine. */
#define REFUSED_BODY WEFT_REJECT_COUNT
#define REFUSED_HEADERS (WEFT_REJECT_COUNT + 1)
#define REFUSED_COUNT (WEFT_REJECT_COUNT + 2)

static const char *const reject_names[REFUSED_COUNT] = {
    [WEFT_REJECT_QUEUE] = "queue_full",  [WEFT_REJECT_QUEUE_TOKENS] = "queue_tokens",
    [WEFT_REJECT_TOO_LONG] = "too_long", [WEFT_REJECT_INVALID] = "invalid",
    [REFUSED_BODY] = "body_too_large",   [REFUSED_HEADERS] = "headers_too_large",
};

static const char *const finish_names[WEFT_FINISH_COUNT] = {
    [WEFT_FINISH_STOP] = "stop",           [WEFT_FINISH_LENGTH] = "length",
    [WEFT_FINISH_CANCELLED] = "cancelled", [WEFT_FINISH_ERROR] = "error",
    [WEFT_FINISH_DEADLINE] = "deadline",
};

/* vLLM knows three reasons. */
static const char *const vllm_finish_names[WEFT_FINISH_COUNT] = {
    [WEFT_FINISH_STOP] = "stop",
    [WEFT_FINISH_LENGTH] = "length",
    [WEFT_FINISH_CANCELLED] = "abort",
};

/* ---- lines ---- */

static void begin_family(buf *out, const char *name, const char *type, const char *help) {
    buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A name or a path as a label's value: JSON's escapes are those of Prometheus, but for the rare
 * \u of control characters, which no value of ours holds. */
static void append_label(buf *out, const char *label, const char *value) {
    buf_printf(out, "%s=\"", label);
    api_json_escape(out, str_from_cstr(value));
    buf_append_char(out, '"');
}

/* "{model_name="..."}" for vLLM, whose every series has it; "" for weft. */
static void make_labels(buf *labels, metrics_names names, const metrics_source *m) {
    if (names == METRICS_VLLM) {
        append_label(labels, "model_name", m->model_id);
        buf_append_cstr(labels, ",engine=\"0\"");
    }
}

static void append_braced(buf *out, const buf *labels) {
    if (labels->len > 0) {
        buf_printf(out, "{%s}", buf_cstr(labels));
    }
}

static void write_number(buf *out, const number *n, const char *name, const buf *labels,
                         const weft_engine_stats *s) {
    const char *at = (const char *)s + n->offset;
    begin_family(out, name, n->type, n->help);
    buf_append_cstr(out, name);
    append_braced(out, labels);
    switch (n->kind) {
    case U32: buf_printf(out, " %u\n", *(const uint32_t *)(const void *)at); break;
    case U64:
        buf_printf(out, " %llu\n", (unsigned long long)*(const uint64_t *)(const void *)at);
        break;
    case F64: buf_printf(out, " %.9g\n", *(const double *)(const void *)at); break;
    }
}

static void write_histogram(buf *out, const char *name, const char *help, const buf *labels,
                            const weft_histogram *h) {
    const char *comma = labels->len > 0 ? "," : "";
    uint64_t below = 0;
    begin_family(out, name, "histogram", help);
    for (uint32_t i = 0; i < WEFT_HISTOGRAM_BUCKETS; i++) {
        below += h->counts[i];
        buf_printf(out, "%s_bucket{%s%sle=\"%g\"} %llu\n", name, buf_cstr(labels), comma,
                   h->bounds[i], (unsigned long long)below);
    }
    buf_printf(out, "%s_bucket{%s%sle=\"+Inf\"} %llu\n", name, buf_cstr(labels), comma,
               (unsigned long long)h->count);
    buf_printf(out, "%s_sum", name);
    append_braced(out, labels);
    buf_printf(out, " %.9g\n%s_count", h->sum, name);
    append_braced(out, labels);
    buf_printf(out, " %llu\n", (unsigned long long)h->count);
}

static void write_answer_histograms(buf *out, bool is_vllm, const buf *labels,
                                    const metrics_answers *a) {
    for (size_t i = 0; i < WEFT_LEN(answer_distributions); i++) {
        const distribution *d = &answer_distributions[i];
        write_histogram(out, is_vllm ? d->vllm_name : d->name, d->help, labels,
                        (const void *)((const char *)a + d->offset));
    }
}

/* One series for each name that is there. */
static void write_causes(buf *out, const char *family, const char *help, const char *label,
                         const char *const *names, const uint64_t *counts, uint32_t n,
                         const buf *labels) {
    begin_family(out, family, "counter", help);
    for (uint32_t i = 0; i < n; i++) {
        if (names[i] != NULL) {
            buf_printf(out, "%s{%s%s%s=\"%s\"} %llu\n", family, buf_cstr(labels),
                       labels->len > 0 ? "," : "", label, names[i], (unsigned long long)counts[i]);
        }
    }
}

/* ---- weft's own ---- */

static void write_pages(buf *out, const weft_engine_stats *s) {
    begin_family(out, "weft_kv_pages", "gauge",
                 "Pages of the KV cache by group: in use, only cached, free.");
    for (uint32_t g = 0; g < s->n_groups; g++) {
        const weft_pages *p = &s->pages[g];
        const uint32_t counts[] = {p->used, p->cached, p->total - p->used - p->cached};
        static const char *const states[] = {"used", "cached", "free"};
        for (uint32_t i = 0; i < WEFT_LEN(states); i++) {
            buf_printf(out, "weft_kv_pages{group=\"%u\",window=\"%u\",state=\"%s\"} %u\n", g,
                       p->window, states[i], counts[i]);
        }
    }
}

static void write_memory(buf *out, const weft_engine_info *info) {
    const weft_memory *planned = &info->planned, *actual = &info->actual;
    const struct {
        const char *part;
        uint64_t planned, actual;
    } rows[] = {
        {"weights", planned->weights_bytes, actual->weights_bytes},
        {"packed_extra", planned->packed_extra_bytes, actual->packed_extra_bytes},
        {"kv_pool", planned->kv_pool_bytes, actual->kv_pool_bytes},
        {"state_pool", planned->state_pool_bytes, actual->state_pool_bytes},
        {"scratch", planned->scratch_bytes, actual->scratch_bytes},
        {"process", planned->process_bytes, actual->process_bytes},
    };
    begin_family(out, "weft_memory_planned_bytes", "gauge", "Memory by the plan.");
    for (size_t i = 0; i < WEFT_LEN(rows); i++) {
        buf_printf(out, "weft_memory_planned_bytes{part=\"%s\"} %llu\n", rows[i].part,
                   (unsigned long long)rows[i].planned);
    }
    begin_family(out, "weft_memory_actual_bytes", "gauge", "Memory as it was allocated.");
    for (size_t i = 0; i < WEFT_LEN(rows); i++) {
        buf_printf(out, "weft_memory_actual_bytes{part=\"%s\"} %llu\n", rows[i].part,
                   (unsigned long long)rows[i].actual);
    }
}

static void write_answers(buf *out, const journal *j) {
    begin_family(out, "weft_http_requests_total", "counter",
                 "Requests answered, by endpoint and status; 499: the client left.");
    for (uint32_t i = 0; i < j->n_statuses; i++) {
        for (uint32_t e = 0; e < JOURNAL_ENDPOINTS; e++) {
            buf_printf(out, "weft_http_requests_total{endpoint=\"%s\",code=\"%d\"} %llu\n",
                       journal_endpoint_name((journal_endpoint)e), j->statuses[i].status,
                       (unsigned long long)j->statuses[i].counts[e]);
        }
    }
}

/* Also while there is no engine: the HTTP layer refuses on its own. */
static void write_refused(buf *out, const metrics_source *m, const buf *labels) {
    uint64_t counts[REFUSED_COUNT] = {0};
    if (m->stats != NULL) {
        memcpy(counts, m->stats->rejected, sizeof m->stats->rejected);
    }
    counts[WEFT_REJECT_QUEUE] += m->refused.early;
    counts[WEFT_REJECT_TOO_LONG] += m->refused.too_long;
    counts[REFUSED_BODY] = m->refused.bodies;
    counts[REFUSED_HEADERS] = m->refused.headers;
    write_causes(out, "weft_requests_rejected_total", "Requests refused, by cause.", "cause",
                 reject_names, counts, REFUSED_COUNT, labels);
}

static void write_preparing(buf *out, const metrics_source *m) {
    begin_family(out, "weft_requests_preparing", "gauge",
                 "Large requests being read and tokenised now, or waiting for that.");
    buf_printf(out, "weft_requests_preparing %u\n", m->preparing);
}

static void write_wakes(buf *out, const metrics_source *m) {
    begin_family(out, "weft_http_wakes_total", "counter",
                 "Times the event thread was woken for new tokens, at most once a step, or for a "
                 "large request that was read.");
    buf_printf(out, "weft_http_wakes_total %llu\n", (unsigned long long)m->wakes);
}

static void write_process(buf *out, const metrics_source *m) {
    begin_family(out, "process_resident_memory_bytes", "gauge", "Resident memory.");
    buf_printf(out, "process_resident_memory_bytes %llu\n", (unsigned long long)m->resident_bytes);
    begin_family(out, "process_cpu_seconds_total", "counter", "CPU time, user and system.");
    buf_printf(out, "process_cpu_seconds_total %.3f\n", m->cpu_s);
    begin_family(out, "process_start_time_seconds", "gauge", "Start, in seconds since 1970.");
    buf_printf(out, "process_start_time_seconds %.3f\n", m->start_unix_s);
    begin_family(out, "weft_build_info", "gauge", "1, with the version as a label.");
    buf_append_cstr(out, "weft_build_info{version=\"" WEFT_VERSION "\"} 1\n");
}

static void write_own(buf *out, const metrics_source *m, const buf *labels) {
    const weft_engine_stats *s = m->stats;
    begin_family(out, "weft_model_info", "gauge", "1, with the model's names as labels.");
    buf_append_cstr(out, "weft_model_info{");
    append_label(out, "model", m->model_id);
    buf_append_char(out, ',');
    append_label(out, "arch", m->info->arch);
    buf_append_cstr(out, "} 1\n");
    write_pages(out, s);
    write_memory(out, m->info);
    write_causes(out, "weft_prefix_miss_tokens_total",
                 "Prompt tokens not found in the prefix cache, by cause.", "cause", miss_names,
                 s->prefix_misses, WEFT_MISS_COUNT, labels);
    write_causes(out, "weft_requests_finished_total", "Requests that ran, by how they ended.",
                 "reason", finish_names, s->finished, WEFT_FINISH_COUNT, labels);
}

/* ---- vLLM's ---- */

/* The fullest group: where it is full, nothing more is admitted. */
static double cache_usage(const weft_engine_stats *s) {
    double most = 0;
    for (uint32_t g = 0; g < s->n_groups; g++) {
        const double usage =
            s->pages[g].total > 0 ? (double)s->pages[g].used / s->pages[g].total : 0;
        most = usage > most ? usage : most;
    }
    return most;
}

static void write_vllm(buf *out, const metrics_source *m, const buf *labels) {
    begin_family(out, "vllm:kv_cache_usage_perc", "gauge",
                 "Share of the KV cache's pages in use, 0 to 1.");
    buf_printf(out, "vllm:kv_cache_usage_perc{%s} %.9g\n", buf_cstr(labels), cache_usage(m->stats));
    write_causes(out, "vllm:request_success_total", "Requests that ran, by how they ended.",
                 "finished_reason", vllm_finish_names, m->stats->finished, WEFT_FINISH_COUNT,
                 labels);
}

void metrics_write(buf *out, metrics_names names, const metrics_source *m) {
    const bool is_vllm = names == METRICS_VLLM;
    buf labels;
    buf_init(&labels, MEM_API, 4096);
    make_labels(&labels, names, m);
    for (size_t i = 0; i < WEFT_LEN(numbers) && m->stats != NULL; i++) {
        const char *name = is_vllm ? numbers[i].vllm_name : numbers[i].name;
        if (name != NULL) {
            write_number(out, &numbers[i], name, &labels, m->stats);
        }
    }
    for (size_t i = 0; i < WEFT_LEN(distributions) && m->stats != NULL; i++) {
        const distribution *d = &distributions[i];
        const char *name = is_vllm ? d->vllm_name : d->name;
        if (name != NULL) {
            write_histogram(out, name, d->help, &labels,
                            (const void *)((const char *)m->stats + d->offset));
        }
    }
    write_answer_histograms(out, is_vllm, &labels, m->answers);
    if (m->stats != NULL && is_vllm) {
        write_vllm(out, m, &labels);
    } else if (m->stats != NULL) {
        write_own(out, m, &labels);
    }
    if (!is_vllm) {
        write_refused(out, m, &labels);
        write_preparing(out, m);
        write_wakes(out, m);
        write_answers(out, m->journal);
    }
    write_process(out, m);
    buf_deinit(&labels);
}
