/* load_plan.h - what a load consists of: lengths, texts and moments, all from one seed. Pure.
 *
 * Everything about a turn of a conversation follows from (seed, conversation, turn), never from
 * what was drawn before: two servers, two runs and any order of answers see the same requests.
 *
 * A prompt is made of short English words, each of which is one token in nearly every vocabulary;
 * what the server counted, chat template included, is what reports show.
 */
#ifndef WEFT_CLI_LOAD_PLAN_H
#define WEFT_CLI_LOAD_PLAN_H

#include "base/buf.h"
#include "base/status.h"

#define LOAD_TOKENS_MAX 1000000u

typedef enum load_shape { LOAD_FIXED, LOAD_UNIFORM, LOAD_LOGNORMAL } load_shape;

/* fixed: a. uniform: a to b. lognormal: median a, sigma of the logarithm b, at most `most`. */
typedef struct load_lengths {
    load_shape shape;
    double a, b;
    uint32_t most;
} load_lengths;

/* "128", "75-128", "lognormal:MEDIAN,SIGMA[,MOST]". The message has the option's name. */
weft_status load_lengths_parse(load_lengths *out, const char *text, const char *option,
                               weft_error *err) WEFT_NODISCARD;
uint32_t load_lengths_draw(const load_lengths *l, uint64_t *random); /* at least 1 */

/* ---- random numbers: splitmix64; any state is a seed ---- */

uint64_t load_random_next(uint64_t *random);
double load_random_unit(uint64_t *random); /* in [0, 1) */
/* Seconds to the next arrival of a Poisson process of `rate` a second. */
double load_random_gap(uint64_t *random, double rate);

/* ---- requests ---- */

typedef struct load_plan {
    uint64_t seed;
    load_lengths prompt, answer; /* tokens of one turn */
    uint32_t shared_tokens;      /* the prompt of a first turn begins with these */
    double shared_share;         /* of the conversations that do */
    uint32_t shared_groups;      /* different beginnings; at least 1 */
    uint32_t turns;              /* requests of one conversation; at least 1 */
} load_plan;

typedef struct load_turn {
    uint32_t prompt_tokens, answer_tokens;
    uint32_t shared_tokens, shared_group; /* 0 tokens: nothing is shared */
    uint64_t text_seed;
} load_turn;

load_turn load_plan_turn(const load_plan *p, uint64_t conversation, uint32_t turn);

/* Appends prompt_tokens words: the group's common beginning, then the turn's own. */
void load_plan_words(buf *out, const load_plan *p, const load_turn *t);

#endif /* WEFT_CLI_LOAD_PLAN_H */
