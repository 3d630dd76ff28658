/* test_pack_cache.c - what was written comes back whole or not at all, and the folder stays small. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "weights/pack_cache.h"

enum { BYTES = 3 * (1 << 20) + 640 }; /* three chunks and a bit */

static pool *threads;
static char base[64];
static char dir[96];
static uint8_t *image;
static const pack_cache_key key = {0x1122334455667788u, 0x99aabbccddeeff00u};

static void no_log(void *user, log_level level, const char *line) {
    (void)user;
    (void)level;
    (void)line;
}

static int setup(void **state) {
    (void)state;
    snprintf(base, sizeof base, "/tmp/weft-pack-XXXXXX");
    image = malloc(BYTES);
    if (image == NULL || mkdtemp(base) == NULL || pool_create(&threads, 2, NULL) != WEFT_OK) {
        return 1;
    }
    for (size_t i = 0; i < BYTES; i++) {
        image[i] = (uint8_t)(i * 31 + i / 999);
    }
    snprintf(dir, sizeof dir, "%s/made/when/missing", base);
    log_set_sink(no_log, NULL, LOG_LEVEL_ERROR);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    pool_destroy(&threads);
    free(image);
    return system(command);
}

static pack_cache cache_of(uint64_t bytes_max) {
    return (pack_cache){.dir = dir, .bytes_max = bytes_max, .pool = threads};
}

static void write_one(pack_cache_key k, uint64_t bytes, uint64_t bytes_max) {
    const pack_cache c = cache_of(bytes_max);
    pack_cache_writer *w = NULL;
    pack_cache_write_start(&w, &c, k, 77, image, bytes);
    pack_cache_write_end(&w);
    assert_null(w);
}

static bool is_there(pack_cache_key k, uint64_t bytes) {
    const pack_cache c = cache_of(UINT64_MAX);
    pack_cache_image found;
    if (!pack_cache_try_map(&found, &c, k, bytes)) {
        assert_null(found.data);
        return false;
    }
    assert_memory_equal(found.data, image, bytes);
    assert_int_equal(found.bytes, bytes);
    assert_int_equal(found.order, 77);
    pack_cache_unmap(&found);
    assert_null(found.data);
    return true;
}

static void change_file(pack_cache_key k, long at, bool is_cut) {
    const pack_cache c = cache_of(0);
    char *path = pack_cache_path(&c, k);
    assert_non_null(path);
    if (is_cut) {
        assert_int_equal(truncate(path, at), 0);
    } else {
        FILE *f = fopen(path, "r+b");
        assert_non_null(f);
        assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
        const int byte = fgetc(f);
        assert_int_equal(fseek(f, at, at < 0 ? SEEK_END : SEEK_SET), 0);
        assert_int_equal(fputc(byte ^ 1, f), byte ^ 1);
        assert_int_equal(fclose(f), 0);
    }
    mem_free(path);
}

static void what_was_written_is_mapped(void **state) {
    (void)state;
    assert_false(is_there(key, BYTES));
    write_one(key, BYTES, UINT64_MAX);
    assert_true(is_there(key, BYTES));
    assert_true(is_there(key, BYTES)); /* as often as one likes */
}

static void another_key_or_size_finds_nothing(void **state) {
    (void)state;
    write_one(key, BYTES, UINT64_MAX);
    assert_false(is_there((pack_cache_key){key.model + 1, key.layout}, BYTES));
    assert_false(is_there((pack_cache_key){key.model, key.layout + 1}, BYTES));
    assert_false(is_there(key, BYTES - 64));
    /* A file under a name that is not its own. */
    const pack_cache c = cache_of(0);
    const pack_cache_key other = {1, 2};
    char *from = pack_cache_path(&c, key), *to = pack_cache_path(&c, other);
    assert_int_equal(rename(from, to), 0);
    assert_false(is_there(other, BYTES));
    assert_int_equal(unlink(to), 0);
    mem_free(from);
    mem_free(to);
}

static void a_damaged_file_is_not_used_but_replaced(void **state) {
    (void)state;
    static const long flips[] = {0, 1 << 20, BYTES - 1, -1, -8, -24, -56};
    for (size_t i = 0; i < WEFT_LEN(flips); i++) {
        write_one(key, BYTES, UINT64_MAX);
        assert_true(is_there(key, BYTES));
        change_file(key, flips[i], false);
        assert_false(is_there(key, BYTES));
    }
    static const long cuts[] = {0, 10, 56, 1 << 20, BYTES, BYTES + 55};
    for (size_t i = 0; i < WEFT_LEN(cuts); i++) {
        write_one(key, BYTES, UINT64_MAX);
        change_file(key, cuts[i], true);
        assert_false(is_there(key, BYTES));
    }
    write_one(key, BYTES, UINT64_MAX);
    assert_true(is_there(key, BYTES));
}

static void set_age(pack_cache_key k, time_t seconds) {
    const pack_cache c = cache_of(0);
    char *path = pack_cache_path(&c, k);
    const struct timespec times[2] = {{.tv_sec = time(NULL) - seconds},
                                      {.tv_sec = time(NULL) - seconds}};
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    mem_free(path);
}

static void those_not_used_for_longest_go_first(void **state) {
    (void)state;
    enum { SMALL = 1 << 20 };
    const pack_cache_key a = {10, 0}, b = {11, 0}, c = {12, 0}, d = {13, 0};
    const uint64_t room = 3 * SMALL + 4096; /* three files */
    write_one(a, SMALL, UINT64_MAX);
    write_one(b, SMALL, UINT64_MAX);
    write_one(c, SMALL, UINT64_MAX);
    set_age(key, 1000); /* of the tests before */
    set_age(a, 300);
    set_age(b, 200);
    set_age(c, 100);
    assert_true(is_there(a, SMALL)); /* used: the youngest now */
    write_one(d, SMALL, room);
    assert_false(is_there(key, BYTES));
    assert_false(is_there(b, SMALL));
    assert_true(is_there(a, SMALL));
    assert_true(is_there(c, SMALL));
    assert_true(is_there(d, SMALL));
}

static void what_is_too_large_or_too_small_is_not_written(void **state) {
    (void)state;
    const pack_cache_key k = {20, 0};
    write_one(k, BYTES, BYTES); /* the footer would be too much */
    assert_false(is_there(k, BYTES));
    const pack_cache c = {.dir = dir, .bytes_max = UINT64_MAX, .bytes_min = BYTES + 1};
    pack_cache_writer *w = NULL;
    pack_cache_write_start(&w, &c, k, 0, image, BYTES);
    assert_null(w);
    pack_cache_write_end(&w);
    assert_false(is_there(k, BYTES));
}

static void writers_of_one_key_do_not_disturb_each_other(void **state) {
    (void)state;
    const pack_cache c = cache_of(UINT64_MAX);
    const pack_cache_key k = {30, 0};
    pack_cache_writer *w[4];
    for (size_t i = 0; i < WEFT_LEN(w); i++) {
        pack_cache_write_start(&w[i], &c, k, 77, image, BYTES);
        assert_non_null(w[i]);
    }
    for (size_t i = 0; i < WEFT_LEN(w); i++) {
        pack_cache_write_end(&w[i]);
        assert_true(is_there(k, BYTES));
    }
}

static void a_mapping_outlives_its_file(void **state) {
    (void)state;
    const pack_cache c = cache_of(UINT64_MAX);
    const pack_cache_key k = {40, 0};
    pack_cache_image found;
    write_one(k, BYTES, UINT64_MAX);
    assert_true(pack_cache_try_map(&found, &c, k, BYTES));
    write_one((pack_cache_key){41, 0}, 4096, 8192); /* evicts everything */
    assert_false(is_there(k, BYTES));
    assert_memory_equal(found.data, image, BYTES);
    pack_cache_unmap(&found);
}

static void put_file(char *path, size_t path_bytes, const char *name, time_t seconds) {
    const struct timespec times[2] = {{.tv_sec = time(NULL) - seconds},
                                      {.tv_sec = time(NULL) - seconds}};
    snprintf(path, path_bytes, "%s/%s", dir, name);
    assert_int_equal(os_write_file(path, "x", 1, NULL), WEFT_OK);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

static void leftovers_of_killed_writers_are_removed(void **state) {
    (void)state;
    char fresh[160], stale[160];
    put_file(fresh, sizeof fresh, "00000001.part", 0);
    put_file(stale, sizeof stale, "00000002.part", 4000);
    write_one(key, 4096, UINT64_MAX);
    assert_true(os_is_file(fresh));
    assert_false(os_is_file(stale));
    assert_int_equal(unlink(fresh), 0);
}

static void files_of_others_stay(void **state) {
    (void)state;
    static const char *const names[] = {
        "video.part",
        "0000002.part",
        "000000002.part",
        "0000000g.part",
        "0000000000000000ffffffffffffffff.part",
        "linux.pack",
        "0000000000000000-fffffffffffffff.pack",
        "0000000000000000.ffffffffffffffff.pack",
        "0000000000000000-ffffffffffffffff0.pack",
        "0000000000000000-ffffffffffffffff.pack.pack",
    };
    char path[WEFT_LEN(names)][160];
    for (size_t i = 0; i < WEFT_LEN(names); i++) {
        put_file(path[i], sizeof path[i], names[i], 4000);
    }
    write_one(key, BYTES, UINT64_MAX);
    write_one((pack_cache_key){50, 0}, 4096, 8192); /* evicts everything */
    assert_false(is_there(key, BYTES));
    for (size_t i = 0; i < WEFT_LEN(names); i++) {
        assert_true(os_is_file(path[i]));
        assert_int_equal(unlink(path[i]), 0);
    }
}

static void a_folder_that_cannot_be_made_is_no_error(void **state) {
    (void)state;
    char blocked[160];
    snprintf(blocked, sizeof blocked, "%s/file", base);
    assert_int_equal(os_write_file(blocked, "x", 1, NULL), WEFT_OK);
    snprintf(blocked, sizeof blocked, "%s/file/below", base);
    const pack_cache c = {.dir = blocked, .bytes_max = UINT64_MAX, .pool = threads};
    pack_cache_writer *w = NULL;
    pack_cache_image found;
    pack_cache_write_start(&w, &c, key, 0, image, BYTES);
    pack_cache_write_end(&w);
    assert_false(pack_cache_try_map(&found, &c, key, BYTES));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_written_is_mapped),
        cmocka_unit_test(another_key_or_size_finds_nothing),
        cmocka_unit_test(a_damaged_file_is_not_used_but_replaced),
        cmocka_unit_test(those_not_used_for_longest_go_first),
        cmocka_unit_test(what_is_too_large_or_too_small_is_not_written),
        cmocka_unit_test(writers_of_one_key_do_not_disturb_each_other),
        cmocka_unit_test(a_mapping_outlives_its_file),
        cmocka_unit_test(leftovers_of_killed_writers_are_removed),
        cmocka_unit_test(files_of_others_stay),
        cmocka_unit_test(a_folder_that_cannot_be_made_is_no_error),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
