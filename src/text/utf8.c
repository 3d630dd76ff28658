/* utf8.c - decoding with the exact notion of "malformed" that Unicode recommends.
 *
 * A well-formed sequence is one row of Table 3-7 of the Unicode Standard: a lead byte and the
 * range its second byte may have; third and fourth bytes are always 80..BF.
 *
 *     lead      second    length        lead      second    length
 *     00..7F              1             ED        80..9F    3   (no surrogates)
 *     C2..DF    80..BF    2             EE..EF    80..BF    3
 *     E0        A0..BF    3             F0        90..BF    4   (not overlong)
 *     E1..EC    80..BF    3             F1..F3    80..BF    4
 *                                       F4        80..8F    4   (at most U+10FFFF)
 *
 * A malformed sequence ends where the first byte that does not fit begins (the maximal subpart),
 * which is also how Python's errors="replace" counts its U+FFFD. The same function that measures
 * a subpart tells whether the end of the text could still be completed.
 */
#include "text/utf8.h"

typedef struct utf8_lead {
    uint8_t length; /* of the whole sequence; 0 when no sequence starts with this byte */
    uint8_t second_min;
    uint8_t second_max;
} utf8_lead;

static utf8_lead lead_of(uint8_t b);
static size_t fitting_bytes(const uint8_t *p, size_t len, utf8_lead lead);
static size_t ascii_prefix(const char *data, size_t len);

uint32_t utf8_decode(str s, size_t *n) {
    const uint8_t *p = (const uint8_t *)s.data;
    if (p[0] < 0x80) {
        *n = 1;
        return p[0];
    }
    const utf8_lead lead = lead_of(p[0]);
    const size_t fitting = fitting_bytes(p, s.len, lead);
    *n = fitting;
    if (lead.length == 0 || fitting < lead.length) {
        return UTF8_INVALID;
    }
    static const uint8_t lead_bits[5] = {0, 0, 0x1F, 0x0F, 0x07};
    uint32_t cp = p[0] & lead_bits[lead.length];
    for (size_t i = 1; i < lead.length; i++) {
        cp = cp << 6 | (p[i] & 0x3Fu);
    }
    return cp;
}

size_t utf8_encode(char out[4], uint32_t cp) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xC0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3F));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xE0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3F));
        out[2] = (char)(0x80 | (cp & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3F));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3F));
    out[3] = (char)(0x80 | (cp & 0x3F));
    return 4;
}

size_t utf8_valid_prefix(str s) {
    size_t at = 0;
    while (at < s.len) {
        at += ascii_prefix(s.data + at, s.len - at);
        if (at >= s.len) {
            break;
        }
        const uint8_t *p = (const uint8_t *)s.data + at;
        const utf8_lead lead = lead_of(p[0]);
        if (lead.length == 0 || fitting_bytes(p, s.len - at, lead) < lead.length) {
            break;
        }
        at += lead.length;
    }
    return at;
}

bool utf8_is_valid(str s) { return utf8_valid_prefix(s) == s.len; }

size_t utf8_complete_prefix(str s) {
    /* An unfinished sequence has at most three bytes and starts with its lead byte. */
    for (size_t back = 1; back <= 3 && back <= s.len; back++) {
        const size_t at = s.len - back;
        const uint8_t *p = (const uint8_t *)s.data + at;
        if ((p[0] & 0xC0) == 0x80) {
            continue;
        }
        const utf8_lead lead = lead_of(p[0]);
        const bool is_open = lead.length > back && fitting_bytes(p, back, lead) == back;
        return is_open ? at : s.len;
    }
    return s.len;
}

static utf8_lead lead_of(uint8_t b) {
    if (b < 0x80) {
        return (utf8_lead){1, 0, 0};
    }
    if (b < 0xC2 || b > 0xF4) {
        return (utf8_lead){0, 0, 0};
    }
    if (b < 0xE0) {
        return (utf8_lead){2, 0x80, 0xBF};
    }
    if (b < 0xF0) {
        return (utf8_lead){3, b == 0xE0 ? 0xA0 : 0x80, b == 0xED ? 0x9F : 0xBF};
    }
    return (utf8_lead){4, b == 0xF0 ? 0x90 : 0x80, b == 0xF4 ? 0x8F : 0xBF};
}

/* How many bytes at p, at least 1, belong to the sequence that its lead byte announces. */
static size_t fitting_bytes(const uint8_t *p, size_t len, utf8_lead lead) {
    if (lead.length < 2 || len < 2 || p[1] < lead.second_min || p[1] > lead.second_max) {
        return 1;
    }
    size_t n = 2;
    while (n < lead.length && n < len && (p[n] & 0xC0) == 0x80) {
        n++;
    }
    return n;
}

static size_t ascii_prefix(const char *data, size_t len) {
    size_t at = 0;
    uint64_t word;
    while (at + sizeof word <= len) {
        memcpy(&word, data + at, sizeof word);
        if ((word & 0x8080808080808080u) != 0) {
            break;
        }
        at += sizeof word;
    }
    while (at < len && (uint8_t)data[at] < 0x80) {
        at++;
    }
    return at;
}
