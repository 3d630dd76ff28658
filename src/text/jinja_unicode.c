/* jinja_unicode.c - the character classes and case mappings of Python's str.
 *
 * Categories come from utf8proc. ASCII takes a short way, since nearly everything a chat
 * template touches is ASCII. Mappings to several characters are in jinja_case_tables.c.
 */
#include "text/jinja_unicode.h"

#include <utf8proc.h>

#include "text/jinja_case_tables.h"
#include "text/utf8.h"

static utf8proc_category_t category(uint32_t cp) { return utf8proc_category((utf8proc_int32_t)cp); }

bool jinja_cp_is_space(uint32_t cp) {
    if (cp < 0x80) {
        return cp == ' ' || (cp >= '\t' && cp <= '\r') || (cp >= 0x1C && cp <= 0x1F);
    }
    return cp == 0x85 || cp == 0xA0 || cp == 0x1680 || (cp >= 0x2000 && cp <= 0x200A) ||
           cp == 0x2028 || cp == 0x2029 || cp == 0x202F || cp == 0x205F || cp == 0x3000;
}

bool jinja_cp_is_alpha(uint32_t cp) {
    if (cp < 0x80) {
        return (cp | 0x20) >= 'a' && (cp | 0x20) <= 'z';
    }
    const utf8proc_category_t c = category(cp);
    return c >= UTF8PROC_CATEGORY_LU && c <= UTF8PROC_CATEGORY_LO;
}

bool jinja_cp_is_decimal(uint32_t cp) {
    return cp < 0x80 ? cp >= '0' && cp <= '9' : category(cp) == UTF8PROC_CATEGORY_ND;
}

bool jinja_cp_is_digit(uint32_t cp) {
    return jinja_cp_is_decimal(cp) || cp == 0xB2 || cp == 0xB3 || cp == 0xB9 || cp == 0x2070 ||
           (cp >= 0x2074 && cp <= 0x2079) || (cp >= 0x2080 && cp <= 0x2089) ||
           (cp >= 0x2460 && cp <= 0x2468) || (cp >= 0x2474 && cp <= 0x247C) ||
           (cp >= 0x2488 && cp <= 0x2490);
}

bool jinja_cp_is_numeric(uint32_t cp) {
    return jinja_cp_is_digit(cp) || (cp >= 0x80 && (category(cp) == UTF8PROC_CATEGORY_NL ||
                                                    category(cp) == UTF8PROC_CATEGORY_NO));
}

bool jinja_cp_is_lower(uint32_t cp) {
    if (cp < 0x80) {
        return cp >= 'a' && cp <= 'z';
    }
    return category(cp) == UTF8PROC_CATEGORY_LL || cp == 0xAA || cp == 0xBA ||
           (cp >= 0x2B0 && cp <= 0x2B8) || (cp >= 0x24D0 && cp <= 0x24E9) ||
           (cp >= 0x2170 && cp <= 0x217F);
}

bool jinja_cp_is_upper(uint32_t cp) {
    if (cp < 0x80) {
        return cp >= 'A' && cp <= 'Z';
    }
    return category(cp) == UTF8PROC_CATEGORY_LU || (cp >= 0x24B6 && cp <= 0x24CF) ||
           (cp >= 0x2160 && cp <= 0x216F);
}

bool jinja_cp_is_title(uint32_t cp) { return cp >= 0x80 && category(cp) == UTF8PROC_CATEGORY_LT; }

bool jinja_cp_is_printable(uint32_t cp) {
    if (cp < 0x80) {
        return cp >= 0x20 && cp < 0x7F;
    }
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS: return false;
    default: return true;
    }
}

bool jinja_cp_is_word(uint32_t cp) {
    return cp == '_' || jinja_cp_is_alpha(cp) || jinja_cp_is_numeric(cp);
}

uint32_t jinja_cp_at(str s, size_t at, size_t *n) {
    const unsigned char c = (unsigned char)s.data[at];
    if (c < 0x80) {
        *n = 1;
        return c;
    }
    return utf8_decode(str_slice(s, at, s.len), n);
}

uint32_t jinja_cp_before(str s, size_t end, size_t *n) {
    size_t at = end - 1;
    while (at > 0 && end - at < 4 && ((unsigned char)s.data[at] & 0xC0) == 0x80) {
        at--;
    }
    return jinja_cp_at(s, at, n);
}

size_t jinja_str_chars(str s) {
    size_t n = 0;
    for (size_t i = 0; i < s.len; i++) {
        n += ((unsigned char)s.data[i] & 0xC0) != 0x80;
    }
    return n;
}

size_t jinja_str_offset(str s, size_t index) {
    size_t at = 0;
    for (; at < s.len; at++) {
        if (((unsigned char)s.data[at] & 0xC0) != 0x80 && index-- == 0) {
            break;
        }
    }
    return at;
}

size_t jinja_str_find(str s, str needle, size_t from) {
    if (from > s.len || needle.len > s.len - from) {
        return SIZE_MAX;
    }
    if (needle.len == 0) {
        return from;
    }
    const char *hit = memmem(s.data + from, s.len - from, needle.data, needle.len);
    return hit != NULL ? (size_t)(hit - s.data) : SIZE_MAX;
}

str jinja_str_lstrip(str s) {
    size_t at = 0;
    while (at < s.len) {
        size_t n;
        if (!jinja_cp_is_space(jinja_cp_at(s, at, &n))) {
            break;
        }
        at += n;
    }
    return str_slice(s, at, s.len);
}

str jinja_str_rstrip(str s) {
    while (s.len > 0) {
        size_t n;
        if (!jinja_cp_is_space(jinja_cp_before(s, s.len, &n))) {
            break;
        }
        s.len -= n;
    }
    return s;
}

bool jinja_str_is_blank(str s) { return jinja_str_lstrip(s).len == 0; }

static bool is_line_end(uint32_t cp) {
    return (cp >= '\n' && cp <= '\r') || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

size_t jinja_str_line_end(str s, size_t from, size_t *next) {
    for (size_t at = from; at < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, at, &n);
        if (is_line_end(cp)) {
            *next = at + n;
            if (cp == '\r' && *next < s.len && s.data[*next] == '\n') {
                *next += 1;
            }
            return at;
        }
        at += n;
    }
    *next = s.len;
    return s.len;
}

static const jinja_case_row *find_row(uint32_t cp, jinja_case to) {
    size_t low = 0;
    size_t high = jinja_case_row_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        const jinja_case_row *row = &jinja_case_rows[middle];
        if (row->cp == cp && row->to == to) {
            return row;
        }
        if (row->cp < cp || (row->cp == cp && row->to < to)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

static bool is_cased(uint32_t cp) {
    return jinja_cp_is_lower(cp) || jinja_cp_is_upper(cp) || jinja_cp_is_title(cp);
}

/* Case-ignorable: marks, format characters, modifiers and the punctuation inside words. */
static bool is_case_ignorable(uint32_t cp) {
    if (cp < 0x80) {
        return cp == '\'' || cp == '.' || cp == ':' || cp == '^' || cp == '`';
    }
    switch (category(cp)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK: return true;
    default: return cp == 0xB7 || cp == 0x2018 || cp == 0x2019 || cp == 0x2024 || cp == 0x2027;
    }
}

/* Greek sigma at the end of a word is written differently. */
static bool is_final_sigma(str s, size_t at) {
    bool has_before = false;
    for (size_t i = at; i > 0 && !has_before;) {
        size_t n;
        const uint32_t cp = jinja_cp_before(s, i, &n);
        i -= n;
        if (!is_case_ignorable(cp)) {
            has_before = is_cased(cp);
            break;
        }
    }
    if (!has_before) {
        return false;
    }
    for (size_t i = at + 2; i < s.len;) {
        size_t n;
        const uint32_t cp = jinja_cp_at(s, i, &n);
        if (!is_case_ignorable(cp)) {
            return !is_cased(cp);
        }
        i += n;
    }
    return true;
}

static uint32_t map_ascii(uint32_t cp, jinja_case to) {
    if (to == JINJA_CASE_LOWER || to == JINJA_CASE_FOLD) {
        return cp >= 'A' && cp <= 'Z' ? cp + 32 : cp;
    }
    return cp >= 'a' && cp <= 'z' ? cp - 32 : cp;
}

/* Case folding of one character is its lower case, except where several letters share one. */
static uint32_t map_fold(uint32_t cp) {
    utf8proc_int32_t folded[4];
    int last = 0;
    const utf8proc_ssize_t n =
        utf8proc_decompose_char((utf8proc_int32_t)cp, folded, 4, UTF8PROC_CASEFOLD, &last);
    return n == 1 ? (uint32_t)folded[0] : cp;
}

size_t jinja_cp_map(str s, size_t at, jinja_case to, uint32_t out[JINJA_CASE_CHARS_MAX]) {
    size_t n;
    const uint32_t cp = jinja_cp_at(s, at, &n);
    if (cp < 0x80) {
        out[0] = map_ascii(cp, to);
        return 1;
    }
    const jinja_case_row *row = find_row(cp, to);
    if (row != NULL) {
        size_t count = 0;
        while (count < JINJA_CASE_CHARS_MAX && row->mapped[count] != 0) {
            out[count] = row->mapped[count];
            count++;
        }
        return count;
    }
    switch (to) {
    case JINJA_CASE_LOWER:
        out[0] = cp == 0x3A3 && is_final_sigma(s, at)
                     ? 0x3C2
                     : (uint32_t)utf8proc_tolower((utf8proc_int32_t)cp);
        break;
    case JINJA_CASE_UPPER: out[0] = (uint32_t)utf8proc_toupper((utf8proc_int32_t)cp); break;
    case JINJA_CASE_TITLE: out[0] = (uint32_t)utf8proc_totitle((utf8proc_int32_t)cp); break;
    case JINJA_CASE_FOLD: out[0] = map_fold(cp); break;
    }
    return 1;
}
