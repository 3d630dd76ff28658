/* test_meta.c - typed values out of metadata.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gguf_image.h"
#include "weights/weights.h"

static gguf_image image;
static uint8_t *bytes;
static weights *opened;

static int setup(void **state) {
    (void)state;
    gguf_image_init(&image, 3);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    weights_release(&opened);
    mem_free(bytes);
    bytes = NULL;
    gguf_image_deinit(&image);
    return 0;
}

/* The image as it is now, until teardown. */
static const weights *open_image(void) {
    size_t len = 0;
    weft_error err = {0};
    bytes = gguf_image_finish(&image, &len);
    if (weights_open_memory(&opened, bytes, len, "m.gguf", &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return opened;
}

static const meta_value *value_of(const char *key) {
    const meta_value *m = weights_meta(opened, key);
    assert_non_null(m);
    assert_true(str_eq_cstr(m->key, key));
    return m;
}

static const struct {
    const char *key;
    meta_type type;
    int64_t low;
    int64_t high;
} int_types[] = {
    {"u8", META_U8, 0, UINT8_MAX},    {"i8", META_I8, INT8_MIN, INT8_MAX},
    {"u16", META_U16, 0, UINT16_MAX}, {"i16", META_I16, INT16_MIN, INT16_MAX},
    {"u32", META_U32, 0, UINT32_MAX}, {"i32", META_I32, INT32_MIN, INT32_MAX},
    {"u64", META_U64, 0, INT64_MAX},  {"i64", META_I64, INT64_MIN, INT64_MAX},
    {"bool", META_BOOL, 0, 1},
};

#define INT_TYPES (sizeof(int_types) / sizeof(int_types[0]))

static void every_integer_type_keeps_its_extremes(void **state) {
    (void)state;
    char key[32];
    for (size_t t = 0; t < INT_TYPES; t++) {
        snprintf(key, sizeof(key), "%s.low", int_types[t].key);
        gguf_image_int(&image, key, int_types[t].type, int_types[t].low);
        snprintf(key, sizeof(key), "%s.high", int_types[t].key);
        gguf_image_int(&image, key, int_types[t].type, int_types[t].high);
    }
    open_image();
    for (size_t t = 0; t < INT_TYPES; t++) {
        const int64_t low = int_types[t].low;
        const int64_t high = int_types[t].high;
        uint64_t u = 77;
        int64_t i = 77;
        snprintf(key, sizeof(key), "%s.low", int_types[t].key);
        const meta_value *m = value_of(key);
        assert_int_equal(m->type, int_types[t].type);
        assert_int_equal(m->count, 1);
        assert_true(meta_as_i64(m, 0, &i));
        assert_true(i == low);
        assert_int_equal(meta_as_u64(m, 0, &u), low >= 0);
        assert_true(u == (low >= 0 ? (uint64_t)low : 77));
        snprintf(key, sizeof(key), "%s.high", int_types[t].key);
        m = value_of(key);
        assert_true(meta_as_i64(m, 0, &i));
        assert_true(i == high);
        assert_true(meta_as_u64(m, 0, &u));
        assert_true(u == (uint64_t)high);
        assert_false(meta_as_u64(m, 1, &u));
    }
}

static void every_integer_array_keeps_its_elements(void **state) {
    (void)state;
    for (size_t t = 0; t < INT_TYPES; t++) {
        const int64_t values[3] = {int_types[t].low, 1, int_types[t].high};
        gguf_image_ints(&image, int_types[t].key, int_types[t].type, values, 3);
    }
    open_image();
    for (size_t t = 0; t < INT_TYPES; t++) {
        const meta_value *m = value_of(int_types[t].key);
        int64_t i = 0;
        assert_int_equal(m->type, META_ARRAY);
        assert_int_equal(m->elem_type, int_types[t].type);
        assert_int_equal(m->count, 3);
        assert_true(meta_as_i64(m, 0, &i));
        assert_true(i == int_types[t].low);
        assert_true(meta_as_i64(m, 1, &i));
        assert_true(i == 1);
        assert_true(meta_as_i64(m, 2, &i));
        assert_true(i == int_types[t].high);
        assert_false(meta_as_i64(m, 3, &i));
        assert_false(meta_as_i64(m, UINT64_MAX, &i));
    }
}

static void largest_u64_is_no_i64(void **state) {
    (void)state;
    gguf_image_int(&image, "k", META_U64, -1);
    open_image();
    const meta_value *m = value_of("k");
    uint64_t u = 0;
    int64_t i = 7;
    double f = 0;
    assert_true(meta_as_u64(m, 0, &u));
    assert_true(u == UINT64_MAX);
    assert_false(meta_as_i64(m, 0, &i));
    assert_int_equal(i, 7);
    assert_true(meta_as_f64(m, 0, &f));
    assert_true(f == 18446744073709551615.0);
}

static void floats_and_integers_read_as_f64(void **state) {
    (void)state;
    gguf_image_float(&image, "f32", META_F32, 0.1);
    gguf_image_float(&image, "f64", META_F64, 0.1);
    gguf_image_int(&image, "i32", META_I32, -5);
    gguf_image_int(&image, "bool", META_BOOL, 1);
    gguf_image_floats(&image, "floats", (const float[]){1.5f, -2.5f}, 2);
    const double doubles[2] = {1e300, -0.25};
    gguf_image_array(&image, "doubles", META_F64, doubles, 2);
    open_image();
    double f = 0;
    uint64_t u = 0;
    assert_true(meta_as_f64(value_of("f32"), 0, &f));
    assert_true(f == (double)0.1f);
    assert_true(meta_as_f64(value_of("f64"), 0, &f));
    assert_true(f == 0.1);
    assert_true(meta_as_f64(value_of("i32"), 0, &f));
    assert_true(f == -5.0);
    assert_true(meta_as_f64(value_of("floats"), 1, &f));
    assert_true(f == -2.5);
    assert_true(meta_as_f64(value_of("doubles"), 0, &f));
    assert_true(f == 1e300);
    assert_false(meta_as_f64(value_of("floats"), 2, &f));
    assert_false(meta_as_f64(value_of("bool"), 0, &f));
    assert_false(meta_as_u64(value_of("f32"), 0, &u));
    assert_false(meta_as_u64(value_of("floats"), 0, &u));
}

static void any_byte_but_zero_is_true(void **state) {
    (void)state;
    gguf_image_int(&image, "no", META_BOOL, 0);
    gguf_image_int(&image, "yes", META_BOOL, 1);
    gguf_image_int(&image, "odd", META_BOOL, 0xfe);
    gguf_image_ints(&image, "several", META_BOOL, (const int64_t[]){0, 2}, 2);
    gguf_image_int(&image, "number", META_U8, 1);
    open_image();
    bool b = true;
    uint64_t u = 0;
    assert_true(meta_as_bool(value_of("no"), 0, &b));
    assert_false(b);
    assert_true(meta_as_bool(value_of("yes"), 0, &b));
    assert_true(b);
    assert_true(meta_as_bool(value_of("odd"), 0, &b));
    assert_true(b);
    assert_true(meta_as_u64(value_of("odd"), 0, &u));
    assert_int_equal(u, 1);
    assert_true(meta_as_bool(value_of("several"), 0, &b));
    assert_false(b);
    assert_true(meta_as_bool(value_of("several"), 1, &b));
    assert_true(b);
    assert_false(meta_as_bool(value_of("number"), 0, &b));
}

static void strings_are_read_whole(void **state) {
    (void)state;
    static const char *const words[] = {"one", "", "drei und mehr", "\xff\xfe"};
    gguf_image_str(&image, "name", "SmolLM2");
    gguf_image_str(&image, "empty", "");
    gguf_image_strs(&image, "words", words, 4);
    gguf_image_strs(&image, "none", words, 0);
    gguf_image_int(&image, "number", META_U32, 1);
    open_image();
    str s = {0};
    assert_true(meta_as_str(value_of("name"), &s));
    assert_true(str_eq_cstr(s, "SmolLM2"));
    assert_true(meta_as_str(value_of("empty"), &s));
    assert_int_equal(s.len, 0);
    assert_false(meta_as_str(value_of("words"), &s));
    assert_false(meta_as_str(value_of("number"), &s));

    uint64_t cursor = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_true(meta_next_str(value_of("words"), &cursor, &s));
        assert_true(str_eq_cstr(s, words[i]));
    }
    assert_false(meta_next_str(value_of("words"), &cursor, &s));
    assert_false(meta_next_str(value_of("words"), &cursor, &s));
    cursor = 0;
    assert_false(meta_next_str(value_of("none"), &cursor, &s));
    assert_false(meta_next_str(value_of("name"), &cursor, &s));
    assert_false(meta_next_str(value_of("number"), &cursor, &s));
}

static void absent_key_is_no_error_and_leaves_the_default(void **state) {
    (void)state;
    const weights *w = open_image();
    uint32_t u = 5;
    float f = 5;
    bool b = true;
    str s = STR_LIT("five");
    bool found = true;
    assert_int_equal(weights_get_u32(w, "k", &u, &found, NULL), WEFT_OK);
    assert_false(found);
    found = true;
    assert_int_equal(weights_get_f32(w, "k", &f, &found, NULL), WEFT_OK);
    assert_false(found);
    found = true;
    assert_int_equal(weights_get_bool(w, "k", &b, &found, NULL), WEFT_OK);
    assert_false(found);
    found = true;
    assert_int_equal(weights_get_str(w, "k", &s, &found, NULL), WEFT_OK);
    assert_false(found);
    assert_int_equal(u, 5);
    assert_true(f == 5);
    assert_true(b);
    assert_true(str_eq_cstr(s, "five"));
}

static void look_ups_convert_what_fits(void **state) {
    (void)state;
    gguf_image_int(&image, "u", META_I64, 4294967295);
    gguf_image_int(&image, "fi", META_U16, 3);
    gguf_image_float(&image, "f", META_F64, 1e-5);
    gguf_image_int(&image, "b", META_BOOL, 1);
    gguf_image_str(&image, "s", "gpt2");
    const weights *w = open_image();
    uint32_t u = 0;
    float f = 0;
    bool b = false;
    str s = {0};
    bool found = false;
    assert_int_equal(weights_get_u32(w, "u", &u, &found, NULL), WEFT_OK);
    assert_true(found);
    assert_true(u == UINT32_MAX);
    assert_int_equal(weights_get_f32(w, "fi", &f, &found, NULL), WEFT_OK);
    assert_true(f == 3);
    assert_int_equal(weights_get_f32(w, "f", &f, &found, NULL), WEFT_OK);
    assert_true(f == 1e-5f);
    assert_int_equal(weights_get_bool(w, "b", &b, &found, NULL), WEFT_OK);
    assert_true(b);
    assert_int_equal(weights_get_str(w, "s", &s, &found, NULL), WEFT_OK);
    assert_true(str_eq_cstr(s, "gpt2"));
}

typedef weft_status get_fn(const weights *w, const char *key, weft_error *err);

static weft_status get_u32(const weights *w, const char *key, weft_error *err) {
    uint32_t out = 0;
    bool found = false;
    return weights_get_u32(w, key, &out, &found, err);
}

static weft_status get_f32(const weights *w, const char *key, weft_error *err) {
    float out = 0;
    bool found = false;
    return weights_get_f32(w, key, &out, &found, err);
}

static weft_status get_bool(const weights *w, const char *key, weft_error *err) {
    bool out = false;
    bool found = false;
    return weights_get_bool(w, key, &out, &found, err);
}

static weft_status get_str(const weights *w, const char *key, weft_error *err) {
    str out = {0};
    bool found = false;
    return weights_get_str(w, key, &out, &found, err);
}

static void wrong_types_are_refused_with_what_was_found(void **state) {
    (void)state;
    gguf_image_int(&image, "minus", META_I32, -1);
    gguf_image_int(&image, "wide", META_U64, (int64_t)1 << 32);
    gguf_image_float(&image, "half", META_F32, 0.5);
    gguf_image_float(&image, "nan", META_F32, (double)NAN);
    gguf_image_float(&image, "large", META_F64, 1e300);
    gguf_image_int(&image, "flag", META_BOOL, 1);
    gguf_image_str(&image, "text", "abc");
    gguf_image_floats(&image, "list", (const float[]){1, 2}, 2);
    gguf_image_ints(&image, "one", META_U32, (const int64_t[]){1}, 1);
    const weights *w = open_image();
    static const struct {
        get_fn *get;
        const char *key;
        const char *message;
    } cases[] = {
        {get_u32, "minus", "m.gguf: key 'minus' is i32 -1; want an integer from 0 to 4294967295"},
        {get_u32, "wide", "key 'wide' is u64 4294967296; want"},
        {get_u32, "half", "key 'half' is f32 0.5; want"},
        {get_u32, "flag", "key 'flag' is bool true; want"},
        {get_u32, "one", "key 'one' is array of 1 u32; want"},
        {get_f32, "text", "key 'text' is string 'abc'; want a finite number"},
        {get_f32, "list", "key 'list' is array of 2 f32; want a finite number"},
        {get_f32, "nan", "key 'nan' is f32 "},
        {get_f32, "large", "key 'large' is f64 1e+300; want a finite number"},
        {get_bool, "one", "key 'one' is array of 1 u32; want a bool"},
        {get_bool, "half", "key 'half' is f32 0.5; want a bool"},
        {get_str, "flag", "key 'flag' is bool true; want a string"},
        {get_str, "list", "key 'list' is array of 2 f32; want a string"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        weft_error err = {0};
        assert_int_equal(cases[i].get(w, cases[i].key, &err), WEFT_FORMAT);
        if (strstr(err.message, cases[i].message) == NULL) {
            fail_msg("'%s' lacks '%s'", err.message, cases[i].message);
        }
    }
}

static void every_type_has_a_name(void **state) {
    (void)state;
    static const char *const names[META_TYPE_COUNT] = {
        "u8",   "i8",     "u16",   "i16", "u32", "i32", "f32",
        "bool", "string", "array", "u64", "i64", "f64",
    };
    for (int t = 0; t < META_TYPE_COUNT; t++) {
        assert_string_equal(meta_type_name((meta_type)t), names[t]);
    }
}

static void format_cuts_long_strings(void **state) {
    (void)state;
    char text[301] = "";
    memset(text, 'x', sizeof(text) - 1);
    gguf_image_str(&image, "k", text);
    open_image();
    char out[200];
    meta_format(value_of("k"), out, sizeof(out));
    assert_int_equal(strlen(out), strlen("string ''...") + 100);
    char small[8];
    meta_format(value_of("k"), small, sizeof(small));
    assert_string_equal(small, "string ");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_integer_type_keeps_its_extremes),
        TEST(every_integer_array_keeps_its_elements),
        TEST(largest_u64_is_no_i64),
        TEST(floats_and_integers_read_as_f64),
        TEST(any_byte_but_zero_is_true),
        TEST(strings_are_read_whole),
        TEST(absent_key_is_no_error_and_leaves_the_default),
        TEST(look_ups_convert_what_fits),
        TEST(wrong_types_are_refused_with_what_was_found),
        TEST(every_type_has_a_name),
        TEST(format_cuts_long_strings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
