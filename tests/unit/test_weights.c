/* test_weights.c - opening models by path and by image: names, splits, holders, failures.
 *
 * Split models are written into a directory of the test's own and removed with it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/os.h"
#include "gguf_image.h"
#include "weights/weights.h"

#define N_PARTS 3u

static char dir[64];
static char part_paths[N_PARTS][128];
static char whole_path[128];

/* Part i has tensor "t<i>" of one row filled with i + 1; part 0 has two keys besides. */
static void build_part(gguf_image *g, uint32_t no, uint32_t n_tensors_claimed) {
    char name[16];
    const float values[4] = {(float)no + 1, (float)no + 1, (float)no + 1, (float)no + 1};
    gguf_image_init(g, 3);
    if (no == 0) {
        gguf_image_str(g, "general.architecture", "llama");
        gguf_image_int(g, "llama.block_count", META_U32, 3);
    }
    gguf_image_split(g, no, N_PARTS, n_tensors_claimed);
    snprintf(name, sizeof(name), "t%u", (unsigned)no);
    gguf_image_tensor(g, name, WEFT_DTYPE_F32, 1, (uint64_t[]){4}, values);
}

static void write_part(uint32_t place, uint32_t no, uint32_t n_tensors_claimed) {
    gguf_image g;
    build_part(&g, no, n_tensors_claimed);
    gguf_image_write(&g, part_paths[place]);
    gguf_image_deinit(&g);
}

static void write_split(void) {
    for (uint32_t i = 0; i < N_PARTS; i++) {
        write_part(i, i, N_PARTS);
    }
}

static void build_whole(gguf_image *g) {
    gguf_image_init(g, 3);
    gguf_image_str(g, "general.architecture", "llama");
    gguf_image_tensor(g, "a.weight", WEFT_DTYPE_F32, 2, (uint64_t[]){2, 2},
                      (const float[]){1, 2, 3, 4});
    gguf_image_tensor(g, "b.weight", WEFT_DTYPE_Q8_0, 2, (uint64_t[]){512, 64}, NULL);
}

static int setup(void **state) {
    (void)state;
    const char *tmp = getenv("TMPDIR");
    snprintf(dir, sizeof(dir), "%.40s/weft-test-XXXXXX", tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(dir) == NULL) {
        return -1;
    }
    for (uint32_t i = 0; i < N_PARTS; i++) {
        snprintf(part_paths[i], sizeof(part_paths[i]), "%s/m-%05u-of-%05u.gguf", dir, i + 1,
                 N_PARTS);
    }
    snprintf(whole_path, sizeof(whole_path), "%s/whole.gguf", dir);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    for (uint32_t i = 0; i < N_PARTS; i++) {
        unlink(part_paths[i]);
    }
    unlink(whole_path);
    return rmdir(dir);
}

static weights *open_good(const char *path) {
    weights *w = NULL;
    weft_error err = {0};
    if (weights_open(&w, path, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return w;
}

/* The message must start with `path` and contain `words`. */
static void expect_refused(const char *opened, weft_status want, const char *path,
                           const char *words) {
    weights *w = NULL;
    weft_error err = {0};
    assert_int_equal(weights_open(&w, opened, &err), want);
    assert_null(w);
    if (strncmp(err.message, path, strlen(path)) != 0 || strstr(err.message, words) == NULL) {
        fail_msg("'%s' does not start with '%s' or lacks '%s'", err.message, path, words);
    }
}

static void tensors_are_found_by_name(void **state) {
    (void)state;
    gguf_image g;
    build_whole(&g);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);

    weights *w = open_good(whole_path);
    assert_string_equal(weights_path(w), whole_path);
    assert_int_equal(weights_version(w), 3);
    assert_int_equal(weights_tensor_count(w), 2);
    assert_int_equal(weights_meta_count(w), 1);
    assert_true(str_eq_cstr(weights_meta_at(w, 0)->key, "general.architecture"));
    const weights_tensor *a = weights_find(w, "a.weight");
    assert_ptr_equal(a, weights_tensor_at(w, 0));
    assert_memory_equal(a->data, ((const float[]){1, 2, 3, 4}), 16);
    assert_ptr_equal(weights_find(w, "b.weight"), weights_tensor_at(w, 1));
    assert_null(weights_find(w, "c.weight"));
    assert_null(weights_find(w, ""));

    weights_want_pages(w, a);
    weights_drop_pages(w, weights_find(w, "b.weight"));
    weights_drop_pages(w, a);
    assert_memory_equal(a->data, ((const float[]){1, 2, 3, 4}), 16);
    weights_release(&w);
    assert_null(w);
}

static void image_in_memory_is_opened_without_a_file(void **state) {
    (void)state;
    gguf_image g;
    build_whole(&g);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&g, &len);
    gguf_image_deinit(&g);
    weights *w = NULL;
    assert_int_equal(weights_open_memory(&w, bytes, len, "image", NULL), WEFT_OK);
    assert_string_equal(weights_path(w), "image");
    assert_int_equal(weights_file_bytes(w), len);
    const weights_tensor *b = weights_find(w, "b.weight");
    assert_ptr_equal(b->data + b->n_bytes, bytes + len);
    weights_drop_pages(w, b);
    weights_want_pages(w, b);
    weights_release(&w);
    mem_free(bytes);
}

static void vocabulary_only_file_has_no_tensors(void **state) {
    (void)state;
    static const char *const tokens[] = {"<s>", "a", "b"};
    gguf_image g;
    gguf_image_init(&g, 2);
    gguf_image_strs(&g, "tokenizer.ggml.tokens", tokens, 3);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);
    weights *w = open_good(whole_path);
    assert_int_equal(weights_version(w), 2);
    assert_int_equal(weights_tensor_count(w), 0);
    assert_null(weights_find(w, "output.weight"));
    assert_int_equal(weights_meta(w, "tokenizer.ggml.tokens")->count, 3);
    weights_release(&w);
}

static void last_holder_closes(void **state) {
    (void)state;
    gguf_image g;
    build_whole(&g);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);
    const uint64_t live = mem_stats_room(MEM_WEIGHTS).live_bytes;
    weights *w = open_good(whole_path);
    weights *second = weights_retain(w);
    assert_ptr_equal(w, second);
    weights_release(&w);
    assert_non_null(weights_find(second, "a.weight"));
    weights_release(&second);
    weights_release(&second);
    assert_int_equal(mem_stats_room(MEM_WEIGHTS).live_bytes, live);
}

static void split_opens_from_any_part(void **state) {
    (void)state;
    write_split();
    for (uint32_t given = 0; given < N_PARTS; given++) {
        weights *w = open_good(part_paths[given]);
        assert_string_equal(weights_path(w), part_paths[given]);
        assert_int_equal(weights_tensor_count(w), N_PARTS);
        for (uint32_t i = 0; i < N_PARTS; i++) {
            const weights_tensor *t = weights_tensor_at(w, i);
            const float first = (float)i + 1;
            assert_int_equal(t->part, i);
            assert_memory_equal(t->data, &first, sizeof(first));
            weights_want_pages(w, t);
            weights_drop_pages(w, t);
        }
        uint32_t n_blocks = 0;
        bool found = false;
        assert_int_equal(weights_get_u32(w, "llama.block_count", &n_blocks, &found, NULL), WEFT_OK);
        assert_true(found);
        assert_int_equal(n_blocks, 3);
        weights_release(&w);
    }
}

static void file_bytes_are_those_of_all_parts(void **state) {
    (void)state;
    write_split();
    uint64_t want = 0;
    for (uint32_t i = 0; i < N_PARTS; i++) {
        os_mapping m;
        assert_int_equal(os_map_file(&m, part_paths[i], NULL), WEFT_OK);
        want += m.len;
        os_unmap_file(&m);
    }
    weights *w = open_good(part_paths[0]);
    assert_int_equal(weights_file_bytes(w), want);
    weights_release(&w);
}

static void split_of_one_is_a_whole_model(void **state) {
    (void)state;
    gguf_image g;
    gguf_image_init(&g, 3);
    gguf_image_split(&g, 0, 1, 1);
    gguf_image_tensor(&g, "t", WEFT_DTYPE_F32, 1, (uint64_t[]){4}, NULL);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);
    weights *w = open_good(whole_path);
    assert_int_equal(weights_tensor_count(w), 1);
    weights_release(&w);
}

static void missing_part_is_named(void **state) {
    (void)state;
    write_split();
    unlink(part_paths[1]);
    expect_refused(part_paths[2], WEFT_NOTFOUND, part_paths[1],
                   ": no such file; it is part 2 of 3 of");
}

static void renamed_part_is_refused(void **state) {
    (void)state;
    gguf_image g;
    build_part(&g, 1, N_PARTS);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);
    expect_refused(whole_path, WEFT_FORMAT, whole_path,
                   "this is part 2 of 3; want a file name that ends in '-00002-of-00003.gguf'");
}

static void part_in_the_wrong_place_is_refused(void **state) {
    (void)state;
    write_split();
    write_part(1, 2, N_PARTS);
    expect_refused(part_paths[0], WEFT_FORMAT, part_paths[1],
                   "says it is part 3 of 3; want part 2 of 3 of");
}

static void parts_that_disagree_about_tensors_are_refused(void **state) {
    (void)state;
    write_split();
    write_part(2, 2, N_PARTS + 1);
    expect_refused(part_paths[0], WEFT_FORMAT, part_paths[2], "'split.tensors.count' is 4;");

    for (uint32_t i = 0; i < N_PARTS; i++) {
        write_part(i, i, N_PARTS + 1);
    }
    expect_refused(part_paths[0], WEFT_FORMAT, part_paths[0],
                   "key 'split.tensors.count' is 4 but the 3 parts have 3 tensors");
}

static void repeated_tensor_is_refused_within_and_across_parts(void **state) {
    (void)state;
    gguf_image g;
    build_whole(&g);
    gguf_image_tensor(&g, "a.weight", WEFT_DTYPE_F32, 1, (uint64_t[]){4}, NULL);
    gguf_image_write(&g, whole_path);
    gguf_image_deinit(&g);
    expect_refused(whole_path, WEFT_FORMAT, whole_path, "tensor 'a.weight' is there twice");

    write_split();
    gguf_image_init(&g, 3);
    gguf_image_split(&g, 2, N_PARTS, N_PARTS);
    gguf_image_tensor(&g, "t1", WEFT_DTYPE_F32, 1, (uint64_t[]){4}, NULL);
    gguf_image_write(&g, part_paths[2]);
    gguf_image_deinit(&g);
    expect_refused(part_paths[0], WEFT_FORMAT, part_paths[2], "tensor 't1' is there twice");
}

static void bad_split_keys_are_refused(void **state) {
    (void)state;
    static const struct {
        int64_t no;
        int64_t count;
        const char *words;
    } cases[] = {
        {3, 3, "key 'split.no' is u16 3; want an integer from 0 to 2"},
        {0, 1001, "key 'split.count' is u16 1001; want an integer from 0 to 1000"},
        {0, 2, "part 1 of 2 has no key 'split.tensors.count'"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        gguf_image g;
        gguf_image_init(&g, 3);
        gguf_image_int(&g, "split.no", META_U16, cases[i].no);
        gguf_image_int(&g, "split.count", META_U16, cases[i].count);
        gguf_image_write(&g, whole_path);
        gguf_image_deinit(&g);
        expect_refused(whole_path, WEFT_FORMAT, whole_path, cases[i].words);
    }
}

static void part_in_memory_is_refused(void **state) {
    (void)state;
    gguf_image g;
    build_part(&g, 1, N_PARTS);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&g, &len);
    gguf_image_deinit(&g);
    weights *w = NULL;
    weft_error err = {0};
    assert_int_equal(weights_open_memory(&w, bytes, len, "image", &err), WEFT_UNSUPPORTED);
    assert_string_equal(err.message, "image: part 2 of 3; a split model is opened by path");
    mem_free(bytes);
}

static void broken_part_is_named(void **state) {
    (void)state;
    write_split();
    assert_int_equal(os_write_file(part_paths[1], "nonsense", 8, NULL), WEFT_OK);
    expect_refused(part_paths[0], WEFT_FORMAT, part_paths[1], ": not a GGUF file");
}

static void absent_file_is_named(void **state) {
    (void)state;
    weights *w = NULL;
    weft_error err = {0};
    assert_int_not_equal(weights_open(&w, whole_path, &err), WEFT_OK);
    assert_non_null(strstr(err.message, whole_path));
}

static void every_failing_allocation_of_a_split_leaks_nothing(void **state) {
    (void)state;
    write_split();
    const uint64_t live = mem_stats_total().live_bytes;
    weft_status status = WEFT_NOMEM;
    int64_t nth = 0;
    for (; status == WEFT_NOMEM; nth++) {
        weights *w = NULL;
        weft_error err = {0};
        mem_fail_after(nth);
        status = weights_open(&w, part_paths[1], &err);
        mem_fail_after(-1);
        if (status != WEFT_OK) {
            assert_null(w);
            assert_non_null(strstr(err.message, "out of memory"));
        }
        weights_release(&w);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    assert_int_equal(status, WEFT_OK);
    assert_true(nth > 15);
}

static void every_failing_allocation_of_an_image_leaks_nothing(void **state) {
    (void)state;
    gguf_image g;
    build_whole(&g);
    size_t len = 0;
    uint8_t *bytes = gguf_image_finish(&g, &len);
    gguf_image_deinit(&g);
    const uint64_t live = mem_stats_total().live_bytes;
    weft_status status = WEFT_NOMEM;
    for (int64_t nth = 0; status == WEFT_NOMEM; nth++) {
        weights *w = NULL;
        mem_fail_after(nth);
        status = weights_open_memory(&w, bytes, len, "image", NULL);
        mem_fail_after(-1);
        weights_release(&w);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    assert_int_equal(status, WEFT_OK);
    mem_free(bytes);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(tensors_are_found_by_name),
        TEST(image_in_memory_is_opened_without_a_file),
        TEST(vocabulary_only_file_has_no_tensors),
        TEST(last_holder_closes),
        TEST(split_opens_from_any_part),
        TEST(file_bytes_are_those_of_all_parts),
        TEST(split_of_one_is_a_whole_model),
        TEST(missing_part_is_named),
        TEST(renamed_part_is_refused),
        TEST(part_in_the_wrong_place_is_refused),
        TEST(parts_that_disagree_about_tensors_are_refused),
        TEST(repeated_tensor_is_refused_within_and_across_parts),
        TEST(bad_split_keys_are_refused),
        TEST(part_in_memory_is_refused),
        TEST(broken_part_is_named),
        TEST(absent_file_is_named),
        TEST(every_failing_allocation_of_a_split_leaks_nothing),
        TEST(every_failing_allocation_of_an_image_leaks_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
