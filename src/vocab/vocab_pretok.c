/* vocab_pretok.c - running a rule over a text. The rules themselves are in vocab_pretok_tables.c.
 *
 * A stage sees each piece of the stage before it as a text of its own: look-ahead ends at the
 * piece, as it does in the tokenizers that the rules come from. Recursion goes one level a stage,
 * at most VOCAB_PRETOK_STAGES_MAX deep.
 *
 * The pattern of a stage that groups digits in threes finds the whole number; vocab_threes groups.
 */
#include "vocab/vocab_pretok.h"

#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/vocab_pretok_tables.h"
#include "vocab/vocab_threes.h"

struct vocab_pretok {
    const vocab_pretok_rule *rule;
    uint32_t flags;
    uint32_t n_stages;
    regex *stages[VOCAB_PRETOK_STAGES_MAX];
};

typedef struct cutter {
    const vocab_pretok *pretok;
    regex_scratch *scratch;
    vocab_pretok_fn *sink;
    void *context;
} cutter;

static bool cut(const cutter *c, uint32_t stage, str piece);
static bool cut_threes(const cutter *c, uint32_t stage, str number);
static bool cut_borders(const cutter *c, uint32_t stage, str piece, size_t *done, size_t from,
                        size_t to);

weft_status vocab_pretok_create(vocab_pretok **out, str name, weft_error *err) {
    const vocab_pretok_name *entry = vocab_pretok_names;
    while (entry->name != NULL && !str_eq_cstr(name, entry->name)) {
        entry++;
    }
    if (entry->name == NULL) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "pre-tokenizer '" STR_FMT "' (metadata key 'tokenizer.ggml.pre') is not "
                         "supported; the names that are stand in src/vocab/vocab_pretok_tables.c",
                         STR_ARG(name));
    }
    vocab_pretok *p = mem_zalloc(MEM_VOCAB, 1, sizeof *p);
    if (p == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for pre-tokenizer '%s'", entry->name);
    }
    p->rule = &vocab_pretok_rules[entry->rule];
    p->flags = entry->flags;
    while (p->n_stages < VOCAB_PRETOK_STAGES_MAX && p->rule->stages[p->n_stages].pattern != NULL) {
        const str pattern = str_from_cstr(p->rule->stages[p->n_stages].pattern);
        const weft_status status = regex_compile(&p->stages[p->n_stages], pattern, err);
        if (status != WEFT_OK) {
            vocab_pretok_destroy(&p);
            return status;
        }
        p->n_stages++;
    }
    *out = p;
    return WEFT_OK;
}

void vocab_pretok_destroy(vocab_pretok **p) {
    if (p == NULL || *p == NULL) {
        return;
    }
    for (size_t i = 0; i < VOCAB_PRETOK_STAGES_MAX; i++) {
        regex_destroy(&(*p)->stages[i]);
    }
    mem_free(*p);
    *p = NULL;
}

uint32_t vocab_pretok_flags_of(const vocab_pretok *p) { return p->flags; }

bool vocab_pretok_split(const vocab_pretok *p, regex_scratch *scratch, str text,
                        vocab_pretok_fn *sink, void *context) {
    const cutter c = {p, scratch, sink, context};
    return text.len == 0 || cut(&c, 0, text);
}

const char *vocab_pretok_name_at(size_t i) { return vocab_pretok_names[i].name; }

static bool cut(const cutter *c, uint32_t stage, str piece) {
    if (stage == c->pretok->n_stages) {
        return c->sink(c->context, piece);
    }
    const vocab_pretok_stage *rule = &c->pretok->rule->stages[stage];
    size_t done = 0; /* everything before is cut */
    size_t from = 0; /* where the next match is looked for */
    size_t a;
    size_t b;
    while (from < piece.len &&
           regex_find(c->pretok->stages[stage], c->scratch, piece, from, &a, &b)) {
        if (rule->match == BEFORE_THREES) {
            if (!cut_borders(c, stage, piece, &done, a, b)) {
                return false;
            }
            from = b;
            continue;
        }
        if (a > done && !cut(c, stage + 1, str_from(piece.data + done, a - done))) {
            return false;
        }
        done = a;
        if (a == b) { /* an empty match cuts without taking anything */
            if (a >= piece.len) {
                break;
            }
            size_t n;
            (void)utf8_decode(str_from(piece.data + a, piece.len - a), &n);
            from = a + n;
            continue;
        }
        const str match = str_from(piece.data + a, b - a);
        if (!(rule->match == IN_THREES ? cut_threes(c, stage, match) : cut(c, stage + 1, match))) {
            return false;
        }
        done = b;
        from = b;
    }
    return done == piece.len || cut(c, stage + 1, str_from(piece.data + done, piece.len - done));
}

static bool cut_threes(const cutter *c, uint32_t stage, str number) {
    vocab_threes groups = vocab_threes_of(number);
    str group;
    while (vocab_threes_next(&groups, &group)) {
        if (!cut(c, stage + 1, group)) {
            return false;
        }
    }
    return true;
}

/* Cuts before each whole group of the number in piece; what is behind the last cut is not done. */
static bool cut_borders(const cutter *c, uint32_t stage, str piece, size_t *done, size_t from,
                        size_t to) {
    vocab_threes groups = vocab_threes_of(str_slice(piece, from, to));
    bool is_whole = groups.n_left % 3 == 0;
    str group;
    for (size_t at = from; vocab_threes_next(&groups, &group); at += group.len) {
        if (is_whole && at > *done) {
            if (!cut(c, stage + 1, str_slice(piece, *done, at))) {
                return false;
            }
            *done = at;
        }
        is_whole = true;
    }
    return true;
}
