/* jinja_lex.c - the tokeniser of templates.
 *
 * jinja2's lexer is a set of regular expressions with a stack of states; this is the same
 * machine written out. Outside tags there is data; "{{", "{%" and "{#" open a print, a block or
 * a comment, and "{% raw %}" copies everything up to "{% endraw %}".
 *
 *   data  {%-        the sign '-' strips white space from the end of the data before it,
 *   data  {%         no sign: blanks between the last newline and the tag go (lstrip_blocks),
 *   data  {%+        '+' keeps them;   prints are never lstripped
 *         %}\n       one newline after a block or comment goes (trim_blocks); "+%}" keeps it
 *         -%} \n     '-' strips all white space after the tag, prints included
 *
 * A closing mark counts only when brackets are balanced, so that {{ {'a': {}} }} works.
 */
#include "text/jinja_lex.h"

#include <errno.h>
#include <stdlib.h>

#include "base/check.h"
#include "base/mem.h"
#include "text/jinja_unicode.h"
#include "text/utf8.h"

#define BRACKETS_MAX 256

typedef struct lexer {
    const jinja_source *source;
    str text;
    size_t at;
    bool line_starting; /* what came before `at` was consumed up to a newline */
    arena *memory;
    jinja_tokens *tokens;
    weft_error *err;
    char brackets[BRACKETS_MAX]; /* closing characters still to come */
    size_t n_brackets;
} lexer;

typedef struct operator_text {
    const char *text;
    jinja_token_kind kind;
} operator_text;

/* Longer operators first. */
static const operator_text operators[] = {
    {"//", JINJA_TOKEN_FLOORDIV}, {"**", JINJA_TOKEN_POW},      {"==", JINJA_TOKEN_EQ},
    {"!=", JINJA_TOKEN_NE},       {">=", JINJA_TOKEN_GE},       {"<=", JINJA_TOKEN_LE},
    {"+", JINJA_TOKEN_ADD},       {"-", JINJA_TOKEN_SUB},       {"/", JINJA_TOKEN_DIV},
    {"*", JINJA_TOKEN_MUL},       {"%", JINJA_TOKEN_MOD},       {"~", JINJA_TOKEN_TILDE},
    {"[", JINJA_TOKEN_LBRACKET},  {"]", JINJA_TOKEN_RBRACKET},  {"(", JINJA_TOKEN_LPAREN},
    {")", JINJA_TOKEN_RPAREN},    {"{", JINJA_TOKEN_LBRACE},    {"}", JINJA_TOKEN_RBRACE},
    {">", JINJA_TOKEN_GT},        {"<", JINJA_TOKEN_LT},        {"=", JINJA_TOKEN_ASSIGN},
    {".", JINJA_TOKEN_DOT},       {":", JINJA_TOKEN_COLON},     {"|", JINJA_TOKEN_PIPE},
    {",", JINJA_TOKEN_COMMA},     {";", JINJA_TOKEN_SEMICOLON},
};

static weft_status lex_root(lexer *l);
static weft_status lex_tag(lexer *l, jinja_token_kind end);
static weft_status lex_comment(lexer *l);
static weft_status lex_raw(lexer *l, size_t body);
static weft_status lex_string(lexer *l);
static weft_status lex_number(lexer *l);
static weft_status lex_operator(lexer *l);
static weft_status push(lexer *l, jinja_token_kind kind, size_t at, str text);

weft_status jinja_lex(jinja_tokens *out, arena *memory, const jinja_source *source,
                      weft_error *err) {
    *out = (jinja_tokens){0};
    lexer l = {.source = source,
               .text = source->text,
               .line_starting = true,
               .memory = memory,
               .tokens = out,
               .err = err};
    weft_status status = lex_root(&l);
    if (status == WEFT_OK) {
        status = push(&l, JINJA_TOKEN_EOF, l.text.len, (str){0});
    }
    return status;
}

void jinja_tokens_deinit(jinja_tokens *t) {
    mem_free(t->items);
    *t = (jinja_tokens){0};
}

const char *jinja_token_kind_text(jinja_token_kind kind) {
    switch (kind) {
    case JINJA_TOKEN_EOF: return "end of template";
    case JINJA_TOKEN_DATA: return "template data";
    case JINJA_TOKEN_PRINT_BEGIN: return "begin of print statement";
    case JINJA_TOKEN_PRINT_END: return "end of print statement";
    case JINJA_TOKEN_BLOCK_BEGIN: return "begin of statement block";
    case JINJA_TOKEN_BLOCK_END: return "end of statement block";
    case JINJA_TOKEN_NAME: return "name";
    case JINJA_TOKEN_STRING: return "string";
    case JINJA_TOKEN_INTEGER: return "integer";
    case JINJA_TOKEN_FLOAT: return "float";
    default: break;
    }
    for (size_t i = 0; i < WEFT_LEN(operators); i++) {
        if (operators[i].kind == kind) {
            return operators[i].text;
        }
    }
    return "token";
}

static weft_status fail(lexer *l, size_t at, const char *what) {
    return jinja_source_fail(l->source, (uint32_t)at, l->err, WEFT_FORMAT, "%s", what);
}

static weft_status push(lexer *l, jinja_token_kind kind, size_t at, str text) {
    jinja_tokens *t = l->tokens;
    if (t->count == t->capacity) {
        const size_t capacity = t->capacity == 0 ? 256 : t->capacity * 2;
        jinja_token *items = mem_realloc(MEM_TEXT, t->items, capacity, sizeof(*items));
        if (items == NULL) {
            return jinja_source_fail(l->source, (uint32_t)at, l->err, WEFT_NOMEM,
                                     "out of memory for %zu tokens", capacity);
        }
        t->items = items;
        t->capacity = capacity;
    }
    t->items[t->count++] = (jinja_token){.kind = kind, .at = (uint32_t)at, .text = text};
    return WEFT_OK;
}

static char peek(const lexer *l, size_t ahead) {
    return l->at + ahead < l->text.len ? l->text.data[l->at + ahead] : '\0';
}

static bool looking_at(const lexer *l, size_t at, const char *what) {
    const size_t n = strlen(what);
    return l->text.len - at >= n && memcmp(l->text.data + at, what, n) == 0;
}

static size_t skip_space(const lexer *l, size_t at) {
    while (at < l->text.len) {
        size_t n;
        if (!jinja_cp_is_space(jinja_cp_at(l->text, at, &n))) {
            break;
        }
        at += n;
    }
    return at;
}

/* Moves past a closing mark of `mark` bytes at l->at. sign is what stood before the mark. */
static void close_tag(lexer *l, size_t mark_end, char sign, bool trims_newline) {
    const size_t begin = l->at;
    l->at = mark_end;
    if (sign == '-') {
        l->at = skip_space(l, l->at);
    } else if (sign == '\0' && trims_newline && peek(l, 0) == '\n') {
        l->at++;
    }
    l->line_starting = l->at > begin && l->text.data[l->at - 1] == '\n';
}

static bool is_name_start(uint32_t cp) {
    return cp == '_' ||
           (cp < 0x80 ? (cp | 0x20) >= 'a' && (cp | 0x20) <= 'z' : jinja_cp_is_alpha(cp));
}

/* Where "raw" ends if a raw tag stands at `at` ("{%"), else 0: {%[-+]? raw -?%} */
static size_t match_raw_begin(const lexer *l, size_t at) {
    size_t i = at + 2;
    if (i < l->text.len && (l->text.data[i] == '-' || l->text.data[i] == '+')) {
        i++;
    }
    i = skip_space(l, i);
    if (!looking_at(l, i, "raw")) {
        return 0;
    }
    i = skip_space(l, i + 3);
    if (looking_at(l, i, "-%}")) {
        return skip_space(l, i + 3);
    }
    return looking_at(l, i, "%}") ? i + 2 : 0;
}

/* Pushes the data before a tag, stripped as the sign after the tag's mark asks. */
static weft_status push_data(lexer *l, size_t from, size_t to, char sign, bool is_print) {
    str data = str_slice(l->text, from, to);
    if (sign == '-') {
        data = jinja_str_rstrip(data);
    } else if (sign != '+' && !is_print) {
        size_t line = data.len;
        while (line > 0 && data.data[line - 1] != '\n') {
            line--;
        }
        if ((line > 0 || l->line_starting) && jinja_str_is_blank(str_slice(data, line, data.len))) {
            data.len = line;
        }
    }
    return data.len > 0 ? push(l, JINJA_TOKEN_DATA, from, data) : WEFT_OK;
}

static char sign_at(const lexer *l, size_t at) {
    const char c = at < l->text.len ? l->text.data[at] : '\0';
    return c == '-' || c == '+' ? c : '\0';
}

static size_t find_tag(const lexer *l, size_t from) {
    for (size_t i = from; i + 1 < l->text.len; i++) {
        const char *brace = memchr(l->text.data + i, '{', l->text.len - 1 - i);
        if (brace == NULL) {
            break;
        }
        i = (size_t)(brace - l->text.data);
        if (brace[1] == '{' || brace[1] == '%' || brace[1] == '#') {
            return i;
        }
    }
    return l->text.len;
}

static weft_status lex_root(lexer *l) {
    while (l->at < l->text.len) {
        const size_t tag = find_tag(l, l->at);
        if (tag == l->text.len) {
            return push(l, JINJA_TOKEN_DATA, l->at, str_slice(l->text, l->at, tag));
        }
        const char kind = l->text.data[tag + 1];
        const char sign = sign_at(l, tag + 2);
        weft_status status = push_data(l, l->at, tag, sign, kind == '{');
        if (status != WEFT_OK) {
            return status;
        }
        const size_t raw = kind == '%' ? match_raw_begin(l, tag) : 0;
        l->at = tag + 2 + (sign != '\0');
        l->line_starting = false;
        if (raw != 0) {
            status = lex_raw(l, raw);
        } else if (kind == '#') {
            status = lex_comment(l);
        } else {
            const bool is_print = kind == '{';
            status = push(l, is_print ? JINJA_TOKEN_PRINT_BEGIN : JINJA_TOKEN_BLOCK_BEGIN, tag,
                          str_slice(l->text, tag, tag + 2));
            if (status == WEFT_OK) {
                status = lex_tag(l, is_print ? JINJA_TOKEN_PRINT_END : JINJA_TOKEN_BLOCK_END);
            }
        }
        if (status != WEFT_OK) {
            return status;
        }
    }
    return WEFT_OK;
}

static weft_status lex_comment(lexer *l) {
    const size_t begin = l->at;
    const size_t mark = str_find(l->text, STR_LIT("#}"), begin);
    if (mark == SIZE_MAX && begin == l->text.len) {
        return WEFT_OK; /* jinja2 complains about the first character, and there is none */
    }
    if (mark == SIZE_MAX) {
        return fail(l, begin, "missing end of comment tag");
    }
    const char sign = mark > begin ? sign_at(l, mark - 1) : '\0';
    l->at = mark;
    close_tag(l, mark + 2, sign, true);
    return WEFT_OK;
}

static weft_status lex_raw(lexer *l, size_t body) {
    const size_t begin = l->at;
    l->line_starting = l->text.data[body - 1] == '\n';
    size_t i = body;
    for (; (i = str_find(l->text, STR_LIT("{%"), i)) != SIZE_MAX; i += 2) {
        const char sign = sign_at(l, i + 2);
        size_t end = skip_space(l, i + 2 + (sign != '\0'));
        if (!looking_at(l, end, "endraw")) {
            continue;
        }
        end = skip_space(l, end + 6);
        const char end_sign = sign_at(l, end);
        end += end_sign != '\0';
        if (!looking_at(l, end, "%}")) {
            continue;
        }
        const weft_status status = push_data(l, body, i, sign, false);
        l->at = i;
        close_tag(l, end + 2, end_sign, true);
        return status;
    }
    if (body == l->text.len) {
        l->at = body;
        return WEFT_OK;
    }
    return fail(l, begin, "missing end of raw directive");
}

/* The closing mark of the tag being read, if it stands here: its end, and the sign before it. */
static size_t match_tag_end(const lexer *l, jinja_token_kind end, char *sign) {
    const char *mark = end == JINJA_TOKEN_PRINT_END ? "}}" : "%}";
    *sign = sign_at(l, l->at);
    if (*sign == '+' && end == JINJA_TOKEN_PRINT_END) {
        *sign = '\0';
    }
    const size_t at = l->at + (*sign != '\0');
    return looking_at(l, at, mark) ? at + 2 : 0;
}

static weft_status lex_name(lexer *l) {
    const size_t begin = l->at;
    while (l->at < l->text.len) {
        size_t n;
        const uint32_t cp = jinja_cp_at(l->text, l->at, &n);
        if (!is_name_start(cp) && !jinja_cp_is_word(cp)) {
            break;
        }
        l->at += n;
    }
    return push(l, JINJA_TOKEN_NAME, begin, str_slice(l->text, begin, l->at));
}

static weft_status lex_tag(lexer *l, jinja_token_kind end) {
    const size_t begin = l->at;
    l->n_brackets = 0;
    while (l->at < l->text.len) {
        char sign;
        const size_t mark_end = l->n_brackets == 0 ? match_tag_end(l, end, &sign) : 0;
        if (mark_end != 0) {
            const size_t at = l->at;
            close_tag(l, mark_end, sign, end == JINJA_TOKEN_BLOCK_END);
            return push(l, end, at, str_slice(l->text, at, mark_end));
        }
        size_t n;
        const uint32_t cp = jinja_cp_at(l->text, l->at, &n);
        weft_status status = WEFT_OK;
        if (jinja_cp_is_space(cp)) {
            l->at += n;
        } else if (cp >= '0' && cp <= '9') {
            status = lex_number(l);
        } else if (is_name_start(cp)) {
            status = lex_name(l);
        } else if (cp == '\'' || cp == '"') {
            status = lex_string(l);
        } else {
            status = lex_operator(l);
        }
        if (status != WEFT_OK) {
            return status;
        }
    }
    return fail(l, begin,
                end == JINJA_TOKEN_PRINT_END
                    ? "unexpected end of template, expected 'end of print statement'"
                    : "unexpected end of template, expected 'end of statement block'");
}

static weft_status balance(lexer *l, char c) {
    if (c == '(' || c == '[' || c == '{') {
        if (l->n_brackets == BRACKETS_MAX) {
            return fail(l, l->at, "brackets are nested too deeply");
        }
        l->brackets[l->n_brackets++] = c == '(' ? ')' : c == '[' ? ']' : '}';
        return WEFT_OK;
    }
    if (c != ')' && c != ']' && c != '}') {
        return WEFT_OK;
    }
    if (l->n_brackets == 0) {
        return jinja_source_fail(l->source, (uint32_t)l->at, l->err, WEFT_FORMAT, "unexpected '%c'",
                                 c);
    }
    const char wanted = l->brackets[--l->n_brackets];
    if (wanted != c) {
        return jinja_source_fail(l->source, (uint32_t)l->at, l->err, WEFT_FORMAT,
                                 "unexpected '%c', expected '%c'", c, wanted);
    }
    return WEFT_OK;
}

static weft_status lex_operator(lexer *l) {
    for (size_t i = 0; i < WEFT_LEN(operators); i++) {
        if (!looking_at(l, l->at, operators[i].text)) {
            continue;
        }
        weft_status status = balance(l, l->text.data[l->at]);
        if (status != WEFT_OK) {
            return status;
        }
        const size_t at = l->at;
        l->at += strlen(operators[i].text);
        return push(l, operators[i].kind, at, str_slice(l->text, at, l->at));
    }
    size_t n;
    jinja_cp_at(l->text, l->at, &n);
    return jinja_source_fail(l->source, (uint32_t)l->at, l->err, WEFT_FORMAT,
                             "unexpected character '%.*s'", (int)n, l->text.data + l->at);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

/* End of a run of digits in which single underscores may stand between two digits. */
static size_t skip_digits(const lexer *l, size_t at) {
    while (at < l->text.len &&
           (is_digit(l->text.data[at]) ||
            (l->text.data[at] == '_' && at + 1 < l->text.len && is_digit(l->text.data[at + 1])))) {
        at++;
    }
    return at;
}

static bool digit_at(const lexer *l, size_t at) {
    return at < l->text.len && is_digit(l->text.data[at]);
}

/* End of the float that stands at l->at, or 0 when there is none. */
static size_t match_float(const lexer *l) {
    if (l->at > 0 && l->text.data[l->at - 1] == '.') {
        return 0;
    }
    size_t at = skip_digits(l, l->at);
    bool is_float = false;
    if (at < l->text.len && l->text.data[at] == '.' && digit_at(l, at + 1)) {
        at = skip_digits(l, at + 1);
        is_float = true;
    }
    if (at < l->text.len && (l->text.data[at] | 0x20) == 'e') {
        size_t exponent = at + 1;
        if (exponent < l->text.len &&
            (l->text.data[exponent] == '+' || l->text.data[exponent] == '-')) {
            exponent++;
        }
        if (digit_at(l, exponent)) {
            return skip_digits(l, exponent);
        }
    }
    return is_float ? at : 0;
}

static int digit_value(char c) {
    if (is_digit(c)) {
        return c - '0';
    }
    const char lower = (char)(c | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : 99;
}

/* Reads digits of a base from l->at on; false when the number leaves int64. */
static bool read_integer(lexer *l, int base, int64_t *out) {
    uint64_t value = 0;
    for (; l->at < l->text.len; l->at++) {
        const char c = l->text.data[l->at];
        if (c == '_' && l->at + 1 < l->text.len && digit_value(l->text.data[l->at + 1]) < base) {
            continue;
        }
        const int digit = digit_value(c);
        if (digit >= base) {
            break;
        }
        if (value > ((uint64_t)INT64_MAX - (uint64_t)digit) / (uint64_t)base) {
            return false;
        }
        value = value * (uint64_t)base + (uint64_t)digit;
    }
    *out = (int64_t)value;
    return true;
}

static weft_status lex_float(lexer *l, size_t end) {
    char digits[512];
    size_t n = 0;
    const size_t at = l->at;
    for (size_t i = at; i < end && n + 1 < sizeof(digits); i++) {
        if (l->text.data[i] != '_') {
            digits[n++] = l->text.data[i];
        }
    }
    digits[n] = '\0';
    if (n + 1 == sizeof(digits)) {
        return fail(l, at, "a number has more than 510 characters");
    }
    l->at = end;
    const weft_status status = push(l, JINJA_TOKEN_FLOAT, at, str_slice(l->text, at, end));
    if (status == WEFT_OK) {
        l->tokens->items[l->tokens->count - 1].number.real = strtod(digits, NULL);
    }
    return status;
}

static weft_status lex_number(lexer *l) {
    const size_t at = l->at;
    const size_t float_end = match_float(l);
    if (float_end != 0) {
        return lex_float(l, float_end);
    }
    int base = 10;
    const char letter = (char)(peek(l, 1) | 0x20);
    if (peek(l, 0) == '0') {
        base = letter == 'b' ? 2 : letter == 'o' ? 8 : letter == 'x' ? 16 : 10;
        const size_t first = peek(l, 2) == '_' ? 3 : 2;
        if (base != 10 && digit_value(peek(l, first)) >= base) {
            base = 10; /* "0x" without digits is the number 0 and then a name */
        }
        l->at += base != 10 ? first : 0;
    }
    int64_t value;
    if (!read_integer(l, base, &value)) {
        return fail(l, at, "the integer does not fit in 64 bits");
    }
    const weft_status status = push(l, JINJA_TOKEN_INTEGER, at, str_slice(l->text, at, l->at));
    if (status == WEFT_OK) {
        l->tokens->items[l->tokens->count - 1].number.integer = value;
    }
    return status;
}

/* Reads n hexadecimal digits; UTF8_INVALID when they are not there or no character. */
static uint32_t read_hex(str s, size_t at, size_t n) {
    uint32_t value = 0;
    for (size_t i = 0; i < n; i++) {
        const int digit = at + i < s.len ? digit_value(s.data[at + i]) : 99;
        if (digit > 15 || value > 0x10FFFF) {
            return UTF8_INVALID;
        }
        value = value * 16 + (uint32_t)digit;
    }
    return value > 0x10FFFF || (value >= 0xD800 && value < 0xE000) ? UTF8_INVALID : value;
}

/* One escape that begins with the backslash at *at: writes its characters to out (at most 12
 * bytes), moves *at behind it, returns how many bytes were written or SIZE_MAX. */
static size_t unescape_one(str s, size_t *at, char *out) {
    static const char plain[] = "\\'\"abfnrtv";
    static const char means[] = "\\'\"\a\b\f\n\r\t\v";
    const char c = s.data[*at + 1];
    const char *known = strchr(plain, c);
    if (c != '\0' && known != NULL) {
        *at += 2;
        out[0] = means[known - plain];
        return 1;
    }
    if (c == '\n') {
        *at += 2;
        return 0;
    }
    if (c >= '0' && c <= '7') {
        uint32_t value = 0;
        size_t n = 0;
        for (; n < 3 && *at + 1 + n < s.len; n++) {
            const char digit = s.data[*at + 1 + n];
            if (digit < '0' || digit > '7') {
                break;
            }
            value = value * 8 + (uint32_t)(digit - '0');
        }
        *at += 1 + n;
        return utf8_encode(out, value);
    }
    if (c == 'x' || c == 'u' || c == 'U') {
        const size_t n = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        const uint32_t cp = read_hex(s, *at + 2, n);
        *at += 2 + n;
        return cp == UTF8_INVALID ? SIZE_MAX : utf8_encode(out, cp);
    }
    if (c == 'N') {
        return SIZE_MAX;
    }
    out[0] = '\\'; /* unknown escapes stay, as in Python */
    *at += 1;
    return 1;
}

static weft_status unescape(lexer *l, str raw, size_t at, str *out) {
    if (memchr(raw.data, '\\', raw.len) == NULL) {
        *out = raw;
        return WEFT_OK;
    }
    char *data = arena_alloc(l->memory, raw.len + 16, 1);
    if (data == NULL) {
        return jinja_source_fail(l->source, (uint32_t)at, l->err, WEFT_NOMEM,
                                 "out of memory for a string of %zu bytes", raw.len);
    }
    size_t len = 0;
    for (size_t i = 0; i < raw.len;) {
        if (raw.data[i] != '\\' || i + 1 == raw.len) {
            data[len++] = raw.data[i++];
            continue;
        }
        const size_t n = unescape_one(raw, &i, data + len);
        if (n == SIZE_MAX) {
            return fail(l, at, "the string has an escape that is no character");
        }
        len += n;
    }
    *out = str_from(data, len);
    return WEFT_OK;
}

static weft_status lex_string(lexer *l) {
    const size_t at = l->at;
    const char quote = l->text.data[at];
    size_t end = at + 1;
    while (end < l->text.len && l->text.data[end] != quote) {
        end += l->text.data[end] == '\\' ? 2 : 1;
    }
    if (end >= l->text.len) {
        return fail(l, at, "the string is not closed");
    }
    str text;
    const weft_status status = unescape(l, str_slice(l->text, at + 1, end), at, &text);
    if (status != WEFT_OK) {
        return status;
    }
    l->at = end + 1;
    return push(l, JINJA_TOKEN_STRING, at, text);
}
