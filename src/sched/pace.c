/* pace.c - a linear model of a step's time, fitted as it goes.
 *
 * Steps of decode rows alone are measured by powers of two of their rows. For rows between, and
 * sizes that were never met, each row counts as one of a prompt: both pass through the same
 * products. A prompt row's share is what mixed steps took beyond that, over all rows of late (a
 * step with few of them says little: kernels work in tiles), so an error of the one is made good by
 * the other at the point where it is used.
 *
 * What a prompt row adds is the least-squares line through those of late. Its next point lies just
 * beyond the last ones, so it follows a prompt's growth, and is no noisier than an average over
 * half as many steps. Where all depths lie close together they tell nothing of growth, only of
 * noise: the line is the flatter, and no more than an average where they are one. Nothing gets
 * cheaper with depth.
 *
 * Two guards against a bad measurement: an observation counts for at most four times what was
 * expected, and the rows allowed for a prompt at most double from one mixed step to the next.
 */
#include "sched/pace.h"

#include <stddef.h>

#define DECODE_WEIGHT 0.2    /* of the newest observation */
#define ROWS_KEPT 0.85       /* of what was known, at the next observation */
#define DEPTH_DOUBT 128.0    /* positions: depths that spread by less tell little of growth */
#define ROW_LEAST 0.25       /* of what one costs on average, however shallow */
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

/* What a prompt row costs on average; 0 when none was measured. */
static double average_ns(const pace_line *l) { return l->rows > 0 ? l->ns / l->rows : 0; }

/* Likewise, one at this depth. */
static double row_ns(const pace_line *l, double depth) {
    if (l->rows == 0) {
        return 0;
    }
    const double mean_ns = average_ns(l), mean = l->depth / l->rows;
    const double spread = l->depth2 / l->rows - mean * mean;
    const double together = l->depth_ns / l->rows - mean * mean_ns;
    const double slope = together > 0 ? together / (spread + DEPTH_DOUBT * DEPTH_DOUBT) : 0;
    const double ns = mean_ns + slope * (depth - mean), least = ROW_LEAST * mean_ns;
    return ns > least ? ns : least;
}

/* Time of a step of decode rows alone, at least their share of one that was measured; 0 when none
 * was. */
static double decode_ns(const pace *p, uint32_t n_decode) {
    const pace_size *known = nearest(p, n_decode);
    if (known == NULL) {
        return 0;
    }
    const double ns = known->ns + (n_decode - known->rows) * average_ns(&p->line);
    const double least = known->ns * (n_decode < known->rows ? n_decode / known->rows : 1);
    return ns > least ? ns : least;
}

/* How long the step may take beyond its decode rows. */
static double room_ns(const pace *p, double base, uint32_t n_prompts) {
    if (p->target_ns != 0) {
        return (double)p->target_ns - base;
    }
    const uint32_t n_eased = n_prompts < PACE_EASED_MAX ? n_prompts : PACE_EASED_MAX;
    const double share = PACE_SHARE * base * p->n_crowd, ease = PACE_EASE_NS * n_eased - base;
    return share > ease ? share : ease;
}

uint32_t pace_rows(pace *p, uint32_t n_decode, uint32_t n_prompts, double depth, uint32_t room) {
    const double n_left = n_prompts > 0 ? PACE_CROWD_KEPT * p->n_crowd : 0;
    p->n_crowd = n_prompts > n_left ? n_prompts : n_left;
    if (n_decode == 0 || n_prompts == 0) {
        return room;
    }
    const double base = decode_ns(p, n_decode);
    if ((base == 0 && p->target_ns == 0) || p->n_mixed >= PACE_REFRESH) {
        return 0;
    }
    const uint32_t floor = PACE_ROWS_MIN < room ? PACE_ROWS_MIN : room;
    double rows = p->line.rows > 0 ? room_ns(p, base, n_prompts) / row_ns(&p->line, depth) : 0;
    if (p->rows_each > 0 && rows > 2.0 * p->rows_each * p->n_crowd) {
        rows = 2.0 * p->rows_each * p->n_crowd;
    }
    const uint32_t n = rows <= floor ? floor : rows >= room ? room : (uint32_t)rows;
    p->rows_each = n / p->n_crowd;
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

static void observe_rows(pace_line *l, uint32_t n_prompt, double depth, double took) {
    const double expected = row_ns(l, depth) * n_prompt;
    const double ns = expected > 0 ? at_most(took, ROWS_SURPRISE * expected) : took;
    l->rows = ROWS_KEPT * l->rows + n_prompt;
    l->depth = ROWS_KEPT * l->depth + n_prompt * depth;
    l->depth2 = ROWS_KEPT * l->depth2 + n_prompt * depth * depth;
    l->ns = ROWS_KEPT * l->ns + ns;
    l->depth_ns = ROWS_KEPT * l->depth_ns + ns * depth;
}

void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, double depth, uint64_t ns) {
    const double took = (double)ns + 1;
    if (n_prompt == 0) {
        observe_decode(p, n_decode, took);
        p->n_mixed = 0;
    } else if (n_decode > 0) {
        const double more = took - decode_ns(p, n_decode);
        observe_rows(&p->line, n_prompt, depth, more > took / 100 ? more : took / 100);
        p->n_mixed++;
    } else if (p->line.rows == 0) {
        /* reads the weights as well: a cautious beginning */
        observe_rows(&p->line, n_prompt, depth, took);
    }
}
