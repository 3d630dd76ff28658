/* load_report.c - the table shows what people look at first; the JSON has every figure.
 *
 * With two servers the table has a row for each at every load and a third with the ratios, and a
 * line that says how many answers were the same.
 */
#include "cli/load_report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

static const char *const figure_names[] = {
#define X(name, text) text,
    LOAD_FIGURE_LIST(X)
#undef X
};

const char *load_error_name(load_error e) {
    static const char *const names[] = {
#define X(name, text) text,
        LOAD_ERROR_LIST(X)
#undef X
    };
    return names[e];
}

/* ---- figures ---- */

static void set_durations(double *mean_p50_p90_p99, const load_hist *h) {
    mean_p50_p90_p99[0] = load_hist_mean(h);
    mean_p50_p90_p99[1] = load_hist_percentile(h, 0.5);
    mean_p50_p90_p99[2] = load_hist_percentile(h, 0.9);
    mean_p50_p90_p99[3] = load_hist_percentile(h, 0.99);
}

static double share(double part, double whole) { return whole > 0 ? part / whole : 0; }

load_figures load_figures_from(const load_result *r) {
    load_figures f = {0};
    const double output = (double)r->output_tokens, prompt = (double)r->prompt_tokens;
    f.of[LOAD_FIGURE_SECONDS] = r->seconds;
    f.of[LOAD_FIGURE_REQUESTS_S] = share((double)r->n_ok, r->seconds);
    f.of[LOAD_FIGURE_OUTPUT_TOK_S] = share(output, r->seconds);
    f.of[LOAD_FIGURE_TOTAL_TOK_S] = share(output + prompt, r->seconds);
    f.of[LOAD_FIGURE_GOODPUT_S] = share((double)r->n_good, r->seconds);
    f.of[LOAD_FIGURE_GOOD_SHARE] = share((double)r->n_good, (double)r->n_asked);
    f.of[LOAD_FIGURE_PROMPT_TOKENS] = share(prompt, (double)r->n_counted);
    f.of[LOAD_FIGURE_OUTPUT_TOKENS] = share(output, (double)r->n_ok);
    f.of[LOAD_FIGURE_CACHED_SHARE] = share((double)r->cached_tokens, prompt);
    set_durations(&f.of[LOAD_FIGURE_TTFT_MEAN], &r->ttft);
    set_durations(&f.of[LOAD_FIGURE_ITL_MEAN], &r->itl);
    set_durations(&f.of[LOAD_FIGURE_TPOT_MEAN], &r->tpot);
    set_durations(&f.of[LOAD_FIGURE_E2E_MEAN], &r->e2e);
    return f;
}

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

load_figures load_figures_median(const load_figures *all, uint32_t n) {
    load_figures out = {0};
    double values[LOAD_ROUNDS_MAX];
    WEFT_ASSERT(n >= 1 && n <= LOAD_ROUNDS_MAX);
    for (uint32_t f = 0; f < LOAD_FIGURE_COUNT; f++) {
        for (uint32_t i = 0; i < n; i++) {
            values[i] = all[i].of[f];
        }
        qsort(values, n, sizeof *values, compare_doubles);
        out.of[f] = (values[(n - 1) / 2] + values[n / 2]) / 2;
    }
    return out;
}

/* ---- sides and equality ---- */

void load_side_add(load_side *s, const load_result *r) {
    s->n_asked += r->n_asked;
    s->n_ok += r->n_ok;
    s->n_refusals += r->n_refusals;
    s->n_late += r->n_late;
    for (uint32_t e = 0; e < LOAD_ERROR_COUNT; e++) {
        if (s->errors[e] == 0 && r->errors[e] > 0) {
            memcpy(s->error_texts[e], r->error_texts[e], sizeof s->error_texts[e]);
        }
        s->errors[e] += r->errors[e];
    }
}

void load_equality_add(load_equality *e, const load_result *a, const load_result *b) {
    for (size_t i = 0; i < a->n_texts && i < b->n_texts; i++) {
        const char *x = a->texts[i], *y = b->texts[i];
        size_t n = 0;
        if (x == NULL || y == NULL) {
            continue;
        }
        while (x[n] != 0 && x[n] == y[n]) {
            n++;
        }
        const size_t x_len = n + strlen(x + n), y_len = n + strlen(y + n);
        const size_t longer = x_len > y_len ? x_len : y_len;
        e->n_both++;
        e->n_same += x[n] == y[n];
        e->common_sum += longer > 0 ? (double)n / (double)longer : 1;
    }
}

/* ---- table ---- */

static uint64_t n_failed(const load_side *s) {
    uint64_t n = 0;
    for (uint32_t e = 0; e < LOAD_ERROR_COUNT; e++) {
        n += s->errors[e];
    }
    return n;
}

static bool has_slo(const load_settings *s) {
    return s->slo_ttft_ms > 0 || s->slo_itl_ms > 0 || s->slo_e2e_ms > 0;
}

static void append_row(const load_report *r, const load_point *p, uint32_t side, buf *out) {
    const load_side *s = &p->sides[side];
    const double *f = s->figures.of;
    buf_printf(out, "%8g ", p->load);
    if (r->n_targets > 1) {
        buf_printf(out, "  %c ", 'A' + (char)side);
    }
    buf_printf(out, "%6llu %6llu %6llu %10.1f %10.1f ", (unsigned long long)s->n_ok,
               (unsigned long long)n_failed(s), (unsigned long long)s->n_refusals,
               f[LOAD_FIGURE_OUTPUT_TOK_S], f[LOAD_FIGURE_TOTAL_TOK_S]);
    buf_printf(out, "%8.0f %8.0f %8.1f %8.1f %9.0f %9.0f", f[LOAD_FIGURE_TTFT_P50],
               f[LOAD_FIGURE_TTFT_P99], f[LOAD_FIGURE_ITL_P50], f[LOAD_FIGURE_ITL_P99],
               f[LOAD_FIGURE_E2E_P50], f[LOAD_FIGURE_E2E_P99]);
    if (has_slo(r->settings)) {
        buf_printf(out, " %8.2f %5.0f %%", f[LOAD_FIGURE_GOODPUT_S],
                   100 * f[LOAD_FIGURE_GOOD_SHARE]);
    }
    buf_append_char(out, '\n');
}

static double ratio(const load_point *p, load_figure f) {
    return share(p->sides[0].figures.of[f], p->sides[1].figures.of[f]);
}

static void append_ratios(const load_point *p, buf *out) {
    buf_printf(out, "%8s A/B %20s %9.2fx %9.2fx ", "", "", ratio(p, LOAD_FIGURE_OUTPUT_TOK_S),
               ratio(p, LOAD_FIGURE_TOTAL_TOK_S));
    buf_printf(out, "%7.2fx %7.2fx %7.2fx %7.2fx %8.2fx %8.2fx\n", ratio(p, LOAD_FIGURE_TTFT_P50),
               ratio(p, LOAD_FIGURE_TTFT_P99), ratio(p, LOAD_FIGURE_ITL_P50),
               ratio(p, LOAD_FIGURE_ITL_P99), ratio(p, LOAD_FIGURE_E2E_P50),
               ratio(p, LOAD_FIGURE_E2E_P99));
}

static void append_errors(const load_report *r, const load_point *p, buf *out) {
    for (uint32_t side = 0; side < r->n_targets; side++) {
        for (uint32_t e = 0; e < LOAD_ERROR_COUNT; e++) {
            const load_side *s = &p->sides[side];
            if (s->errors[e] > 0) {
                buf_printf(out, "at %g: %s: %llu %s, the first: %s\n", p->load,
                           r->targets[side].url, (unsigned long long)s->errors[e],
                           load_error_name((load_error)e), s->error_texts[e]);
            }
        }
    }
}

static void append_equality(const load_point *p, buf *out) {
    const load_equality *e = &p->same;
    buf_printf(out,
               "at %g: %llu of %llu answers are the same; %.0f %% of the text until they part\n",
               p->load, (unsigned long long)e->n_same, (unsigned long long)e->n_both,
               100 * share(e->common_sum, (double)e->n_both));
}

void load_report_table(const load_report *r, buf *out) {
    const bool is_pair = r->n_targets > 1;
    for (uint32_t i = 0; i < r->n_targets && is_pair; i++) {
        buf_printf(out, "%c: %s\n", 'A' + (char)i, r->targets[i].url);
    }
    buf_printf(out, "%8s %s%6s %6s %6s %10s %10s %8s %8s %8s %8s %9s %9s",
               r->is_open ? "rate" : "users", is_pair ? "    " : "", "ok", "failed", "429",
               "out tok/s", "all tok/s", "ttft p50", "p99", "itl p50", "p99", "e2e p50", "p99");
    buf_append_cstr(out, has_slo(r->settings) ? "   good/s    good\n" : "\n");
    for (uint32_t i = 0; i < r->n_points; i++) {
        for (uint32_t side = 0; side < r->n_targets; side++) {
            append_row(r, &r->points[i], side, out);
        }
        if (is_pair) {
            append_ratios(&r->points[i], out);
        }
    }
    for (uint32_t i = 0; i < r->n_points; i++) {
        if (is_pair) {
            append_equality(&r->points[i], out);
        }
        append_errors(r, &r->points[i], out);
    }
}

/* ---- JSON ---- */

static json_t *side_json(const load_report *r, const load_point *p, uint32_t side) {
    const load_side *s = &p->sides[side];
    json_t *out = json_pack("{s:s, s:f, s:I, s:I, s:I, s:I}", "url", r->targets[side].url,
                            r->is_open ? "rate" : "concurrency", p->load, "requests",
                            (json_int_t)s->n_asked, "ok", (json_int_t)s->n_ok, "refusals_429",
                            (json_int_t)s->n_refusals, "late_arrivals", (json_int_t)s->n_late);
    json_t *errors = json_object();
    for (uint32_t e = 0; e < LOAD_ERROR_COUNT; e++) {
        json_object_set_new(errors, load_error_name((load_error)e),
                            json_integer((json_int_t)s->errors[e]));
    }
    json_object_set_new(out, "errors", errors);
    for (uint32_t f = 0; f < LOAD_FIGURE_COUNT; f++) {
        json_object_set_new(out, figure_names[f], json_real(s->figures.of[f]));
    }
    return out;
}

static json_t *pair_json(const load_point *p) {
    json_t *ratios = json_object();
    for (uint32_t f = 0; f < LOAD_FIGURE_COUNT; f++) {
        json_object_set_new(ratios, figure_names[f], json_real(ratio(p, (load_figure)f)));
    }
    return json_pack("{s:f, s:I, s:I, s:f, s:o}", "load", p->load, "answers_of_both",
                     (json_int_t)p->same.n_both, "answers_the_same", (json_int_t)p->same.n_same,
                     "common_share", share(p->same.common_sum, (double)p->same.n_both), "ratios",
                     ratios);
}

json_t *load_report_json(const load_report *r) {
    json_t *results = json_array(), *comparison = json_array();
    for (uint32_t i = 0; i < r->n_points; i++) {
        for (uint32_t side = 0; side < r->n_targets; side++) {
            json_array_append_new(results, side_json(r, &r->points[i], side));
        }
        if (r->n_targets > 1) {
            json_array_append_new(comparison, pair_json(&r->points[i]));
        }
    }
    return json_pack("{s:s, s:s?, s:s, s:i, s:o, s:o}", "loop", r->is_open ? "open" : "closed",
                     "model", r->targets[0].model, "endpoint",
                     r->settings->is_chat ? "chat" : "completions", "rounds", (int)r->rounds,
                     "results", results, "comparison", comparison);
}
