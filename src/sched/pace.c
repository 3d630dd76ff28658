/* pace.c - a linear model of a step's time, fitted as it goes.
 *
 * Steps of decode rows alone are measured by powers of two of their rows. For rows between, and
 * sizes that were never met, each row counts as one of a prompt: both pass through the same
 * products. A prompt row's share is what mixed steps took beyond that, over all rows of late (a
 * step with few of them says little: kernels work in tiles), so an error of the one is made good by
 * the other at the point where it is used.
 *
 * Two guards against a bad measurement: an observation counts for at most four times what was
 * expected, and the rows allowed for a prompt at most double from one mixed step to the next.
 */
#include "sched/pace.h"

#include <stddef.h>

#define DECODE_WEIGHT 0.2    /* of the newest observation */
#define ROWS_KEPT 0.7        /* of what was known, at the next observation */
#define DECODE_SURPRISE 1.25 /* few are measured while prompts run: one bad one must not count */
#define ROWS_SURPRISE 4.0

void pace_init(pace *p, uint64_t target_ns) { *p = (pace){.target_ns = target_ns}; }

static uint32_t size_of(uint32_t n_decode) {
    uint32_t i = 0;
    while (i + 1 < PACE_SIZES && (2u << i) <= n_decode) {
        i++;
    }
    return i;
}

/* The nearest size that was measured; NULL without any. */
static const pace_size *nearest(const pace *p, uint32_t n_decode) {
    const uint32_t at = size_of(n_decode);
    for (uint32_t d = 0; d < PACE_SIZES; d++) {
        if (at >= d && p->sizes[at - d].ns > 0) {
            return &p->sizes[at - d];
        }
        if (at + d < PACE_SIZES && p->sizes[at + d].ns > 0) {
            return &p->sizes[at + d];
        }
    }
    return NULL;
}

static double row_ns(const pace *p) { return p->rows > 0 ? p->rows_ns / p->rows : 0; }

/* Time of a step of decode rows alone, at least their share of one that was measured; 0 when none
 * was. */
static double decode_ns(const pace *p, uint32_t n_decode) {
    const pace_size *known = nearest(p, n_decode);
    if (known == NULL) {
        return 0;
    }
    const double ns = known->ns + (n_decode - known->rows) * row_ns(p);
    const double least = known->ns * (n_decode < known->rows ? n_decode / known->rows : 1);
    return ns > least ? ns : least;
}

/* How long the step may take beyond its decode rows. */
static double room_ns(const pace *p, double base, uint32_t n_prompts) {
    if (p->target_ns != 0) {
        return (double)p->target_ns - base;
    }
    const uint32_t n_eased = n_prompts < PACE_EASED_MAX ? n_prompts : PACE_EASED_MAX;
    const double share = PACE_SHARE * base * n_prompts, ease = PACE_EASE_NS * n_eased - base;
    return share > ease ? share : ease;
}

uint32_t pace_rows(pace *p, uint32_t n_decode, uint32_t n_prompts, uint32_t room) {
    if (n_decode == 0 || n_prompts == 0) {
        return room;
    }
    const double base = decode_ns(p, n_decode);
    if ((base == 0 && p->target_ns == 0) || p->n_mixed >= PACE_REFRESH) {
        return 0;
    }
    const uint32_t floor = PACE_ROWS_MIN < room ? PACE_ROWS_MIN : room;
    double rows = p->rows > 0 ? room_ns(p, base, n_prompts) / row_ns(p) : 0;
    if (p->rows_each > 0 && rows > 2.0 * p->rows_each * n_prompts) {
        rows = 2.0 * p->rows_each * n_prompts;
    }
    const uint32_t n = rows <= floor ? floor : rows >= room ? room : (uint32_t)rows;
    p->rows_each = (double)n / n_prompts;
    return n;
}

static double at_most(double value, double most) { return value < most ? value : most; }

static void observe_decode(pace *p, uint32_t n_decode, double took) {
    pace_size *size = &p->sizes[size_of(n_decode)];
    if (size->ns == 0) {
        *size = (pace_size){n_decode, took};
    } else {
        size->rows += DECODE_WEIGHT * (n_decode - size->rows);
        size->ns += DECODE_WEIGHT * (at_most(took, DECODE_SURPRISE * size->ns) - size->ns);
    }
}

static void observe_rows(pace *p, uint32_t n_prompt, double took) {
    const double expected = row_ns(p) * n_prompt;
    p->rows = ROWS_KEPT * p->rows + n_prompt;
    p->rows_ns =
        ROWS_KEPT * p->rows_ns + (expected > 0 ? at_most(took, ROWS_SURPRISE * expected) : took);
}

void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, uint64_t ns) {
    const double took = (double)ns + 1;
    if (n_prompt == 0) {
        observe_decode(p, n_decode, took);
        p->n_mixed = 0;
    } else if (n_decode > 0) {
        const double more = took - decode_ns(p, n_decode);
        observe_rows(p, n_prompt, more > took / 100 ? more : took / 100);
        p->n_mixed++;
    } else if (p->rows == 0) {
        observe_rows(p, n_prompt, took); /* reads the weights as well: a cautious beginning */
    }
}
