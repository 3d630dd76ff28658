/* tokjson_stream.c - the decoder of a tokenizer.json over tokens as they come.
 *
 * The tokenizers library runs each step over the list of all tokens. Here each step is a stage that
 * gets the tokens one by one and hands on what can no longer change, so that the sum of what comes
 * out is the library's text, to the byte. What a stage keeps back:
 *
 *   a BPEDecoder        the last token, which is to end without a space
 *   a ByteFallback      a run of byte tokens: should it be broken, each of them is a U+FFFD
 *   a ByteLevel         an unfinished character
 *
 * and of the one token that a Fuse or a ByteLevel made, which grows part by part:
 *
 *   a Replace           what may become a match, or be another one, with the text to come
 *   a Strip             characters that may be the last
 *   a ByteFallback      up to six bytes
 *   a ByteLevel         everything, until a character comes that stands for no byte
 *
 * A Replace of a pattern keeps all the text that it has seen, because the pattern may look back.
 */
#include "base/mem.h"
#include "text/utf8.h"
#include "vocab/tokjson.h"

#define BROKEN "\xEF\xBF\xBD"
#define BYTE_TOKEN_BYTES 6u /* <0x41> */

typedef struct stage {
    buf held;        /* what is kept back, or was seen */
    buf made;        /* on its way to the next stage */
    size_t done;     /* of held, by a pattern */
    uint32_t n_left; /* characters stripped */
    utf8_mender mender;
    regex_walk walk;
    bool is_begun;   /* a token has come */
    bool is_decided; /* what comes now goes through */
} stage;

struct tokjson_stream {
    const vocab *vocab;
    regex_scratch *matching;
    buf *out; /* during a push or a flush */
    stage *stages;
    uint32_t n_stages;
};

static void give(tokjson_stream *s, uint32_t i, str token);
static void give_text(tokjson_stream *s, uint32_t i, str token);
static void take_token(tokjson_stream *s, uint32_t i, str token);
static void take_byte_token(tokjson_stream *s, uint32_t i, str token);
static void give_bytes(tokjson_stream *s, uint32_t i);
static void take_part(tokjson_stream *s, uint32_t i, str part);
static void take_part_of_byte_token(tokjson_stream *s, uint32_t i, str part);
static void take_part_of_stand_ins(tokjson_stream *s, uint32_t i, str part);
static void take_part_of_strip(tokjson_stream *s, uint32_t i, str part);
static void replace_held(tokjson_stream *s, uint32_t i, bool is_last);
static void replace_matches(tokjson_stream *s, uint32_t i, bool is_last);
static void end_stage(tokjson_stream *s, uint32_t i);
static void end_byte_tokens(tokjson_stream *s, uint32_t i);
static void end_bytes(tokjson_stream *s, uint32_t i);
static void give_held(tokjson_stream *s, uint32_t i);
static void drop_held(stage *st, size_t n);
static const tokjson_decode *step_of(const tokjson_stream *s, uint32_t i);

bool tokjson_stream_is_needed(const tokjson *t) {
    const tokjson_decode *first = &t->decodes[0];
    return t->n_decodes > 1 ||
           (t->n_decodes == 1 && (first->kind != TOKJSON_DECODE_BYTE_LEVEL || first->is_growing));
}

tokjson_stream *tokjson_stream_create(const vocab *v) {
    const uint32_t n_stages = v->tokjson->n_decodes;
    tokjson_stream *s = mem_zalloc(MEM_VOCAB, 1, sizeof *s);
    stage *stages = mem_zalloc(MEM_VOCAB, n_stages, sizeof *stages);
    regex_scratch *matching = NULL;
    if (s == NULL || stages == NULL || regex_scratch_create(&matching, NULL) != WEFT_OK) {
        mem_free(s);
        mem_free(stages);
        return NULL;
    }
    for (uint32_t i = 0; i < n_stages; i++) {
        buf_init(&stages[i].held, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
        buf_init(&stages[i].made, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
    }
    *s = (tokjson_stream){.vocab = v, .matching = matching, .stages = stages, .n_stages = n_stages};
    return s;
}

void tokjson_stream_destroy(tokjson_stream **s) {
    if (s == NULL || *s == NULL) {
        return;
    }
    for (uint32_t i = 0; i < (*s)->n_stages; i++) {
        buf_deinit(&(*s)->stages[i].held);
        buf_deinit(&(*s)->stages[i].made);
    }
    mem_free((*s)->stages);
    regex_scratch_destroy(&(*s)->matching);
    mem_free(*s);
    *s = NULL;
}

void tokjson_stream_push(tokjson_stream *s, int32_t id, buf *out) {
    s->out = out;
    give(s, 0, tokjson_decode_text(s->vocab, id));
}

void tokjson_stream_flush(tokjson_stream *s, buf *out) {
    s->out = out;
    for (uint32_t i = 0; i < s->n_stages; i++) {
        end_stage(s, i);
    }
}

weft_status tokjson_stream_status(const tokjson_stream *s, weft_error *err) {
    return regex_scratch_status(s->matching, err);
}

/* Hands a token, or a part of the one there is, to stage i, or to the end. */
static void give(tokjson_stream *s, uint32_t i, str token) {
    if (i == s->n_stages) {
        buf_append_str(s->out, token);
    } else if (step_of(s, i)->is_growing) {
        take_part(s, i, token);
    } else {
        take_token(s, i, token);
    }
    if (i < s->n_stages) {
        const stage *st = &s->stages[i];
        s->out->is_failed = s->out->is_failed || st->held.is_failed || st->made.is_failed;
    }
}

/* Through stage i to the next, by what the step makes of any token. */
static void give_text(tokjson_stream *s, uint32_t i, str token) {
    stage *st = &s->stages[i];
    buf_clear(&st->made);
    if (tokjson_decode_token(step_of(s, i), s->matching, token, !st->is_begun, &st->made)) {
        st->is_begun = true;
        give(s, i + 1, buf_view(&st->made));
    }
}

static void take_token(tokjson_stream *s, uint32_t i, str token) {
    stage *st = &s->stages[i];
    switch (step_of(s, i)->kind) {
    case TOKJSON_DECODE_REPLACE:
    case TOKJSON_DECODE_PATTERN:
    case TOKJSON_DECODE_STRIP:
    case TOKJSON_DECODE_METASPACE:
    case TOKJSON_DECODE_WORDS: give_text(s, i, token); break;
    case TOKJSON_DECODE_BYTE_FALLBACK: take_byte_token(s, i, token); break;
    case TOKJSON_DECODE_BYTE_LEVEL:
        buf_clear(&st->held);
        buf_clear(&st->made);
        if (!tokjson_decode_bytes(token, &st->held)) {
            buf_append_str(&st->held, token);
        }
        utf8_mender_push(&st->mender, buf_view(&st->held), &st->made);
        give(s, i + 1, buf_view(&st->made));
        break;
    case TOKJSON_DECODE_SUFFIX:
        if (st->is_begun) {
            give_text(s, i, buf_view(&st->held));
        }
        st->is_begun = true;
        buf_clear(&st->held);
        buf_append_str(&st->held, token);
        break;
    case TOKJSON_DECODE_UNIQUE:
        if (!st->is_begun || !str_eq(buf_view(&st->held), token)) {
            st->is_begun = true;
            buf_clear(&st->held);
            buf_append_str(&st->held, token);
            give(s, i + 1, token);
        }
        break;
    case TOKJSON_DECODE_DROP_EMPTY:
        if (token.len > 0) {
            give(s, i + 1, token);
        }
        break;
    }
}

static void take_byte_token(tokjson_stream *s, uint32_t i, str token) {
    const int byte = vocab_byte_token_value(token);
    if (byte >= 0) {
        buf_append_char(&s->stages[i].held, (char)byte);
        return;
    }
    give_bytes(s, i);
    give(s, i + 1, token);
}

static void give_bytes(tokjson_stream *s, uint32_t i) {
    const str bytes = buf_view(&s->stages[i].held);
    const bool is_valid = utf8_is_valid(bytes);
    if (bytes.len > 0 && is_valid) {
        give(s, i + 1, bytes);
    }
    for (size_t k = 0; k < bytes.len && !is_valid; k++) {
        give(s, i + 1, STR_LIT(BROKEN));
    }
    buf_clear(&s->stages[i].held);
}

static void take_part(tokjson_stream *s, uint32_t i, str part) {
    switch (step_of(s, i)->kind) {
    case TOKJSON_DECODE_REPLACE:
        buf_append_str(&s->stages[i].held, part);
        replace_held(s, i, false);
        break;
    case TOKJSON_DECODE_PATTERN:
        buf_append_str(&s->stages[i].held, part);
        replace_matches(s, i, false);
        break;
    case TOKJSON_DECODE_STRIP: take_part_of_strip(s, i, part); break;
    case TOKJSON_DECODE_BYTE_FALLBACK: take_part_of_byte_token(s, i, part); break;
    case TOKJSON_DECODE_BYTE_LEVEL: take_part_of_stand_ins(s, i, part); break;
    case TOKJSON_DECODE_METASPACE:
    case TOKJSON_DECODE_SUFFIX:
    case TOKJSON_DECODE_WORDS:
    case TOKJSON_DECODE_UNIQUE:
    case TOKJSON_DECODE_DROP_EMPTY: break; /* none of these grows */
    }
}

static void take_part_of_byte_token(tokjson_stream *s, uint32_t i, str part) {
    stage *st = &s->stages[i];
    buf_append_str(&st->held, part);
    if (st->is_decided || st->held.len > BYTE_TOKEN_BYTES) {
        st->is_decided = true;
        give_held(s, i);
    }
}

static void take_part_of_stand_ins(tokjson_stream *s, uint32_t i, str part) {
    stage *st = &s->stages[i];
    buf_clear(&st->made);
    st->is_decided = st->is_decided || !tokjson_decode_bytes(part, &st->made);
    buf_append_str(&st->held, part);
    if (st->is_decided) {
        give_held(s, i);
    }
}

static void take_part_of_strip(tokjson_stream *s, uint32_t i, str part) {
    const tokjson_decode *d = step_of(s, i);
    const str what = d->what;
    stage *st = &s->stages[i];
    while (!st->is_decided && part.len > 0) {
        if (st->n_left < d->n_left && what.len > 0 && str_starts_with(part, what)) {
            part = str_slice(part, what.len, part.len);
            st->n_left++;
        } else {
            st->is_decided = true;
        }
    }
    buf_append_str(&st->held, part);
    str sure = buf_view(&st->held);
    for (uint32_t n = 0; n < d->n_right && what.len > 0 && str_ends_with(sure, what); n++) {
        sure.len -= what.len;
    }
    give(s, i + 1, sure);
    drop_held(st, sure.len);
}

/* Keeps the longest end of the text that a match may begin with. */
static void replace_held(tokjson_stream *s, uint32_t i, bool is_last) {
    const tokjson_decode *d = step_of(s, i);
    stage *st = &s->stages[i];
    const str text = buf_view(&st->held);
    buf_clear(&st->made);
    size_t done = 0;
    size_t at;
    while (d->what.len > 0 && (at = str_find(text, d->what, done)) != SIZE_MAX) {
        buf_append(&st->made, text.data + done, at - done);
        buf_append_str(&st->made, d->with);
        done = at + d->what.len;
    }
    const str rest = str_slice(text, done, text.len);
    size_t n_open = is_last || d->what.len == 0 ? 0 : d->what.len - 1;
    while (n_open > 0 && !str_ends_with(rest, str_slice(d->what, 0, n_open))) {
        n_open--;
    }
    const str sure = str_slice(rest, 0, rest.len - n_open);
    if (d->what.len > 0) {
        buf_append_str(&st->made, sure);
    } else if (tokjson_decode_replace(sure, d->what, d->with, &st->made) && !is_last) {
        st->made.len -= d->with.len; /* the one behind everything */
    }
    give(s, i + 1, buf_view(&st->made));
    drop_held(st, text.len - n_open);
}

static void replace_matches(tokjson_stream *s, uint32_t i, bool is_last) {
    const tokjson_decode *d = step_of(s, i);
    stage *st = &s->stages[i];
    const str text = buf_view(&st->held);
    regex_walk *walk = &st->walk;
    buf_clear(&st->made);
    while (text.len > 0 &&
           (is_last ? regex_walk_next(walk, d->regex, s->matching, text)
                    : regex_walk_growing(walk, d->regex, s->matching, text) == REGEX_MATCH)) {
        buf_append(&st->made, text.data + st->done, walk->from - st->done);
        buf_append_str(&st->made, d->with);
        st->done = walk->to;
    }
    const size_t sure = is_last ? text.len : walk->sure;
    if (sure > st->done) {
        buf_append(&st->made, text.data + st->done, sure - st->done);
        st->done = sure;
    }
    give(s, i + 1, buf_view(&st->made));
}

static void end_stage(tokjson_stream *s, uint32_t i) {
    const tokjson_decode *d = step_of(s, i);
    stage *st = &s->stages[i];
    switch (d->kind) {
    case TOKJSON_DECODE_REPLACE:
        if (d->is_growing) {
            replace_held(s, i, true);
        }
        break;
    case TOKJSON_DECODE_PATTERN:
        if (d->is_growing) {
            replace_matches(s, i, true);
        }
        break;
    case TOKJSON_DECODE_SUFFIX:
        buf_clear(&st->made);
        if (st->is_begun &&
            tokjson_decode_replace(buf_view(&st->held), d->what, STR_LIT(""), &st->made)) {
            give(s, i + 1, buf_view(&st->made));
        }
        break;
    case TOKJSON_DECODE_BYTE_FALLBACK: end_byte_tokens(s, i); break;
    case TOKJSON_DECODE_BYTE_LEVEL: end_bytes(s, i); break;
    case TOKJSON_DECODE_STRIP: /* what it holds is not to be shown */
    case TOKJSON_DECODE_METASPACE:
    case TOKJSON_DECODE_WORDS:
    case TOKJSON_DECODE_UNIQUE:
    case TOKJSON_DECODE_DROP_EMPTY: break;
    }
}

/* Of a growing token only the whole can be one for a byte. */
static void end_byte_tokens(tokjson_stream *s, uint32_t i) {
    stage *st = &s->stages[i];
    const int byte = vocab_byte_token_value(buf_view(&st->held));
    if (step_of(s, i)->is_growing && byte < 0) {
        give_held(s, i);
        return;
    }
    if (step_of(s, i)->is_growing) {
        buf_clear(&st->held);
        buf_append_char(&st->held, (char)byte);
    }
    give_bytes(s, i);
}

static void end_bytes(tokjson_stream *s, uint32_t i) {
    stage *st = &s->stages[i];
    buf_clear(&st->made);
    if (step_of(s, i)->is_growing && !st->is_decided) {
        buf bytes;
        buf_init(&bytes, MEM_VOCAB, TOKJSON_TEXT_BYTES_MAX);
        const bool is_done = tokjson_decode_bytes(buf_view(&st->held), &bytes);
        utf8_mender_push(&st->mender, buf_view(&bytes), &st->made);
        st->made.is_failed = st->made.is_failed || !is_done;
        buf_deinit(&bytes);
    }
    utf8_mender_flush(&st->mender, &st->made);
    s->out->is_failed = s->out->is_failed || st->made.is_failed;
    give(s, i + 1, buf_view(&st->made));
}

static void give_held(tokjson_stream *s, uint32_t i) {
    give(s, i + 1, buf_view(&s->stages[i].held));
    buf_clear(&s->stages[i].held);
}

static void drop_held(stage *st, size_t n) {
    if (n > 0) {
        memmove(st->held.data, st->held.data + n, st->held.len - n);
        st->held.len -= n;
    }
}

static const tokjson_decode *step_of(const tokjson_stream *s, uint32_t i) {
    return &s->vocab->tokjson->decodes[i];
}
