/* vocab_cuts.c - the table of borders and the walk over a text.
 *
 * Two bytes a border are few enough for a bitmap of 8 KiB and tell enough: letters before a space,
 * a comma before a digit and the like are cuts in every real vocabulary. Within Chinese or Thai
 * text nearly every border occurs in some token, and parts get as long as the sentence; the
 * merging below has to be, and is, quick for long parts too.
 *
 * The byte that stands for U+2581 is C0, which never occurs in UTF-8.
 */
#include "vocab/vocab_cuts.h"

#include "text/utf8.h"

#define SPACE_CODE 0xC0u

typedef struct character {
    uint8_t first; /* codes of the borders on both sides */
    uint8_t last;
    uint8_t len;
} character;

static character read_character(str text, size_t at);

void vocab_cuts_init(vocab_cuts *c, const vocab_table *t) {
    memset(c, 0, sizeof *c);
    for (uint32_t id = 0; id < t->count; id++) {
        const str text = vocab_table_text(t, (int32_t)id);
        unsigned last = 0;
        for (size_t at = 0; at < text.len;) {
            const character next = read_character(text, at);
            if (at > 0) {
                const size_t border = (size_t)last * 256 + next.first;
                c->joins[border / 64] |= (uint64_t)1 << border % 64;
            }
            last = next.last;
            at += next.len;
        }
    }
}

size_t vocab_cuts_next(const vocab_cuts *c, str text, size_t from) {
    character now = read_character(text, from);
    size_t at = from + now.len;
    while (at < text.len) {
        const character next = read_character(text, at);
        const size_t border = (size_t)now.last * 256 + next.first;
        if ((c->joins[border / 64] >> border % 64 & 1) == 0) {
            break;
        }
        now = next;
        at += next.len;
    }
    return at;
}

static character read_character(str text, size_t at) {
    const uint8_t first = (uint8_t)text.data[at];
    if (first < 0x80) {
        const uint8_t code = first == ' ' ? SPACE_CODE : first;
        return (character){code, code, 1};
    }
    size_t n;
    const uint32_t cp = utf8_decode(str_from(text.data + at, text.len - at), &n);
    if (cp == UTF8_INVALID) {
        return (character){0xEF, 0xBD, 1};
    }
    if (cp == 0x2581) {
        return (character){SPACE_CODE, SPACE_CODE, 3};
    }
    return (character){first, (uint8_t)text.data[at + n - 1], (uint8_t)n};
}
