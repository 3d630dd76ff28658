/* test_gguf.c - what one file image is read as, and what is refused.
 *
 * Good images are built with gguf_image and compared field by field. Each bad image is one good
 * image with one lie in it; the test wants the status and the words that name the lie. Last come
 * the two brute forces: every prefix of a rich image, and every allocation failing in turn.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "gguf_image.h"
#include "weights/gguf.h"

static gguf_image image;

static int setup(void **state) {
    (void)state;
    gguf_image_init(&image, 3);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    gguf_image_deinit(&image);
    return 0;
}

static void expect_refused_bytes(const uint8_t *bytes, size_t len, weft_status want,
                                 const char *words) {
    gguf g = {0};
    weft_error err = {0};
    assert_int_equal(gguf_parse(&g, bytes, len, "bad.gguf", &err), want);
    assert_int_equal(err.code, want);
    assert_null(g.meta);
    if (strncmp(err.message, "bad.gguf: ", 10) != 0 || strstr(err.message, words) == NULL) {
        fail_msg("message '%s' lacks '%s'", err.message, words);
    }
}

static void expect_refused(weft_status want, const char *words) {
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&image, &len);
    expect_refused_bytes(bytes, len, want, words);
    mem_free(bytes);
}

/* The bytes must be freed after the gguf. */
static uint8_t *parse_good(gguf *g, size_t *len) {
    uint8_t *bytes = gguf_image_finish(&image, len);
    weft_error err = {0};
    if (gguf_parse(g, bytes, *len, "good.gguf", &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return bytes;
}

static void empty_file_with_header_is_read(void **state) {
    (void)state;
    for (uint32_t version = 2; version <= 3; version++) {
        image.version = version;
        gguf g;
        size_t len = 0;
        uint8_t *bytes = parse_good(&g, &len);
        assert_int_equal(len, 24);
        assert_int_equal(g.version, version);
        assert_int_equal(g.alignment, 32);
        assert_int_equal(g.n_meta, 0);
        assert_int_equal(g.n_tensors, 0);
        assert_null(gguf_find(&g, "general.architecture"));
        gguf_deinit(&g);
        mem_free(bytes);
    }
}

static void tensors_have_slowest_dimension_first_and_their_bytes(void **state) {
    (void)state;
    const float values[6] = {1, 2, 3, 4, 5, 6};
    uint8_t blocks[2 * 34];
    memset(blocks, 7, sizeof(blocks));
    gguf_image_tensor(&image, "a", WEFT_DTYPE_F32, 2, (uint64_t[]){2, 3}, values);
    gguf_image_tensor(&image, "b", WEFT_DTYPE_Q8_0, 1, (uint64_t[]){64}, blocks);
    gguf_image_tensor(&image, "c", WEFT_DTYPE_I8, 4, (uint64_t[]){2, 1, 3, 5}, NULL);
    gguf g;
    size_t len = 0;
    uint8_t *bytes = parse_good(&g, &len);
    assert_int_equal(g.n_tensors, 3);

    const weights_tensor *a = &g.tensors[0];
    assert_true(str_eq_cstr(a->name, "a"));
    assert_int_equal(a->n_dims, 2);
    assert_int_equal(a->dims[0], 2);
    assert_int_equal(a->dims[1], 3);
    assert_int_equal(a->dims[2], 1);
    assert_int_equal(a->dims[3], 1);
    assert_int_equal(a->n_elements, 6);
    assert_int_equal(a->n_bytes, 24);
    assert_memory_equal(a->data, values, sizeof(values));

    const weights_tensor *b = &g.tensors[1];
    assert_int_equal(b->dtype, WEFT_DTYPE_Q8_0);
    assert_int_equal(b->n_bytes, sizeof(blocks));
    assert_memory_equal(b->data, blocks, sizeof(blocks));
    assert_ptr_equal(b->data, a->data + 32);

    const weights_tensor *c = &g.tensors[2];
    assert_int_equal(c->n_dims, 4);
    assert_int_equal(c->dims[0], 2);
    assert_int_equal(c->dims[3], 5);
    assert_int_equal(c->n_bytes, 30);
    assert_ptr_equal(c->data + 30, bytes + len);
    gguf_deinit(&g);
    mem_free(bytes);
}

static void every_known_dtype_has_its_size(void **state) {
    (void)state;
    char name[32];
    weft_dtype known[WEFT_DTYPE_COUNT];
    unsigned n_known = 0;
    for (int t = 0; t < WEFT_DTYPE_COUNT; t++) {
        if (weft_dtype_info_of((weft_dtype)t)->gguf_id == WEFT_DTYPE_NO_GGUF) {
            continue;
        }
        known[n_known++] = (weft_dtype)t;
        snprintf(name, sizeof(name), "t%d", t);
        gguf_image_tensor(&image, name, (weft_dtype)t, 2, (uint64_t[]){3, 512}, NULL);
    }
    gguf g;
    size_t len = 0;
    uint8_t *bytes = parse_good(&g, &len);
    assert_int_equal(g.n_tensors, n_known);
    for (unsigned t = 0; t < n_known; t++) {
        const weft_dtype_info *info = weft_dtype_info_of(known[t]);
        assert_int_equal(g.tensors[t].dtype, known[t]);
        assert_int_equal(g.tensors[t].n_bytes, 1536 / info->block_len * info->block_bytes);
    }
    gguf_deinit(&g);
    mem_free(bytes);
}

static void alignment_key_moves_the_data(void **state) {
    (void)state;
    static const uint32_t alignments[] = {8, 24, 64, 4096, 65536};
    for (size_t i = 0; i < sizeof(alignments) / sizeof(alignments[0]); i++) {
        gguf_image_deinit(&image);
        gguf_image_init(&image, 3);
        gguf_image_align(&image, alignments[i]);
        gguf_image_tensor(&image, "a", WEFT_DTYPE_I8, 1, (uint64_t[]){1}, "x");
        gguf_image_tensor(&image, "b", WEFT_DTYPE_I8, 1, (uint64_t[]){1}, "y");
        gguf g;
        size_t len = 0;
        uint8_t *bytes = parse_good(&g, &len);
        assert_int_equal(g.alignment, alignments[i]);
        assert_int_equal(g.data_offset % alignments[i], 0);
        assert_int_equal(g.tensors[0].data[0], 'x');
        assert_int_equal(g.tensors[1].data[0], 'y');
        assert_int_equal(g.tensors[1].data - g.tensors[0].data, alignments[i]);
        gguf_deinit(&g);
        mem_free(bytes);
    }
}

static void alignment_out_of_range_is_refused(void **state) {
    (void)state;
    static const int64_t bad[] = {0, 1, 4, 12, 65544, 4294967288};
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        gguf_image_deinit(&image);
        gguf_image_init(&image, 3);
        gguf_image_int(&image, "general.alignment", META_U32, bad[i]);
        expect_refused(WEFT_FORMAT, "key 'general.alignment' is u32");
    }
    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_str(&image, "general.alignment", "32");
    expect_refused(WEFT_FORMAT, "key 'general.alignment' is string '32'; want a multiple of 8");
}

static void other_magic_is_refused(void **state) {
    (void)state;
    expect_refused_bytes((const uint8_t *)"PK\x03\x04 and more of it here", 24, WEFT_FORMAT,
                         "not a GGUF file: it starts with bytes 50 4b 03 04");
    expect_refused_bytes((const uint8_t *)"ABCD", 4, WEFT_FORMAT, "not a GGUF file");
}

static void file_shorter_than_a_header_is_refused(void **state) {
    (void)state;
    expect_refused_bytes(NULL, 0, WEFT_FORMAT, "truncated: the header needs");
    expect_refused_bytes((const uint8_t *)"GG", 2, WEFT_FORMAT, "truncated: the header needs");
    expect_refused_bytes((const uint8_t *)"GGUF\3\0\0\0\0\0\0", 11, WEFT_FORMAT,
                         "truncated: the header needs 16 bytes at byte 8 but the file has 11");
}

static void other_versions_are_refused_by_name(void **state) {
    (void)state;
    image.version = 1;
    expect_refused(WEFT_UNSUPPORTED, "GGUF version 1 is not supported; want version 2 or 3");
    image.version = 0;
    expect_refused(WEFT_UNSUPPORTED, "GGUF version 0 is unknown");
    image.version = 4;
    expect_refused(WEFT_UNSUPPORTED, "GGUF version 4 is unknown");
    image.version = 0x03000000;
    expect_refused(WEFT_UNSUPPORTED, "big-endian GGUF is not supported");
}

static void huge_counts_are_refused_before_anything_is_allocated(void **state) {
    (void)state;
    const uint64_t allocs = mem_stats_room(MEM_WEIGHTS).allocs;
    image.n_tensors = (uint64_t)1 << 63;
    expect_refused(WEFT_FORMAT, "the header claims 9223372036854775808 tensors but the file's 24 "
                                "bytes can hold at most 0");
    image.n_tensors = 0;
    image.n_meta = (uint64_t)1 << 63;
    expect_refused(WEFT_FORMAT, "the header claims 9223372036854775808 metadata keys");
    assert_int_equal(mem_stats_room(MEM_WEIGHTS).allocs, allocs);
}

static void more_keys_than_the_limit_are_refused(void **state) {
    (void)state;
    const size_t len = 24 + (size_t)(WEIGHTS_META_MAX + 1) * 14;
    uint8_t *bytes = mem_zalloc(MEM_TEST, len, 1);
    assert_non_null(bytes);
    memcpy(bytes, "GGUF\3", 5);
    const uint32_t n = WEIGHTS_META_MAX + 1;
    for (size_t i = 0; i < 4; i++) {
        bytes[16 + i] = (uint8_t)(n >> (8 * i));
    }
    expect_refused_bytes(bytes, len, WEFT_LIMIT, "the file has 100001 metadata keys");
    mem_free(bytes);
}

static void repeated_key_is_refused(void **state) {
    (void)state;
    gguf_image_int(&image, "llama.block_count", META_U32, 2);
    gguf_image_str(&image, "general.name", "x");
    gguf_image_int(&image, "llama.block_count", META_U32, 3);
    expect_refused(WEFT_FORMAT, "key 'llama.block_count' is there twice, as entries 0 and 2");
}

static void empty_and_long_keys_are_refused(void **state) {
    (void)state;
    gguf_image_str(&image, "general.name", "x");
    gguf_image_int(&image, "", META_U32, 2);
    expect_refused(WEFT_FORMAT, "metadata entry 1 at byte 57 has a name of 0 bytes");

    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    static char key[GGUF_KEY_BYTES_MAX + 2];
    memset(key, 'k', sizeof(key) - 1);
    gguf_image_int(&image, key, META_U32, 2);
    expect_refused(WEFT_FORMAT, "has a name of 65536 bytes; want 1 to 65535");

    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    key[GGUF_KEY_BYTES_MAX] = '\0';
    gguf_image_int(&image, key, META_U32, 2);
    gguf g;
    size_t len = 0;
    uint8_t *bytes = parse_good(&g, &len);
    assert_non_null(gguf_find(&g, key));
    gguf_deinit(&g);
    mem_free(bytes);
}

static void unknown_value_types_are_refused(void **state) {
    (void)state;
    gguf_image_meta_raw(&image, "some.key", META_TYPE_COUNT, "1234", 4);
    expect_refused(WEFT_FORMAT, "key 'some.key' has unknown value type 13");

    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_meta_raw(&image, "some.key", META_ARRAY, "\x63\0\0\0\0\0\0\0\0\0\0\0", 12);
    expect_refused(WEFT_FORMAT, "key 'some.key' has unknown array element type 99");
}

static void nested_arrays_are_refused(void **state) {
    (void)state;
    gguf_image_meta_raw(&image, "some.key", META_ARRAY, "\x09\0\0\0\0\0\0\0\0\0\0\0", 12);
    expect_refused(WEFT_UNSUPPORTED, "key 'some.key' is an array of arrays");
}

static void huge_arrays_are_refused(void **state) {
    (void)state;
    gguf_image_meta_raw(&image, "some.key", META_ARRAY,
                        "\x04\0\0\0\0\0\0\0\0\0\0\x80"
                        "abcdefgh",
                        20);
    expect_refused(WEFT_FORMAT, "key 'some.key' claims an array of 9223372036854775808 elements "
                                "but the file's");
    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_meta_raw(&image, "some.key", META_ARRAY,
                        "\x08\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    expect_refused(WEFT_FORMAT, "key 'some.key' claims an array of 18446744073709551615 elements");
}

static void strings_past_the_end_are_refused(void **state) {
    (void)state;
    gguf_image_meta_raw(&image, "some.key", META_STRING, "\xff\xff\xff\xff\xff\xff\xff\xffxyz", 11);
    expect_refused(WEFT_FORMAT, "truncated: metadata entry 0 'some.key' needs "
                                "18446744073709551615 bytes at byte 52 but the file has 55 bytes");
    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_meta_raw(&image, "some.key", META_ARRAY,
                        "\x08\0\0\0\x01\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0xyz", 23);
    expect_refused(WEFT_FORMAT, "truncated: metadata entry 0 'some.key' needs 4 bytes");
}

static void wrong_number_of_dimensions_is_refused(void **state) {
    (void)state;
    const uint64_t dims[5] = {1, 1, 1, 1, 1};
    gguf_image_info_raw(&image, "t", 5, dims, 0, 0);
    expect_refused(WEFT_FORMAT, "tensor 't' has 5 dimensions; want 1 to 4");
    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_info_raw(&image, "a long enough name", 0, dims, 0, 0);
    expect_refused(WEFT_FORMAT, "tensor 'a long enough name' has 0 dimensions; want 1 to 4");
}

static void impossible_dimensions_are_refused(void **state) {
    (void)state;
    static const struct {
        uint64_t dims[3]; /* fastest first */
        uint32_t type;
        const char *words;
    } cases[] = {
        {{0, 4, 1}, 0, "tensor 't' has a dimension of 0; want at least 1"},
        {{(uint64_t)1 << 32, (uint64_t)1 << 32, 1},
         24,
         "tensor 't' has 4294967296 times 4294967296 elements; want fewer than 2^64"},
        {{(uint64_t)1 << 31, (uint64_t)1 << 31, 3},
         0,
         "tensor 't' has 13835058055282163712 "
         "elements of F32; want fewer than 2^64"},
        {{100, 4, 1}, 12, "tensor 't' has rows of 100 elements; Q4_K wants a multiple of 256"},
        {{16, 2, 1}, 8, "tensor 't' has rows of 16 elements; Q8_0 wants a multiple of 32"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gguf_image_deinit(&image);
        gguf_image_init(&image, 3);
        gguf_image_info_raw(&image, "t", 3, cases[i].dims, cases[i].type, 0);
        expect_refused(WEFT_FORMAT, cases[i].words);
    }
}

static void unknown_tensor_type_is_refused(void **state) {
    (void)state;
    static const uint32_t ids[] = {4, 5, 31, 99, UINT32_MAX};
    for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
        gguf_image_deinit(&image);
        gguf_image_init(&image, 3);
        gguf_image_info_raw(&image, "blk.0.attn_q.weight", 1, (uint64_t[]){32}, ids[i], 0);
        char words[80];
        snprintf(words, sizeof(words), "tensor 'blk.0.attn_q.weight' has unknown type %u", ids[i]);
        expect_refused(WEFT_UNSUPPORTED, words);
    }
}

static void misaligned_tensor_is_refused(void **state) {
    (void)state;
    gguf_image_tensor(&image, "a", WEFT_DTYPE_F32, 1, (uint64_t[]){32}, NULL);
    gguf_image_info_raw(&image, "b", 1, (uint64_t[]){1}, 0, 8);
    expect_refused(WEFT_FORMAT, "tensor 'b' is at offset 8; want a multiple of the alignment 32");
}

static void tensor_past_the_end_is_refused(void **state) {
    (void)state;
    gguf_image_tensor(&image, "a", WEFT_DTYPE_F32, 1, (uint64_t[]){32}, NULL);
    gguf_image_info_raw(&image, "b", 1, (uint64_t[]){25}, 0, 32);
    expect_refused(WEFT_FORMAT, "tensor 'b' ends at byte 228 but the file has 224 bytes");

    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    gguf_image_tensor(&image, "a", WEFT_DTYPE_F32, 1, (uint64_t[]){32}, NULL);
    gguf_image_info_raw(&image, "b", 1, (uint64_t[]){25}, 0, UINT64_MAX - 31);
    expect_refused(WEFT_FORMAT, "tensor 'b' ends at byte 18446744073709551615 but the file has");
}

static void tensor_name_of_no_or_many_bytes_is_refused(void **state) {
    (void)state;
    gguf_image_info_raw(&image, "", 2, (uint64_t[]){1, 1}, 0, 0);
    expect_refused(WEFT_FORMAT, "tensor 0 at byte 24 has a name of 0 bytes; want 1 to 1024");
    gguf_image_deinit(&image);
    gguf_image_init(&image, 3);
    char name[GGUF_NAME_BYTES_MAX + 2] = "";
    memset(name, 'n', sizeof(name) - 1);
    gguf_image_info_raw(&image, name, 1, (uint64_t[]){1}, 0, 0);
    expect_refused(WEFT_FORMAT, "has a name of 1025 bytes");
}

static void build_rich_image(gguf_image *g) {
    static const char *const words[] = {"a", "", "longer than eight bytes"};
    gguf_image_str(g, "general.architecture", "llama");
    gguf_image_align(g, 64);
    gguf_image_int(g, "x.u8", META_U8, 200);
    gguf_image_float(g, "x.f64", META_F64, 0.5);
    gguf_image_strs(g, "x.words", words, 3);
    gguf_image_floats(g, "x.floats", (const float[]){1, 2, 3}, 3);
    gguf_image_tensor(g, "a", WEFT_DTYPE_F32, 2, (uint64_t[]){2, 3}, NULL);
    gguf_image_tensor(g, "b", WEFT_DTYPE_Q4_K, 1, (uint64_t[]){256}, NULL);
}

static void every_prefix_of_a_file_is_refused(void **state) {
    (void)state;
    build_rich_image(&image);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&image, &len);
    for (size_t cut = 0; cut < len; cut++) {
        /* A copy of the exact size, so that the sanitizer sees one byte too many. */
        uint8_t *prefix = mem_array(MEM_TEST, cut, 1);
        assert_non_null(prefix);
        memcpy(prefix, bytes, cut);
        gguf g = {0};
        weft_error err = {0};
        assert_int_equal(gguf_parse(&g, prefix, cut, "cut.gguf", &err), WEFT_FORMAT);
        assert_non_null(strstr(err.message, "cut.gguf: "));
        mem_free(prefix);
    }
    mem_free(bytes);
}

static void every_changed_byte_is_read_or_refused(void **state) {
    (void)state;
    build_rich_image(&image);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&image, &len);
    const uint64_t live = mem_stats_room(MEM_WEIGHTS).live_bytes;
    for (size_t at = 0; at < len; at++) {
        static const uint8_t flips[] = {0x01, 0x80, 0xff};
        for (size_t i = 0; i < sizeof(flips); i++) {
            bytes[at] ^= flips[i];
            gguf g;
            if (gguf_parse(&g, bytes, len, "flipped.gguf", NULL) == WEFT_OK) {
                gguf_deinit(&g);
            }
            bytes[at] ^= flips[i];
        }
    }
    assert_int_equal(mem_stats_room(MEM_WEIGHTS).live_bytes, live);
    mem_free(bytes);
}

static void every_failing_allocation_is_reported_and_leaks_nothing(void **state) {
    (void)state;
    build_rich_image(&image);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&image, &len);
    const uint64_t live = mem_stats_room(MEM_WEIGHTS).live_bytes;
    int64_t nth = 0;
    weft_status status = WEFT_NOMEM;
    for (; status == WEFT_NOMEM; nth++) {
        gguf g = {0};
        weft_error err = {0};
        mem_fail_after(nth);
        status = gguf_parse(&g, bytes, len, "x.gguf", &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            gguf_deinit(&g);
        } else {
            assert_non_null(strstr(err.message, "x.gguf: out of memory"));
        }
        assert_int_equal(mem_stats_room(MEM_WEIGHTS).live_bytes, live);
    }
    assert_int_equal(status, WEFT_OK);
    assert_true(nth >= 4);
    mem_free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(empty_file_with_header_is_read),
        TEST(tensors_have_slowest_dimension_first_and_their_bytes),
        TEST(every_known_dtype_has_its_size),
        TEST(alignment_key_moves_the_data),
        TEST(alignment_out_of_range_is_refused),
        TEST(other_magic_is_refused),
        TEST(file_shorter_than_a_header_is_refused),
        TEST(other_versions_are_refused_by_name),
        TEST(huge_counts_are_refused_before_anything_is_allocated),
        TEST(more_keys_than_the_limit_are_refused),
        TEST(repeated_key_is_refused),
        TEST(empty_and_long_keys_are_refused),
        TEST(unknown_value_types_are_refused),
        TEST(nested_arrays_are_refused),
        TEST(huge_arrays_are_refused),
        TEST(strings_past_the_end_are_refused),
        TEST(wrong_number_of_dimensions_is_refused),
        TEST(impossible_dimensions_are_refused),
        TEST(unknown_tensor_type_is_refused),
        TEST(misaligned_tensor_is_refused),
        TEST(tensor_past_the_end_is_refused),
        TEST(tensor_name_of_no_or_many_bytes_is_refused),
        TEST(every_prefix_of_a_file_is_refused),
        TEST(every_changed_byte_is_read_or_refused),
        TEST(every_failing_allocation_is_reported_and_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
