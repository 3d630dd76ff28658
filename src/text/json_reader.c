/* json_reader.c - a JSON reader whose work is proportional to the bytes and to nothing else.
 *
 * What may come next is one of five states. An array or object that is open is one bit on a stack;
 * nothing calls itself.
 *
 *            value            key ':'               ',' in an object
 *   VALUE ──────────► AFTER   KEY ────► VALUE   AFTER ──────────────► KEY
 *
 * FIRST and FIRST_KEY are VALUE and KEY behind an opening bracket, where the closing one may come.
 *
 * A string is scanned once to its closing quote, eight bytes at a time where they are plain ASCII.
 * Only if an escape was met is it scanned again and written out, to as many bytes as it had at
 * most: no escape is shorter than what it stands for.
 *
 * A decimal number of at most 19 digits whose power of ten is small is converted by one rounding,
 * the exact way (Clinger 1990); any other goes to strtod.
 */
#include "text/json_reader.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/check.h"
#include "text/utf8.h"

enum { STATE_VALUE, STATE_FIRST, STATE_KEY, STATE_FIRST_KEY, STATE_AFTER };

#define EXACT_MAX ((uint64_t)1 << 53) /* integers up to here are doubles */
#define POWER_MAX 22                  /* and powers of ten up to this one */

static json_event fail(json_reader *r, const char *at, const char *fmt, ...) WEFT_PRINTF(3, 4);
static void set_error(json_reader *r, size_t at, weft_status code, const char *fmt, va_list args)
    WEFT_PRINTF(4, 0);
static void locate(const json_reader *r, size_t offset, size_t *line, size_t *column);
static void skip_space(json_reader *r);
static json_event read_value(json_reader *r);
static json_event read_after(json_reader *r);
static json_event read_key(json_reader *r);
static json_event open_level(json_reader *r, bool is_object);
static json_event close_level(json_reader *r);
static json_event read_word(json_reader *r, str word, json_event event);
static json_event read_number(json_reader *r);
static const char *scan_digits(const char *p, const char *end);
static bool convert_real(str text, double *out);
static bool read_string(json_reader *r);
static const char *scan_plain(const char *p, const char *end);
static const char *scan_escape(json_reader *r, const char *p);
static int hex4(const char *p, const char *end);
static bool unescape(json_reader *r, str raw);

static bool in_object(const json_reader *r) {
    const uint32_t level = r->depth - 1;
    return (r->is_object[level / 64] >> level % 64 & 1) != 0;
}

void json_reader_init(json_reader *r, str text, arena *strings) {
    *r = (json_reader){.strings = strings, .last = JSON_EVENT_END};
    r->data = text.len > 0 ? text.data : "";
    r->at = r->data;
    r->end = r->data + text.len;
}

json_event json_reader_next(json_reader *r) {
    if (r->error.code != WEFT_OK) {
        return r->last = JSON_EVENT_ERROR;
    }
    skip_space(r);
    r->from = (size_t)(r->at - r->data);
    switch (r->state) {
    case STATE_AFTER: return r->last = read_after(r);
    case STATE_FIRST_KEY:
        if (r->at < r->end && *r->at == '}') {
            return r->last = close_level(r);
        }
        return r->last = read_key(r);
    case STATE_FIRST:
        if (r->at < r->end && *r->at == ']') {
            return r->last = close_level(r);
        }
        return r->last = read_value(r);
    default: return r->last = read_value(r);
    }
}

str json_reader_skip(json_reader *r) {
    r->is_skipping = true;
    if (r->last == JSON_EVENT_KEY) {
        (void)json_reader_next(r);
    }
    const size_t from = r->from;
    if (r->last == JSON_EVENT_OBJECT || r->last == JSON_EVENT_ARRAY) {
        const uint32_t depth = r->depth;
        while (r->depth >= depth && json_reader_next(r) != JSON_EVENT_ERROR) {
        }
    }
    r->is_skipping = false;
    return r->last == JSON_EVENT_ERROR ? (str){0}
                                       : str_from(r->data + from, (size_t)(r->at - r->data) - from);
}

weft_status json_reader_status(const json_reader *r, weft_error *err) {
    if (r->error.code != WEFT_OK && err != NULL) {
        *err = r->error;
    }
    return r->error.code;
}

weft_status json_reader_fail(json_reader *r, weft_error *err, weft_status code, const char *fmt,
                             ...) {
    if (r->error.code == WEFT_OK) {
        va_list args;
        va_start(args, fmt);
        set_error(r, r->from, code, fmt, args);
        va_end(args);
    }
    return json_reader_status(r, err);
}

const char *json_event_name(json_event event) {
    switch (event) {
    case JSON_EVENT_ERROR: return "an error";
    case JSON_EVENT_END: return "the end";
    case JSON_EVENT_OBJECT: return "an object";
    case JSON_EVENT_OBJECT_END: return "the end of an object";
    case JSON_EVENT_ARRAY: return "an array";
    case JSON_EVENT_ARRAY_END: return "the end of an array";
    case JSON_EVENT_KEY: return "a key";
    case JSON_EVENT_STRING: return "a string";
    case JSON_EVENT_INTEGER:
    case JSON_EVENT_REAL: return "a number";
    case JSON_EVENT_TRUE:
    case JSON_EVENT_FALSE: return "a boolean";
    case JSON_EVENT_NULL: return "null";
    }
    return "";
}

/* The message is completed with the place. */
static void set_error(json_reader *r, size_t at, weft_status code, const char *fmt, va_list args) {
    char message[sizeof r->error.message];
    size_t line;
    size_t column;
    str_line_format(message, sizeof message, fmt, args);
    r->error_at = at;
    locate(r, at, &line, &column);
    (void)weft_fail(&r->error, code, "line %zu, column %zu: %s", line, column, message);
    r->last = JSON_EVENT_ERROR;
}

/* An error at a place in the input. */
static json_event fail(json_reader *r, const char *at, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    set_error(r, (size_t)(at - r->data), WEFT_FORMAT, fmt, args);
    va_end(args);
    return r->last;
}

static void locate(const json_reader *r, size_t offset, size_t *line, size_t *column) {
    *line = 1;
    *column = 1;
    for (size_t i = 0; i < offset; i++) {
        if (r->data[i] == '\n') {
            ++*line;
            *column = 1;
        } else if (((uint8_t)r->data[i] & 0xC0) != 0x80) {
            ++*column;
        }
    }
}

static void skip_space(json_reader *r) {
    const char *p = r->at;
    const char *end = r->end;
    while (p < end && (uint8_t)*p <= ' ' && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) {
        p++;
    }
    r->at = p;
}

static json_event read_value(json_reader *r) {
    if (r->at == r->end) {
        return fail(r, r->at, "a value was expected, found the end");
    }
    switch (*r->at) {
    case '"':
        if (!read_string(r)) {
            return JSON_EVENT_ERROR;
        }
        r->state = STATE_AFTER;
        return JSON_EVENT_STRING;
    case '{': return open_level(r, true);
    case '[': return open_level(r, false);
    case 't': return read_word(r, STR_LIT("true"), JSON_EVENT_TRUE);
    case 'f': return read_word(r, STR_LIT("false"), JSON_EVENT_FALSE);
    case 'n': return read_word(r, STR_LIT("null"), JSON_EVENT_NULL);
    default: return read_number(r);
    }
}

/* Behind a value: a comma and what follows it, or the end of something. */
static json_event read_after(json_reader *r) {
    if (r->depth == 0) {
        return r->at == r->end ? JSON_EVENT_END
                               : fail(r, r->at, "text behind the end of the document");
    }
    const bool is_object = in_object(r);
    if (r->at < r->end && *r->at == ',') {
        r->at++;
        skip_space(r);
        r->from = (size_t)(r->at - r->data);
        return is_object ? read_key(r) : read_value(r);
    }
    if (r->at < r->end && *r->at == (is_object ? '}' : ']')) {
        return close_level(r);
    }
    return fail(r, r->at,
                r->at == r->end ? "',' or '%c' was expected, found the end"
                                : "',' or '%c' was expected",
                is_object ? '}' : ']');
}

static json_event read_key(json_reader *r) {
    if (r->at == r->end || *r->at != '"') {
        return fail(r, r->at, "a key in quotes was expected%s",
                    r->at == r->end ? ", found the end" : "");
    }
    if (!read_string(r)) {
        return JSON_EVENT_ERROR;
    }
    skip_space(r);
    if (r->at == r->end || *r->at != ':') {
        return fail(r, r->at, "':' was expected%s", r->at == r->end ? ", found the end" : "");
    }
    r->at++;
    r->state = STATE_VALUE;
    return JSON_EVENT_KEY;
}

static json_event open_level(json_reader *r, bool is_object) {
    if (r->depth == JSON_READER_DEPTH_MAX) {
        return fail(r, r->at, "nested more than %u deep", JSON_READER_DEPTH_MAX);
    }
    const uint64_t bit = (uint64_t)1 << r->depth % 64;
    uint64_t *word = &r->is_object[r->depth / 64];
    *word = is_object ? *word | bit : *word & ~bit;
    r->depth++;
    r->at++;
    r->state = is_object ? STATE_FIRST_KEY : STATE_FIRST;
    return is_object ? JSON_EVENT_OBJECT : JSON_EVENT_ARRAY;
}

static json_event close_level(json_reader *r) {
    WEFT_DEBUG_ASSERT(r->depth > 0);
    const bool is_object = in_object(r);
    r->at++;
    r->depth--;
    r->state = STATE_AFTER;
    return is_object ? JSON_EVENT_OBJECT_END : JSON_EVENT_ARRAY_END;
}

static json_event read_word(json_reader *r, str word, json_event event) {
    if ((size_t)(r->end - r->at) < word.len || memcmp(r->at, word.data, word.len) != 0) {
        return fail(r, r->at, "a value was expected");
    }
    r->at += word.len;
    r->state = STATE_AFTER;
    return event;
}

static json_event read_number(json_reader *r) {
    const char *p = r->at;
    const char *end = r->end;
    const bool is_negative = *p == '-';
    p += is_negative;
    const char *digits = p;
    p = scan_digits(p, end);
    if (p == digits) {
        return is_negative ? fail(r, p, "a digit was expected")
                           : fail(r, p, "a value was expected");
    }
    if (*digits == '0' && p - digits > 1) {
        return fail(r, digits, "a number begins with 0");
    }
    bool is_real = false;
    if (p < end && *p == '.') {
        const char *fraction = p + 1;
        p = scan_digits(fraction, end);
        is_real = true;
        if (p == fraction) {
            return fail(r, p, "a digit was expected");
        }
    }
    if (p < end && (*p == 'e' || *p == 'E')) {
        const char *exponent = p + 1;
        exponent += exponent < end && (*exponent == '+' || *exponent == '-');
        p = scan_digits(exponent, end);
        is_real = true;
        if (p == exponent) {
            return fail(r, p, "a digit was expected");
        }
    }
    r->text = str_from(r->at, (size_t)(p - r->at));
    if (is_real ? !convert_real(r->text, &r->real) : !str_parse_i64(r->text, &r->integer)) {
        return fail(r, r->at, "number " STR_FMT " is too large, or longer than 127 characters",
                    STR_ARG(str_slice(r->text, 0, 40)));
    }
    if (!is_real) {
        r->real = (double)r->integer;
    }
    r->at = p;
    r->state = STATE_AFTER;
    return is_real ? JSON_EVENT_REAL : JSON_EVENT_INTEGER;
}

static const char *scan_digits(const char *p, const char *end) {
    while (p < end && *p >= '0' && *p <= '9') {
        p++;
    }
    return p;
}

/* text is a number of JSON. False when it is too large for a double. */
static bool convert_real(str text, double *out) {
    static const double powers[POWER_MAX + 1] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    const bool is_negative = text.data[0] == '-';
    uint64_t mantissa = 0;
    size_t n_fraction = 0;
    bool is_simple = text.len <= 20;
    bool is_behind_point = false;
    for (size_t i = is_negative; i < text.len && is_simple; i++) {
        const char c = text.data[i];
        if (c == '.') {
            is_behind_point = true;
            continue;
        }
        is_simple = c >= '0' && c <= '9';
        mantissa = mantissa * 10 + (uint64_t)(c - '0');
        n_fraction += is_behind_point;
    }
    if (is_simple && mantissa <= EXACT_MAX && n_fraction <= POWER_MAX) {
        const double value = (double)mantissa / powers[n_fraction];
        *out = is_negative ? -value : value;
        return true;
    }
    return str_parse_f64(text, out);
}

/* From the opening quote to behind the closing one; r->text is what is between them. */
static bool read_string(json_reader *r) {
    const char *from = r->at + 1;
    const char *p = from;
    bool has_escape = false;
    for (;;) {
        p = scan_plain(p, r->end);
        if (p == r->end) {
            (void)fail(r, r->at, "a string without its closing quote");
            return false;
        }
        const uint8_t c = (uint8_t)*p;
        if (c == '"') {
            break;
        }
        if (c == '\\') {
            has_escape = true;
            p = scan_escape(r, p);
            if (p == NULL) {
                return false;
            }
        } else if (c < 0x20) {
            (void)fail(r, p, "control character %02X in a string", c);
            return false;
        } else {
            size_t n;
            if (utf8_decode(str_from(p, (size_t)(r->end - p)), &n) == UTF8_INVALID) {
                (void)fail(r, p, "byte %02X in a string is not UTF-8", c);
                return false;
            }
            p += n;
        }
    }
    r->text = str_from(from, (size_t)(p - from));
    r->at = p + 1;
    return !has_escape || r->is_skipping || unescape(r, r->text);
}

static bool is_plain(uint8_t c) { return c >= 0x20 && c < 0x80 && c != '"' && c != '\\'; }

/* The place of the lowest byte of which the high bit is set, in memory's order on the machines that
 * this runs on. */
static size_t first_byte(uint64_t highs) { return WEFT_CTZ64(highs) / 8; }

/* Behind the bytes that stand for themselves: ASCII without controls, quote and backslash, and the
 * two-byte characters, which are common in byte-level vocabularies. */
static const char *scan_plain(const char *p, const char *end) {
    const uint64_t ones = 0x0101010101010101u;
    const uint64_t highs = 0x8080808080808080u;
    for (;;) {
        uint64_t stops = 0;
        while (end - p >= 8) {
            uint64_t w;
            memcpy(&w, p, sizeof w);
            const uint64_t quote = w ^ ones * '"';
            const uint64_t slash = w ^ ones * '\\';
            stops = ((quote - ones) | (slash - ones) | (w - ones * 0x20) | w) & highs;
            if (stops != 0) { /* the lowest is a true one */
                p += first_byte(stops);
                break;
            }
            p += 8;
        }
        while (stops == 0 && p < end && is_plain((uint8_t)*p)) {
            p++;
        }
        if (end - p < 2 || (uint8_t)p[0] < 0xC2 || (uint8_t)p[0] > 0xDF ||
            ((uint8_t)p[1] & 0xC0) != 0x80) {
            return p;
        }
        p += 2;
    }
}

/* Behind the escape at p, which is checked; NULL after an error. */
static const char *scan_escape(json_reader *r, const char *p) {
    if (r->end - p < 2) {
        (void)fail(r, r->at, "a string without its closing quote");
        return NULL;
    }
    if (p[1] != 'u') {
        if (p[1] == '\0' || strchr("\"\\/bfnrt", p[1]) == NULL) {
            (void)fail(r, p, "a backslash before byte %02X, which is no escape", (uint8_t)p[1]);
            return NULL;
        }
        return p + 2;
    }
    const int unit = hex4(p + 2, r->end);
    if (unit < 0) {
        (void)fail(r, p, "\\u without four hexadecimal digits");
        return NULL;
    }
    if (unit < 0xD800 || unit > 0xDFFF) {
        return p + 6;
    }
    const bool has_second = r->end - p >= 12 && p[6] == '\\' && p[7] == 'u';
    const int second = has_second ? hex4(p + 8, r->end) : -1;
    if (unit > 0xDBFF || second < 0xDC00 || second > 0xDFFF) {
        (void)fail(r, p, "\\u%.4s is half a surrogate pair", p + 2);
        return NULL;
    }
    return p + 12;
}

static int hex4(const char *p, const char *end) {
    if (end - p < 4) {
        return -1;
    }
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

/* raw has been checked. */
static bool unescape(json_reader *r, str raw) {
    char *out = r->strings != NULL ? arena_alloc(r->strings, raw.len, 1) : NULL;
    if (out == NULL) {
        (void)json_reader_fail(r, NULL, r->strings != NULL ? WEFT_NOMEM : WEFT_INVALID,
                               "no memory for a string of %zu bytes with escapes", raw.len);
        return false;
    }
    const char *p = raw.data;
    const char *end = raw.data + raw.len;
    size_t n = 0;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        const size_t plain = (size_t)((slash != NULL ? slash : end) - p);
        memcpy(out + n, p, plain);
        n += plain;
        if (slash == NULL) {
            break;
        }
        p = slash + 2;
        const char c = slash[1];
        if (c != 'u') {
            out[n++] = (char)(c == 'n'   ? '\n'
                              : c == 't' ? '\t'
                              : c == 'r' ? '\r'
                              : c == 'b' ? '\b'
                              : c == 'f' ? '\f'
                                         : c);
            continue;
        }
        uint32_t cp = (uint32_t)hex4(p, end);
        p += 4;
        if (cp >= 0xD800 && cp <= 0xDBFF) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + ((uint32_t)hex4(p + 2, end) - 0xDC00);
            p += 6;
        }
        n += utf8_encode(out + n, cp);
    }
    r->text = str_from(out, n);
    return true;
}
