/* jinja_pprint.c - the filter pprint: a value as Python's pprint.pformat writes it.
 *
 * What fits into 80 columns stands on one line. A list or dict that does not has an item a line,
 * each broken up in turn; a long string is cut behind its white space and stands in brackets as
 * several strings. Keys of dicts are sorted.
 *
 *   indent     columns in front of the value on its line
 *   allowance  columns that closing brackets will need behind it
 */
#include "text/jinja_args.h"

#define WIDTH 80

typedef struct place {
    int64_t indent;
    int64_t allowance;
    uint32_t level;
} place;

static weft_status write_pretty(jinja_writer *w, jinja_value v, place at);

/* Python sorts keys of different types by the names of the types. */
static int64_t rank_of(jinja_value key) {
    return key.kind == JINJA_NONE ? 0 : jinja_is_number(key) ? 1 : key.kind == JINJA_STRING ? 2 : 3;
}

static weft_status key_order(jinja_run *run, const jinja_dict *d, uint32_t **out) {
    jinja_list keys;
    JINJA_TRY(jinja_list_init(run, &keys, d->count));
    for (uint32_t i = 0; i < d->count; i++) {
        jinja_list pair;
        jinja_value v;
        JINJA_TRY(jinja_list_init(run, &pair, 2));
        JINJA_TRY(jinja_list_push(run, &pair, jinja_int(rank_of(d->entries[i].key))));
        JINJA_TRY(jinja_list_push(run, &pair, d->entries[i].key));
        JINJA_TRY(jinja_list_value(run, JINJA_TUPLE, &pair, &v));
        JINJA_TRY(jinja_list_push(run, &keys, v));
    }
    return jinja_sort_order(run, keys.items, keys.count, false, out);
}

/* repr with the keys of dicts in order. */
static weft_status write_flat(jinja_writer *w, jinja_value v) {
    if (v.kind != JINJA_DICT && !jinja_is_list(v)) {
        return jinja_write_repr(w, v);
    }
    JINJA_TRY(jinja_run_enter(w->run));
    uint32_t *order = NULL;
    const bool is_dict = v.kind == JINJA_DICT;
    const uint32_t count = is_dict ? v.as.dict->count : v.as.list->count;
    if (is_dict) {
        JINJA_TRY(key_order(w->run, v.as.dict, &order));
    }
    JINJA_TRY(jinja_write_char(w, is_dict ? '{' : v.kind == JINJA_LIST ? '[' : '('));
    for (uint32_t i = 0; i < count; i++) {
        JINJA_TRY(jinja_write(w, i > 0 ? STR_LIT(", ") : (str){0}));
        if (is_dict) {
            JINJA_TRY(write_flat(w, v.as.dict->entries[order[i]].key));
            JINJA_TRY(jinja_write(w, STR_LIT(": ")));
        }
        JINJA_TRY(
            write_flat(w, is_dict ? v.as.dict->entries[order[i]].value : v.as.list->items[i]));
    }
    JINJA_TRY(jinja_write(w, v.kind == JINJA_TUPLE && count == 1 ? STR_LIT(",") : (str){0}));
    jinja_run_leave(w->run);
    return jinja_write_char(w, is_dict ? '}' : v.kind == JINJA_LIST ? ']' : ')');
}

static weft_status flat_text(jinja_run *run, jinja_value v, str *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(write_flat(&w, v));
    *out = jinja_text(jinja_writer_value(&w));
    return WEFT_OK;
}

static weft_status write_break(jinja_writer *w, int64_t indent) {
    JINJA_TRY(jinja_write_char(w, '\n'));
    return jinja_write_repeat(w, STR_LIT(" "), indent);
}

static weft_status write_items(jinja_writer *w, jinja_value v, place at) {
    const jinja_list *list = v.as.list;
    const str end = v.kind == JINJA_LIST ? STR_LIT("]")
                    : list->count == 1   ? STR_LIT(",)")
                                         : STR_LIT(")");
    JINJA_TRY(jinja_write_char(w, v.kind == JINJA_LIST ? '[' : '('));
    at.indent++;
    at.allowance += (int64_t)end.len;
    for (uint32_t i = 0; i < list->count; i++) {
        place item = at;
        item.allowance = i + 1 == list->count ? at.allowance : 1;
        JINJA_TRY(write_pretty(w, list->items[i], item));
        if (i + 1 < list->count) {
            JINJA_TRY(jinja_write_char(w, ','));
            JINJA_TRY(write_break(w, at.indent));
        }
    }
    return jinja_write(w, end);
}

static weft_status write_members(jinja_writer *w, const jinja_dict *d, place at) {
    uint32_t *order;
    JINJA_TRY(key_order(w->run, d, &order));
    JINJA_TRY(jinja_write_char(w, '{'));
    at.indent++;
    at.allowance++;
    for (uint32_t i = 0; i < d->count; i++) {
        str key;
        const jinja_entry *e = &d->entries[order[i]];
        JINJA_TRY(flat_text(w->run, e->key, &key));
        JINJA_TRY(jinja_write(w, key));
        JINJA_TRY(jinja_write(w, STR_LIT(": ")));
        const place value = {.indent = at.indent + (int64_t)jinja_str_chars(key) + 2,
                             .allowance = i + 1 == d->count ? at.allowance : 1,
                             .level = at.level};
        JINJA_TRY(write_pretty(w, e->value, value));
        if (i + 1 < d->count) {
            JINJA_TRY(jinja_write_char(w, ','));
            JINJA_TRY(write_break(w, at.indent));
        }
    }
    return jinja_write_char(w, '}');
}

static weft_status push_repr(jinja_run *run, jinja_list *chunks, str s, int64_t *chars) {
    str text;
    JINJA_TRY(jinja_repr(run, jinja_string(s), &text));
    *chars = (int64_t)jinja_str_chars(text);
    return chunks != NULL ? jinja_list_push(run, chunks, jinja_string(text)) : WEFT_OK;
}

/* End of the word at `at` and of the white space behind it. */
static size_t word_end(str line, size_t at) {
    size_t n;
    while (at < line.len && !jinja_cp_is_space(jinja_cp_at(line, at, &n))) {
        at += n;
    }
    while (at < line.len && jinja_cp_is_space(jinja_cp_at(line, at, &n))) {
        at += n;
    }
    return at;
}

/* Cuts a line into pieces whose repr has at most `width` characters; the last one may have
 * `allowance` less. */
static weft_status cut_line(jinja_run *run, jinja_list *chunks, str line, int64_t width,
                            int64_t allowance) {
    size_t begin = 0; /* of the piece under construction, which ends at `at` */
    int64_t chars;
    for (size_t at = 0; at < line.len;) {
        const size_t end = word_end(line, at);
        width -= end == line.len ? allowance : 0;
        JINJA_TRY(push_repr(run, NULL, str_slice(line, begin, end), &chars));
        JINJA_TRY(jinja_run_step(run, (uint64_t)chars / 8 + 1));
        if (chars > width && at > begin) {
            JINJA_TRY(push_repr(run, chunks, str_slice(line, begin, at), &chars));
            begin = at;
        } else if (chars > width) {
            begin = at;
        }
        at = end;
    }
    return begin < line.len ? push_repr(run, chunks, str_slice(line, begin, line.len), &chars)
                            : WEFT_OK;
}

static weft_status write_pieces(jinja_writer *w, str s, place at) {
    jinja_run *run = w->run;
    jinja_list chunks;
    const bool has_brackets = at.level == 1;
    if (has_brackets) {
        at.indent++;
        at.allowance++;
    }
    JINJA_TRY(jinja_list_init(run, &chunks, 0));
    for (size_t from = 0; from < s.len;) {
        size_t next;
        int64_t chars;
        jinja_str_line_end(s, from, &next);
        const str line = str_slice(s, from, next);
        const int64_t allowance = next == s.len ? at.allowance : 0;
        const int64_t width = WIDTH - at.indent;
        JINJA_TRY(push_repr(run, NULL, line, &chars));
        if (chars <= width - allowance) {
            JINJA_TRY(push_repr(run, &chunks, line, &chars));
        } else {
            JINJA_TRY(cut_line(run, &chunks, line, width, allowance));
        }
        from = next;
    }
    const bool is_whole = chunks.count == 1;
    JINJA_TRY(jinja_write(w, has_brackets && !is_whole ? STR_LIT("(") : (str){0}));
    for (uint32_t i = 0; i < chunks.count; i++) {
        if (i > 0) {
            JINJA_TRY(write_break(w, at.indent));
        }
        JINJA_TRY(jinja_write(w, jinja_text(chunks.items[i])));
    }
    return jinja_write(w, has_brackets && !is_whole ? STR_LIT(")") : (str){0});
}

static weft_status write_pretty(jinja_writer *w, jinja_value v, place at) {
    str flat;
    JINJA_TRY(flat_text(w->run, v, &flat));
    const bool fits = (int64_t)jinja_str_chars(flat) <= WIDTH - at.indent - at.allowance;
    const bool is_text = v.kind == JINJA_STRING && !v.is_markup && v.len > 0;
    if (fits || !(is_text || v.kind == JINJA_DICT || jinja_is_list(v))) {
        return jinja_write(w, flat);
    }
    JINJA_TRY(jinja_run_enter(w->run));
    at.level++;
    JINJA_TRY(is_text                ? write_pieces(w, jinja_text(v), at)
              : v.kind == JINJA_DICT ? write_members(w, v.as.dict, at)
                                     : write_items(w, v, at));
    jinja_run_leave(w->run);
    return WEFT_OK;
}

weft_status jinja_pprint(jinja_run *run, jinja_value self, const jinja_value *args,
                         jinja_value *out) {
    jinja_writer w;
    jinja_writer_init(&w, run);
    JINJA_TRY(write_pretty(&w, self, (place){0}));
    *out = jinja_writer_value(&w);
    return WEFT_OK;
}
