/* load_plan.c - seeds are hashed from what they stand for, so that nothing depends on order.
 *
 * The own part of a prompt is drawn anew from its seed: two prompts part within a word or two, and
 * a server's prefix cache finds nothing but the common beginning that was asked for.
 */
#include "cli/load_plan.h"

#include <math.h>

#define TWO_PI 6.283185307179586

static const char *const words[] = {
    "the",   "of",    "and",    "to",    "in",    "is",    "that",    "for",   "it",    "as",
    "was",   "with",  "be",     "by",    "on",    "not",   "he",      "his",   "but",   "at",
    "are",   "this",  "have",   "from",  "or",    "had",   "an",      "they",  "which", "one",
    "you",   "were",  "all",    "her",   "she",   "there", "would",   "their", "we",    "him",
    "been",  "has",   "when",   "who",   "will",  "no",    "more",    "if",    "out",   "so",
    "said",  "what",  "up",     "its",   "about", "into",  "than",    "them",  "can",   "only",
    "other", "new",   "some",   "could", "time",  "these", "two",     "may",   "then",  "do",
    "first", "any",   "my",     "now",   "such",  "like",  "our",     "over",  "man",   "me",
    "even",  "most",  "made",   "after", "also",  "did",   "many",    "must",  "back",  "years",
    "where", "much",  "your",   "way",   "well",  "down",  "each",    "just",  "those", "people",
    "how",   "too",   "little", "state", "good",  "very",  "make",    "world", "still", "own",
    "see",   "men",   "work",   "long",  "get",   "here",  "between", "both",  "life",  "being",
    "under", "never", "day",    "same",  "know",  "while", "last",    "might", "us",    "great",
};

/* ---- random numbers ---- */

uint64_t load_random_next(uint64_t *random) {
    uint64_t z = *random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

double load_random_unit(uint64_t *random) {
    return (double)(load_random_next(random) >> 11) * 0x1p-53;
}

double load_random_gap(uint64_t *random, double rate) {
    return -log(1.0 - load_random_unit(random)) / rate;
}

/* Box and Muller's, one of the pair. */
static double draw_normal(uint64_t *random) {
    const double u = 1.0 - load_random_unit(random);
    return sqrt(-2.0 * log(u)) * cos(TWO_PI * load_random_unit(random));
}

static uint64_t mix(uint64_t seed, uint64_t a, uint64_t b) {
    uint64_t state = seed;
    state = load_random_next(&state) ^ a;
    state = load_random_next(&state) ^ b;
    return load_random_next(&state);
}

/* ---- lengths ---- */

static bool parse_numbers(str text, char separator, double *out, uint32_t count_max,
                          uint32_t *count) {
    *count = 0;
    for (;;) {
        const size_t at = str_find(text, str_from(&separator, 1), 0);
        if (*count == count_max || !str_parse_f64(str_slice(text, 0, at), &out[*count])) {
            return false;
        }
        (*count)++;
        if (at == SIZE_MAX) {
            return true;
        }
        text = str_slice(text, at + 1, text.len);
    }
}

static bool is_length(double n) { return n >= 1 && n <= LOAD_TOKENS_MAX && n == floor(n); }

weft_status load_lengths_parse(load_lengths *out, const char *text, const char *option,
                               weft_error *err) {
    const str lognormal = STR_LIT("lognormal:");
    const str all = str_from_cstr(text);
    double n[3] = {0, 0, LOAD_TOKENS_MAX};
    uint32_t count = 0;
    bool is_fine = false;
    if (str_starts_with(all, lognormal)) {
        is_fine = parse_numbers(str_slice(all, lognormal.len, all.len), ',', n, 3, &count) &&
                  count >= 2 && is_length(n[0]) && n[1] >= 0 && n[1] <= 10 && is_length(n[2]) &&
                  n[2] >= n[0];
        *out = (load_lengths){LOAD_LOGNORMAL, n[0], n[1], is_fine ? (uint32_t)n[2] : 0};
    } else {
        is_fine = parse_numbers(all, '-', n, 2, &count) && is_length(n[0]) &&
                  (count == 1 || (is_length(n[1]) && n[1] >= n[0]));
        *out = (load_lengths){count == 1 ? LOAD_FIXED : LOAD_UNIFORM, n[0],
                              count == 1 ? n[0] : n[1], LOAD_TOKENS_MAX};
    }
    return is_fine ? WEFT_OK
                   : weft_fail(err, WEFT_INVALID,
                               "option %s is '%s', wanted tokens such as 128, 75-128 or "
                               "lognormal:MEDIAN,SIGMA[,MOST]",
                               option, text);
}

uint32_t load_lengths_draw(const load_lengths *l, uint64_t *random) {
    double n = l->a;
    if (l->shape == LOAD_UNIFORM) {
        n = l->a + floor(load_random_unit(random) * (l->b - l->a + 1));
    } else if (l->shape == LOAD_LOGNORMAL) {
        n = round(l->a * exp(l->b * draw_normal(random)));
    }
    n = n < l->most ? n : l->most;
    return n < 1 ? 1 : (uint32_t)n;
}

/* ---- requests ---- */

load_turn load_plan_turn(const load_plan *p, uint64_t conversation, uint32_t turn) {
    uint64_t random = mix(p->seed, conversation, turn);
    load_turn t = {.prompt_tokens = load_lengths_draw(&p->prompt, &random),
                   .answer_tokens = load_lengths_draw(&p->answer, &random)};
    const double chance = load_random_unit(&random);
    const uint64_t group = load_random_next(&random);
    if (turn == 0 && p->shared_tokens > 0 && chance < p->shared_share) {
        t.shared_tokens = p->shared_tokens < t.prompt_tokens ? p->shared_tokens : t.prompt_tokens;
        t.shared_group = (uint32_t)(group % p->shared_groups);
    }
    t.text_seed = load_random_next(&random);
    return t;
}

static void append_words(buf *out, uint64_t seed, uint32_t n) {
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t drawn = load_random_next(&seed);
        if (out->len > 0) {
            buf_append_char(out, ' ');
        }
        buf_append_cstr(out, words[drawn % WEFT_LEN(words)]);
    }
}

void load_plan_words(buf *out, const load_plan *p, const load_turn *t) {
    if (t->shared_tokens > 0) {
        append_words(out, mix(p->seed, UINT64_MAX, t->shared_group), t->shared_tokens);
    }
    append_words(out, t->text_seed, t->prompt_tokens - t->shared_tokens);
}
