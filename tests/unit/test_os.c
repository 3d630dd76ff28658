/* test_os.c - files, mappings and regions behave; the figures of the system are plausible. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/os.h"

static char folder[64];
static char path[128];

static int make_folder(void **state) {
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/weft-test-os-XXXXXX");
    if (mkdtemp(folder) == NULL) {
        return -1;
    }
    (void)snprintf(path, sizeof path, "%s/file", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    (void)unlink(path);
    return rmdir(folder); /* fails when a temporary file was left behind */
}

static void written_files_read_back(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(os_write_file(path, "warp\0weft", 9, &err), WEFT_OK);
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(os_read_file(&data, &len, path, 9, &err), WEFT_OK);
    assert_int_equal(len, 9);
    assert_memory_equal(data, "warp\0weft", 10);
    mem_free(data);
    assert_int_equal(os_write_file(path, NULL, 0, &err), WEFT_OK);
    assert_int_equal(os_read_file(&data, &len, path, 0, &err), WEFT_OK);
    assert_int_equal(len, 0);
    assert_string_equal(data, "");
    mem_free(data);
}

static void reading_stops_at_the_limit(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(os_write_file(path, "12345", 5, &err), WEFT_OK);
    char *data = NULL;
    size_t len = 77;
    assert_int_equal(os_read_file(&data, &len, path, 4, &err), WEFT_LIMIT);
    assert_null(data);
    assert_int_equal(len, 77);
    assert_non_null(strstr(err.message, path));
    assert_non_null(strstr(err.message, "4 bytes"));
    assert_int_equal(os_read_file(&data, &len, "/dev/zero", 100000, &err), WEFT_LIMIT);
}

static void large_files_come_whole(void **state) {
    (void)state;
    const size_t n = 300001;
    unsigned char *want = mem_alloc(MEM_TEST, n);
    for (size_t i = 0; i < n; i++) {
        want[i] = (unsigned char)(i * 7 % 251);
    }
    weft_error err = {0};
    assert_int_equal(os_write_file(path, want, n, &err), WEFT_OK);
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(os_read_file(&data, &len, path, SIZE_MAX, &err), WEFT_OK);
    assert_int_equal(len, n);
    assert_memory_equal(data, want, n);
    mem_free(data);
    mem_free(want);
}

static void refused_memory_is_reported_and_nothing_leaks(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(os_write_file(path, "12345", 5, &err), WEFT_OK);
    const uint64_t live = mem_stats_total().live_bytes;
    int64_t nth = 0;
    for (;; nth++) {
        char *data = NULL;
        size_t len = 0;
        mem_fail_after(nth);
        const weft_status status = os_read_file(&data, &len, path, 100000, &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            mem_free(data);
            break;
        }
        assert_int_equal(status, WEFT_NOMEM);
        assert_null(data);
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    assert_true(nth > 0);
    assert_int_equal(mem_stats_total().live_bytes, live);
}

static void missing_files_are_named(void **state) {
    (void)state;
    weft_error err = {0};
    os_mapping m = {0};
    char *data = NULL;
    size_t len = 0;
    assert_int_equal(os_map_file(&m, "/nowhere/at/all", &err), WEFT_NOTFOUND);
    assert_non_null(strstr(err.message, "/nowhere/at/all"));
    assert_non_null(strstr(err.message, "No such file"));
    assert_int_equal(os_read_file(&data, &len, "/nowhere/at/all", 10, NULL), WEFT_NOTFOUND);
    assert_int_equal(os_read_file(&data, &len, folder, 10, &err), WEFT_IO);
    assert_int_equal(os_map_file(&m, folder, &err), WEFT_INVALID);
    assert_non_null(strstr(err.message, "directory"));
    assert_int_equal(os_map_file(&m, "/dev/zero", &err), WEFT_INVALID);
}

static void a_failed_write_leaves_nothing_behind(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(os_write_file("/nowhere/at/all", "x", 1, &err), WEFT_NOTFOUND);
    assert_non_null(strstr(err.message, "/nowhere/at/all"));
    char below[160];
    (void)snprintf(below, sizeof below, "%s/sub", folder);
    assert_int_equal(mkdir(below, 0700), 0);
    assert_int_equal(os_write_file(below, "x", 1, &err), WEFT_IO); /* cannot replace a folder */
    assert_int_equal(rmdir(below), 0);
    char long_path[5000];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = '\0';
    assert_int_equal(os_write_file(long_path, "x", 1, &err), WEFT_LIMIT);
}

static void mappings_show_the_file(void **state) {
    (void)state;
    weft_error err = {0};
    const size_t n = 100000;
    unsigned char *want = mem_zalloc(MEM_TEST, n, 1);
    for (size_t i = 0; i < n; i++) {
        want[i] = (unsigned char)(i % 253);
    }
    assert_int_equal(os_write_file(path, want, n, &err), WEFT_OK);
    os_mapping m = {0};
    assert_int_equal(os_map_file(&m, path, &err), WEFT_OK);
    assert_int_equal(m.len, n);
    assert_memory_equal(m.data, want, n);
    os_mapping_drop(&m, 1, n - 1);
    os_mapping_drop(&m, 5000, 10);
    os_mapping_drop(&m, 0, n);
    os_mapping_want(&m, 5000, 20000);
    os_mapping_want(&m, n, 0);
    assert_memory_equal(m.data, want, n);
    /* A new content is a new file: the mapping keeps the old one. */
    assert_int_equal(os_write_file(path, "x", 1, &err), WEFT_OK);
    assert_memory_equal(m.data, want, n);
    os_unmap_file(&m);
    assert_null(m.data);
    os_unmap_file(&m);
    mem_free(want);
}

static void empty_files_map_to_nothing(void **state) {
    (void)state;
    weft_error err = {0};
    assert_int_equal(os_write_file(path, "", 0, &err), WEFT_OK);
    os_mapping m = {.data = (const uint8_t *)"", .len = 7};
    assert_int_equal(os_map_file(&m, path, &err), WEFT_OK);
    assert_null(m.data);
    assert_int_equal(m.len, 0);
    os_mapping_drop(&m, 0, 0);
    os_unmap_file(&m);
}

static void regions_are_zeroed_and_page_aligned(void **state) {
    (void)state;
    const size_t sizes[] = {0, 1, 4096, 100000, (4u << 20) - 1, (4u << 20) + 1, 9u << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        void *p = NULL;
        weft_error err = {0};
        assert_int_equal(os_region_alloc(&p, sizes[i], &err), WEFT_OK);
        assert_int_equal((uintptr_t)p % 4096, 0);
        unsigned char *bytes = p;
        for (size_t at = 0; at < sizes[i]; at += 1021) {
            assert_int_equal(bytes[at], 0);
        }
        if (sizes[i] > 0) {
            bytes[sizes[i] - 1] = 1;
        }
        os_region_free(p, sizes[i]);
    }
    os_region_free(NULL, 0);
}

static void impossible_regions_are_refused(void **state) {
    (void)state;
    void *p = NULL;
    weft_error err = {0};
    assert_int_equal(os_region_alloc(&p, SIZE_MAX, &err), WEFT_NOMEM);
    assert_int_equal(os_region_alloc(&p, (size_t)1 << 60, &err), WEFT_NOMEM);
    assert_non_null(strstr(err.message, "1152921504606846976"));
    assert_null(p);
}

static void touched_regions_count_as_resident(void **state) {
    (void)state;
    const size_t bytes = 32u << 20;
    const uint64_t rss = os_rss_bytes();
    const uint64_t anon = os_anon_bytes();
    assert_true(rss > 0);
    void *p = NULL;
    assert_int_equal(os_region_alloc(&p, bytes, NULL), WEFT_OK);
    memset(p, 1, bytes);
    assert_true(os_rss_bytes() >= rss + bytes / 2);
    assert_true(os_anon_bytes() >= anon + bytes / 2);
    assert_true(os_rss_peak_bytes() >= rss + bytes / 2);
    os_region_free(p, bytes);
    assert_true(os_rss_bytes() < rss + bytes / 2);
    assert_true(os_rss_peak_bytes() >= rss + bytes / 2);
    os_rss_peak_forget();
#ifdef __linux__
    assert_true(os_rss_peak_bytes() < rss + bytes / 2);
#endif
}

static void a_region_can_be_given_its_memory_in_advance(void **state) {
    (void)state;
    const size_t bytes = 32u << 20;
    void *p = NULL;
    assert_int_equal(os_region_alloc(&p, bytes, NULL), WEFT_OK);
    char *at = (char *)p + 12345;
    *at = 7;
    const uint64_t rss = os_rss_bytes();
    os_region_touch(at, bytes - 12345);
    assert_int_equal(*at, 7);
    assert_int_equal(at[bytes - 12346], 0);
#ifdef MADV_POPULATE_WRITE
    assert_true(os_rss_bytes() >= rss + bytes / 2);
#else
    (void)rss;
#endif
    os_region_free(p, bytes);
}

static void paths_are_told_apart(void **state) {
    (void)state;
    assert_int_equal(os_write_file(path, "x", 1, NULL), WEFT_OK);
    assert_true(os_is_directory(folder));
    assert_false(os_is_directory(path));
    assert_true(os_is_file(path));
    assert_false(os_is_file(folder));
    assert_false(os_is_file("/nowhere/at/all"));
    char text[4] = "zzz";
    assert_int_equal(os_read_text(path, text, sizeof text), 1);
    assert_string_equal(text, "x");
    assert_int_equal(os_read_text("/nowhere", text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(os_read_text("/dev/zero", text, sizeof text), 3);
}

static void figures_of_the_machine_are_plausible(void **state) {
    (void)state;
    const uint64_t total = os_mem_total_bytes();
    assert_true(total > (uint64_t)16 << 20);
    assert_true(os_mem_available_bytes() <= total);
    assert_in_range(os_cores(), 1, 100000);
    assert_in_range(os_cpus(), os_cores() > 1 ? 2 : 1, 100000);
    os_thread_name("a name that is far too long");
    assert_false(os_thread_pin(0, 99999));
    assert_int_equal(os_cache_bytes(0), 0);
    assert_int_equal(os_cache_bytes(9), 0);
    for (uint32_t level = 1; level < 3; level++) { /* 0 where the system does not tell */
        const uint64_t below = os_cache_bytes(level), above = os_cache_bytes(level + 1);
        assert_true(above == 0 || below <= above);
    }
}

static void random_numbers_differ(void **state) {
    (void)state;
    assert_true(os_random_u64() != os_random_u64());
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_files_read_back),
        cmocka_unit_test(reading_stops_at_the_limit),
        cmocka_unit_test(large_files_come_whole),
        cmocka_unit_test(refused_memory_is_reported_and_nothing_leaks),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(a_failed_write_leaves_nothing_behind),
        cmocka_unit_test(mappings_show_the_file),
        cmocka_unit_test(empty_files_map_to_nothing),
        cmocka_unit_test(regions_are_zeroed_and_page_aligned),
        cmocka_unit_test(impossible_regions_are_refused),
        cmocka_unit_test(touched_regions_count_as_resident),
        cmocka_unit_test(a_region_can_be_given_its_memory_in_advance),
        cmocka_unit_test(paths_are_told_apart),
        cmocka_unit_test(figures_of_the_machine_are_plausible),
        cmocka_unit_test(random_numbers_differ),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
