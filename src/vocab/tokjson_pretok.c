/* tokjson_pretok.c - the pre-tokeniser of a tokenizer.json: cuts a text into words.
 *
 * All splitting is one shape: something finds matches, a text is then a row of spans that match or
 * do not, and a behaviour says which spans are dropped, stay or melt together. The behaviours need
 * to remember one span only, so words stream from step to step without being collected: a step
 * calls the next for each span, at most TOKJSON_STEPS_MAX deep, and behind the last step the word
 * is encoded. A step that writes text has a buffer of its own for it.
 *
 * A pattern means what it means to Oniguruma, where ^ and $ are ends of lines.
 */
#include <jansson.h>

#include "text/utf8.h"
#include "vocab/tokjson.h"
#include "vocab/vocab_threes.h"

#define GPT2_PATTERN \
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define WORD_CLASS "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\x{200C}\\x{200D}"
#define WHITESPACE_PATTERN "[" WORD_CLASS "]+|[^" WORD_CLASS "\\s]+"

/* Spans on their way through a behaviour. */
typedef struct splitter {
    tokjson_run *run;
    uint32_t stage;
    str text;
    bool is_first;
    size_t held_from;
    size_t held_to;
    bool is_holding;
    bool was_match;
} splitter;

static weft_status add(tokjson *t, tokjson_pretok p, weft_error *err);
static weft_status add_pattern(tokjson *t, str pattern, tokjson_pretok p, weft_error *err);
static weft_status add_byte_level(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_split(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_bert(tokjson *t, weft_error *err);
static weft_status add_delimiter(tokjson *t, const json_t *step, weft_error *err);
static weft_status add_scripts(tokjson *t, weft_error *err);
static weft_status read_behavior(const json_t *step, tokjson_behavior *out, weft_error *err);
static bool run_stage(tokjson_run *run, uint32_t stage, str text, bool is_first);
static bool run_metaspace(tokjson_run *run, uint32_t stage, str text, bool is_first);
static bool run_fixed(tokjson_run *run, uint32_t stage, str text, bool is_first);
static bool run_split(tokjson_run *run, uint32_t stage, str text, bool is_first);
static bool split_characters(splitter *s, tokjson_class_fn *characters);
static bool split_matches(splitter *s, const tokjson_pretok *p);
static bool take_number(splitter *s, const vocab_threes_pattern *threes, size_t *done, size_t a,
                        size_t b);
static bool take_span(splitter *s, size_t from, size_t to, bool is_match);
static bool give_span(splitter *s, size_t from, size_t to);
static bool give_held(splitter *s);

weft_status tokjson_pretok_load(tokjson *t, const json_t *step, uint32_t depth, weft_error *err) {
    if (step == NULL || json_is_null(step)) {
        return WEFT_OK;
    }
    const char *type = tokjson_type(step);
    if (strcmp(type, "Sequence") == 0) {
        if (depth >= TOKJSON_DEPTH_MAX) {
            return weft_fail(err, WEFT_LIMIT,
                             "tokenizer.json: pre_tokenizer nested more than %u deep",
                             TOKJSON_DEPTH_MAX);
        }
        const json_t *list = json_object_get(step, "pretokenizers");
        weft_status status = WEFT_OK;
        for (size_t i = 0; i < json_array_size(list) && status == WEFT_OK; i++) {
            status = tokjson_pretok_load(t, json_array_get(list, i), depth + 1, err);
        }
        return status;
    }
    tokjson_pretok p = {.kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_REMOVED};
    if (strcmp(type, "ByteLevel") == 0) {
        return add_byte_level(t, step, err);
    }
    if (strcmp(type, "Metaspace") == 0) {
        return add_metaspace(t, step, err);
    }
    if (strcmp(type, "Split") == 0) {
        return add_split(t, step, err);
    }
    if (strcmp(type, "BertPreTokenizer") == 0) {
        return add_bert(t, err);
    }
    if (strcmp(type, "CharDelimiterSplit") == 0) {
        return add_delimiter(t, step, err);
    }
    if (strcmp(type, "Whitespace") == 0) {
        p.is_inverted = true;
        return add_pattern(t, STR_LIT(WHITESPACE_PATTERN), p, err);
    }
    if (strcmp(type, "WhitespaceSplit") == 0) {
        p.characters = tokjson_is_space;
        return add(t, p, err);
    }
    if (strcmp(type, "Digits") == 0) {
        p.characters = tokjson_is_numeric;
        p.behavior = tokjson_get_bool(step, "individual_digits", false) ? TOKJSON_ISOLATED
                                                                        : TOKJSON_CONTIGUOUS;
        return add(t, p, err);
    }
    if (strcmp(type, "Punctuation") == 0) {
        p.characters = tokjson_is_punctuation;
        p.behavior = TOKJSON_ISOLATED;
        const weft_status status = read_behavior(step, &p.behavior, err);
        return status == WEFT_OK ? add(t, p, err) : status;
    }
    if (strcmp(type, "UnicodeScripts") == 0) {
        return add_scripts(t, err);
    }
    if (strcmp(type, "FixedLength") == 0) {
        const json_int_t length = json_integer_value(json_object_get(step, "length"));
        p.kind = TOKJSON_PRETOK_FIXED;
        p.n_chars = length < 1 || length > (json_int_t)UINT32_MAX ? UINT32_MAX : (uint32_t)length;
        return add(t, p, err);
    }
    return weft_fail(err, WEFT_UNSUPPORTED, "tokenizer.json: pre_tokenizer '%s' is not supported",
                     type);
}

bool tokjson_pretok_run(tokjson_run *run, str text, bool is_first) {
    return text.len == 0 || run_stage(run, 0, text, is_first);
}

static weft_status add(tokjson *t, tokjson_pretok p, weft_error *err) {
    if (t->n_pretoks == TOKJSON_STEPS_MAX) {
        regex_destroy(&p.regex);
        return weft_fail(err, WEFT_LIMIT, "tokenizer.json: pre_tokenizer of more than %u steps",
                         TOKJSON_STEPS_MAX);
    }
    t->pretoks[t->n_pretoks++] = p;
    return WEFT_OK;
}

static weft_status add_pattern(tokjson *t, str pattern, tokjson_pretok p, weft_error *err) {
    const weft_status status = regex_compile(&p.regex, pattern, err);
    return status == WEFT_OK ? add(t, p, err) : status;
}

static weft_status add_byte_level(tokjson *t, const json_t *step, weft_error *err) {
    t->is_byte_level = true;
    weft_status status = WEFT_OK;
    if (tokjson_get_bool(step, "add_prefix_space", true)) {
        status = add(t, (tokjson_pretok){.kind = TOKJSON_PRETOK_PREFIX_SPACE}, err);
    }
    if (status == WEFT_OK && tokjson_get_bool(step, "use_regex", true)) {
        const tokjson_pretok p = {.kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_ISOLATED};
        status = add_pattern(t, STR_LIT(GPT2_PATTERN), p, err);
    }
    return status == WEFT_OK ? add(t, (tokjson_pretok){.kind = TOKJSON_PRETOK_BYTES}, err) : status;
}

static weft_status add_metaspace(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_pretok p = {.kind = TOKJSON_PRETOK_METASPACE};
    const str scheme = tokjson_get_str(step, "prepend_scheme");
    if (scheme.data == NULL) { /* older files */
        p.prepend =
            tokjson_get_bool(step, "add_prefix_space", true) ? TOKJSON_ALWAYS : TOKJSON_NEVER;
    } else if (str_eq_cstr(scheme, "always")) {
        p.prepend = TOKJSON_ALWAYS;
    } else if (str_eq_cstr(scheme, "first")) {
        p.prepend = TOKJSON_FIRST;
    } else if (str_eq_cstr(scheme, "never")) {
        p.prepend = TOKJSON_NEVER;
    } else {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "tokenizer.json: prepend_scheme '" STR_FMT "' is not supported",
                         STR_ARG(scheme));
    }
    const str replacement = tokjson_get_str(step, "replacement");
    p.text = tokjson_keep(t, replacement.len > 0 ? replacement : STR_LIT("\xE2\x96\x81"));
    if (p.text.data == NULL) {
        return tokjson_nomem(err);
    }
    weft_status status = add(t, p, err);
    if (status == WEFT_OK && tokjson_get_bool(step, "split", true)) {
        p.kind = TOKJSON_PRETOK_SPLIT;
        p.behavior = TOKJSON_MERGED_WITH_NEXT;
        status = add(t, p, err);
    }
    return status;
}

static weft_status add_split(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_pretok p = {.kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_REMOVED};
    p.is_inverted = tokjson_get_bool(step, "invert", false);
    weft_status status = read_behavior(step, &p.behavior, err);
    p.threes = vocab_threes_find(tokjson_get_str(json_object_get(step, "pattern"), "Regex"));
    if (status == WEFT_OK && p.threes != NULL) {
        return add_pattern(t, str_from_cstr(p.threes->number), p, err);
    }
    if (status == WEFT_OK) {
        status = tokjson_get_pattern(t, step, &p.text, &p.regex, err);
    }
    return status == WEFT_OK ? add(t, p, err) : status;
}

static weft_status add_bert(tokjson *t, weft_error *err) {
    tokjson_pretok p = {.kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_REMOVED};
    p.characters = tokjson_is_space;
    const weft_status status = add(t, p, err);
    p.characters = tokjson_is_punctuation;
    p.behavior = TOKJSON_ISOLATED;
    return status == WEFT_OK ? add(t, p, err) : status;
}

static weft_status add_delimiter(tokjson *t, const json_t *step, weft_error *err) {
    tokjson_pretok p = {.kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_REMOVED};
    p.text = tokjson_keep(t, tokjson_get_str(step, "delimiter"));
    return p.text.data == NULL ? tokjson_nomem(err) : add(t, p, err);
}

static weft_status add_scripts(tokjson *t, weft_error *err) {
    const tokjson_pretok p = {
        .kind = TOKJSON_PRETOK_SPLIT, .behavior = TOKJSON_REMOVED, .is_inverted = true};
    buf pattern;
    buf_init(&pattern, MEM_VOCAB, 64u << 10);
    const weft_status status = tokjson_scripts_pattern(&pattern)
                                   ? add_pattern(t, buf_view(&pattern), p, err)
                                   : tokjson_nomem(err);
    buf_deinit(&pattern);
    return status;
}

static weft_status read_behavior(const json_t *step, tokjson_behavior *out, weft_error *err) {
    static const struct {
        const char *name;
        tokjson_behavior behavior;
    } behaviors[] = {
        {"Removed", TOKJSON_REMOVED},
        {"Isolated", TOKJSON_ISOLATED},
        {"MergedWithPrevious", TOKJSON_MERGED_WITH_PREVIOUS},
        {"MergedWithNext", TOKJSON_MERGED_WITH_NEXT},
        {"Contiguous", TOKJSON_CONTIGUOUS},
    };
    const str name = tokjson_get_str(step, "behavior");
    if (name.data == NULL) {
        return WEFT_OK;
    }
    for (size_t i = 0; i < WEFT_LEN(behaviors); i++) {
        if (str_eq_cstr(name, behaviors[i].name)) {
            *out = behaviors[i].behavior;
            return WEFT_OK;
        }
    }
    return weft_fail(err, WEFT_UNSUPPORTED,
                     "tokenizer.json: split behavior '" STR_FMT "' is not supported",
                     STR_ARG(name));
}

static bool run_stage(tokjson_run *run, uint32_t stage, str text, bool is_first) {
    if (stage == run->tok->n_pretoks) {
        return tokjson_encode_word(run, text);
    }
    buf *out = &run->stages[stage];
    switch (run->tok->pretoks[stage].kind) {
    case TOKJSON_PRETOK_SPLIT: return run_split(run, stage, text, is_first);
    case TOKJSON_PRETOK_METASPACE: return run_metaspace(run, stage, text, is_first);
    case TOKJSON_PRETOK_PREFIX_SPACE:
        if (text.data[0] == ' ') {
            return run_stage(run, stage + 1, text, is_first);
        }
        buf_clear(out);
        return buf_append_char(out, ' ') && buf_append_str(out, text) &&
               run_stage(run, stage + 1, buf_view(out), is_first);
    case TOKJSON_PRETOK_BYTES:
        buf_clear(out);
        return tokjson_append_stand_ins(out, text) &&
               run_stage(run, stage + 1, buf_view(out), is_first);
    case TOKJSON_PRETOK_FIXED: return run_fixed(run, stage, text, is_first);
    }
    return false;
}

static bool run_fixed(tokjson_run *run, uint32_t stage, str text, bool is_first) {
    const uint32_t n_chars = run->tok->pretoks[stage].n_chars;
    size_t n = 0;
    for (size_t from = 0, to = 0; from < text.len; from = to) {
        for (uint32_t i = 0; i < n_chars && to < text.len; i++, to += n) {
            (void)utf8_decode(str_slice(text, to, text.len), &n);
        }
        if (!run_stage(run, stage + 1, str_slice(text, from, to), is_first && from == 0)) {
            return false;
        }
    }
    return true;
}

static bool run_metaspace(tokjson_run *run, uint32_t stage, str text, bool is_first) {
    const tokjson_pretok *p = &run->tok->pretoks[stage];
    buf *out = &run->stages[stage];
    buf_clear(out);
    const bool has_space = text.data[0] == ' ' || str_starts_with(text, p->text);
    if (!has_space && (p->prepend == TOKJSON_ALWAYS || (p->prepend == TOKJSON_FIRST && is_first))) {
        buf_append_str(out, p->text);
    }
    size_t done = 0;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == ' ') {
            buf_append(out, text.data + done, i - done);
            buf_append_str(out, p->text);
            done = i + 1;
        }
    }
    buf_append(out, text.data + done, text.len - done);
    return !out->is_failed && run_stage(run, stage + 1, buf_view(out), is_first);
}

static bool run_split(tokjson_run *run, uint32_t stage, str text, bool is_first) {
    const tokjson_pretok *p = &run->tok->pretoks[stage];
    splitter s = {.run = run, .stage = stage, .text = text, .is_first = is_first};
    const bool is_done =
        p->characters != NULL ? split_characters(&s, p->characters) : split_matches(&s, p);
    return is_done && give_held(&s);
}

static bool split_characters(splitter *s, tokjson_class_fn *characters) {
    size_t done = 0;
    size_t n = 0;
    for (size_t at = 0; at < s->text.len; at += n) {
        if (!characters(utf8_decode(str_slice(s->text, at, s->text.len), &n))) {
            continue;
        }
        if ((at > done && !take_span(s, done, at, false)) || !take_span(s, at, at + n, true)) {
            return false;
        }
        done = at + n;
    }
    return done == s->text.len || take_span(s, done, s->text.len, false);
}

static bool split_matches(splitter *s, const tokjson_pretok *p) {
    regex_walk walk = {0};
    size_t done = 0;
    while (p->regex != NULL ? regex_walk_next(&walk, p->regex, s->run->scratch.regex, s->text)
                            : regex_walk_text(&walk, p->text, s->text)) {
        if (p->threes != NULL) {
            if (!take_number(s, p->threes, &done, walk.from, walk.to)) {
                return false;
            }
            continue;
        }
        if ((walk.from > done && !take_span(s, done, walk.from, false)) ||
            !take_span(s, walk.from, walk.to, true)) {
            return false;
        }
        done = walk.to;
    }
    return done == s->text.len || take_span(s, done, s->text.len, false);
}

/* A number from a to b, whose groups of digits are the matches, or the places before them. */
static bool take_number(splitter *s, const vocab_threes_pattern *threes, size_t *done, size_t a,
                        size_t b) {
    vocab_threes groups = vocab_threes_of(str_slice(s->text, a, b));
    const bool is_first_short = groups.n_left % 3 != 0;
    str group;
    for (size_t at = a; vocab_threes_next(&groups, &group); at += group.len) {
        if (threes->is_border && is_first_short && at == a) {
            continue;
        }
        const size_t to = threes->is_border ? at : at + group.len;
        if ((at > *done && !take_span(s, *done, at, false)) || !take_span(s, at, to, true)) {
            return false;
        }
        *done = to;
    }
    return true;
}

/* One span of the row, in order. */
static bool take_span(splitter *s, size_t from, size_t to, bool is_match) {
    const tokjson_pretok *p = &s->run->tok->pretoks[s->stage];
    is_match = is_match != p->is_inverted;
    const bool was_match = s->was_match;
    s->was_match = is_match;
    bool joins = false; /* the held span */
    switch (p->behavior) {
    case TOKJSON_REMOVED: return is_match || give_span(s, from, to);
    case TOKJSON_ISOLATED: return give_span(s, from, to);
    case TOKJSON_MERGED_WITH_PREVIOUS: joins = is_match && !was_match; break;
    case TOKJSON_MERGED_WITH_NEXT: joins = !is_match && was_match; break;
    case TOKJSON_CONTIGUOUS: joins = is_match == was_match; break;
    }
    if (joins && s->is_holding) {
        s->held_to = to;
        return true;
    }
    if (!give_held(s)) {
        return false;
    }
    s->is_holding = true;
    s->held_from = from;
    s->held_to = to;
    return true;
}

static bool give_held(splitter *s) {
    const bool is_holding = s->is_holding;
    s->is_holding = false;
    return !is_holding || give_span(s, s->held_from, s->held_to);
}

static bool give_span(splitter *s, size_t from, size_t to) {
    return from == to ||
           run_stage(s->run, s->stage + 1, str_slice(s->text, from, to), s->is_first && from == 0);
}
