/* str.c - looking at, cutting and reading borrowed bytes.
 *
 * Nothing here allocates or writes to what it is given. The parsers take the whole string or
 * refuse it: no leading space, no trailing rubbish, no silent wrap-around. They accept plain
 * decimal only; "inf", "nan" and hexadecimal floats are refused, because no setting of ours
 * means them.
 *
 * str_hash reads eight bytes at a time in little-endian order whatever the machine, mixes each
 * word with a multiplication and a shift, and ends with the finalizer of splitmix64. It is
 * not meant to withstand an adversary who picks keys.
 */
#include "base/str.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/check.h"

#define NUMBER_MAX_BYTES 128 /* longest text str_parse_f64 accepts, NUL included */

static uint64_t word_load(const unsigned char *p, size_t n);
static bool is_space(char c);
static bool is_digit(char c) { return c >= '0' && c <= '9'; }
static bool is_decimal_float(str s);
static bool unit_parse(str s, unsigned *shift);
static bool fraction_parse(str digits, uint64_t unit, uint64_t *out);

int str_cmp(str a, str b) {
    const size_t common = a.len < b.len ? a.len : b.len;
    const int order = common > 0 ? memcmp(a.data, b.data, common) : 0;
    if (order != 0) {
        return order;
    }
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts_with(str s, str prefix) {
    return s.len >= prefix.len && str_eq(str_from(s.data, prefix.len), prefix);
}

bool str_ends_with(str s, str suffix) {
    return s.len >= suffix.len && str_eq(str_slice(s, s.len - suffix.len, s.len), suffix);
}

size_t str_find(str s, str needle, size_t from) {
    if (from > s.len || needle.len > s.len - from) {
        return SIZE_MAX;
    }
    if (needle.len == 0) {
        return from;
    }
    const size_t last = s.len - needle.len;
    for (size_t at = from; at <= last; at++) {
        const char *hit = memchr(s.data + at, needle.data[0], last - at + 1);
        if (hit == NULL) {
            return SIZE_MAX;
        }
        at = (size_t)(hit - s.data);
        if (memcmp(hit, needle.data, needle.len) == 0) {
            return at;
        }
    }
    return SIZE_MAX;
}

str str_slice(str s, size_t from, size_t to) {
    to = to < s.len ? to : s.len;
    from = from < to ? from : to;
    return str_from(s.data != NULL ? s.data + from : NULL, to - from);
}

str str_trim(str s) {
    size_t from = 0;
    size_t to = s.len;
    while (from < to && is_space(s.data[from])) {
        from++;
    }
    while (to > from && is_space(s.data[to - 1])) {
        to--;
    }
    return str_slice(s, from, to);
}

uint64_t str_hash(str s) {
    const unsigned char *p = (const unsigned char *)s.data;
    uint64_t h = 0x9e3779b97f4a7c15u ^ (uint64_t)s.len;
    size_t left = s.len;
    for (; left >= 8; left -= 8, p += 8) {
        h = (h ^ word_load(p, 8)) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    h = (h ^ word_load(p, left)) * 0xff51afd7ed558ccdu;
    h = (h ^ h >> 30) * 0xbf58476d1ce4e5b9u;
    h = (h ^ h >> 27) * 0x94d049bb133111ebu;
    return h ^ h >> 31;
}

bool str_parse_u64(str s, uint64_t *out) {
    uint64_t value = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.data[i])) {
            return false;
        }
        const uint64_t digit = (uint64_t)(s.data[i] - '0');
        if (value > (UINT64_MAX - digit) / 10) {
            return false;
        }
        value = value * 10 + digit;
    }
    if (s.len == 0) {
        return false;
    }
    *out = value;
    return true;
}

bool str_parse_i64(str s, int64_t *out) {
    const bool is_negative = s.len > 0 && s.data[0] == '-';
    uint64_t magnitude = 0;
    if (!str_parse_u64(str_slice(s, is_negative ? 1 : 0, s.len), &magnitude)) {
        return false;
    }
    if (magnitude > (uint64_t)INT64_MAX + (is_negative ? 1 : 0)) {
        return false;
    }
    if (is_negative) {
        /* Negated below the sign bit first: the magnitude of INT64_MIN has no int64_t. */
        *out = magnitude == 0 ? 0 : -(int64_t)(magnitude - 1) - 1;
    } else {
        *out = (int64_t)magnitude;
    }
    return true;
}

/* strtod reads a decimal point only in the "C" locale, the only one weft runs in (nothing calls
 * setlocale). Should an embedding program change it, a fraction is refused, not misread. */
bool str_parse_f64(str s, double *out) {
    char text[NUMBER_MAX_BYTES];
    if (s.len >= sizeof text || !is_decimal_float(s)) {
        return false;
    }
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    char *end = NULL;
    const double value = strtod(text, &end);
    if (end != text + s.len || !isfinite(value)) {
        return false;
    }
    *out = value;
    return true;
}

bool str_parse_bytes(str s, uint64_t *out) {
    const uint64_t bytes_max = (uint64_t)1 << 63;
    size_t n_whole = 0;
    while (n_whole < s.len && is_digit(s.data[n_whole])) {
        n_whole++;
    }
    size_t end = n_whole;
    str digits = {0};
    if (end < s.len && s.data[end] == '.') {
        end++;
        while (end < s.len && is_digit(s.data[end])) {
            end++;
        }
        digits = str_slice(s, n_whole + 1, end);
        if (digits.len == 0) {
            return false;
        }
    }
    unsigned shift = 0;
    uint64_t whole = 0;
    uint64_t fraction = 0;
    if (!str_parse_u64(str_slice(s, 0, n_whole), &whole) ||
        !unit_parse(str_slice(s, end, s.len), &shift) ||
        !fraction_parse(digits, (uint64_t)1 << shift, &fraction)) {
        return false;
    }
    if (whole > bytes_max >> shift || fraction > bytes_max - (whole << shift)) {
        return false;
    }
    *out = (whole << shift) + fraction;
    return true;
}

void str_line_format(char *out, size_t out_bytes, const char *fmt, va_list args) {
    WEFT_ASSERT(out_bytes >= 8);
    const int wanted = vsnprintf(out, out_bytes, fmt, args);
    if (wanted < 0) {
        (void)snprintf(out, out_bytes, "?");
        return;
    }
    if ((size_t)wanted >= out_bytes) {
        size_t cut = out_bytes - 4;
        /* Not in the middle of a UTF-8 character, which is at most four bytes long. */
        for (int i = 0; i < 3 && ((unsigned char)out[cut] & 0xc0u) == 0x80u; i++) {
            cut--;
        }
        memcpy(out + cut, "...", 4);
    }
    for (char *c = out; *c != '\0'; c++) {
        if ((unsigned char)*c < 0x20u || *c == 0x7f) {
            *c = '?';
        }
    }
}

static uint64_t word_load(const unsigned char *p, size_t n) {
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++) {
        word |= (uint64_t)p[i] << (8 * i);
    }
    return word;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* [+-] digits [. digits] [e [+-] digits], with a digit before the exponent. */
static bool is_decimal_float(str s) {
    size_t at = 0;
    size_t n_digits = 0;
    if (at < s.len && (s.data[at] == '-' || s.data[at] == '+')) {
        at++;
    }
    for (; at < s.len && is_digit(s.data[at]); at++) {
        n_digits++;
    }
    if (at < s.len && s.data[at] == '.') {
        for (at++; at < s.len && is_digit(s.data[at]); at++) {
            n_digits++;
        }
    }
    if (n_digits == 0) {
        return false;
    }
    if (at < s.len && (s.data[at] == 'e' || s.data[at] == 'E')) {
        at++;
        if (at < s.len && (s.data[at] == '-' || s.data[at] == '+')) {
            at++;
        }
        const size_t exponent = at;
        while (at < s.len && is_digit(s.data[at])) {
            at++;
        }
        if (at == exponent) {
            return false;
        }
    }
    return at == s.len;
}

/* "", "B", or one of KMGTP in either case, then "", "B" or "iB". */
static bool unit_parse(str s, unsigned *shift) {
    static const char letters[] = "kmgtp";
    *shift = 0;
    if (s.len == 0) {
        return true;
    }
    const char letter = (char)(s.data[0] | 0x20);
    const char *hit = letter != '\0' ? strchr(letters, letter) : NULL;
    if (hit != NULL) {
        *shift = 10u * (unsigned)(hit - letters + 1);
        s = str_slice(s, 1, s.len);
        if (s.len == 2 && (s.data[0] | 0x20) == 'i') {
            s = str_slice(s, 1, 2);
        }
    }
    return s.len == 0 || (s.len == 1 && (s.data[0] | 0x20) == 'b');
}

/* 0.digits * unit, rounded down, exactly: from the last digit to the first, each step adds
 * digit * unit and divides by ten, and rounding down at each step equals rounding down once.
 * A fraction of a byte is refused. unit is at most 2^50, so nothing overflows. */
static bool fraction_parse(str digits, uint64_t unit, uint64_t *out) {
    WEFT_ASSERT(unit <= (uint64_t)1 << 50);
    if (digits.len > 0 && unit == 1) {
        return false;
    }
    uint64_t value = 0;
    for (size_t i = digits.len; i > 0; i--) {
        value = (value + (uint64_t)(digits.data[i - 1] - '0') * unit) / 10;
    }
    *out = value;
    return true;
}
