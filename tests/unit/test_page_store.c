/* test_page_store.c - pages come back whole or not at all, from this process or the one before, and the
 * folder stays within its size.
 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/mem.h"
#include "base/os.h"
#include "engine/page_store.h"

enum { PAYLOAD = 5000, FILE_BYTES = PAYLOAD + 200 };

static char base[64], dir[96];
static uint32_t n_warnings;
static unsigned n_unused; /* pages that the log says are not used */

static void count_log(void *user, log_level level, const char *line) {
    (void)user;
    unsigned n = 0;
    const char *count = strstr(line, "/pages: ");
    n_warnings += level == LOG_LEVEL_WARN;
    if (count != NULL && strstr(line, "are not used") != NULL &&
        sscanf(count, "/pages: %u pages of another model", &n) == 1) {
        n_unused += n;
    }
}

static int setup(void **state) {
    (void)state;
    snprintf(base, sizeof base, "/tmp/weft-store-XXXXXX");
    if (mkdtemp(base) == NULL) {
        return 1;
    }
    snprintf(dir, sizeof dir, "%s/pages", base);
    n_warnings = n_unused = 0;
    log_set_sink(count_log, NULL, LOG_LEVEL_INFO);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", base);
    return system(command);
}

static page_store *open_store(uint64_t fingerprint, uint64_t n_files) {
    page_store *s = NULL;
    weft_error err;
    const page_store_config config = {.dir = dir,
                                      .bytes_max = n_files * FILE_BYTES,
                                      .fingerprint = fingerprint,
                                      .payload_bytes = PAYLOAD,
                                      .n_buffers = 4};
    if (page_store_open(&s, &config, &err) != WEFT_OK) {
        fail_msg("%s", err.message);
    }
    return s;
}

static void fill_units(uint64_t *units, uint64_t from) {
    for (uint32_t i = 0; i < PAGE_TOKENS; i++) {
        units[i] = from + i;
    }
}

static page_name name_of(const page_store *s, uint64_t from) {
    uint64_t units[PAGE_TOKENS];
    fill_units(units, from);
    return page_store_child(s, page_store_root(s), units);
}

static void put(page_store *s, uint64_t from) {
    uint64_t units[PAGE_TOKENS];
    void *page = NULL;
    fill_units(units, from);
    while (page == NULL) {
        page = page_store_try_begin(s);
    }
    memset(page, (int)from & 0xff, PAYLOAD);
    page_store_commit(s, name_of(s, from), units);
}

static bool try_get(page_store *s, uint64_t from) {
    uint64_t units[PAGE_TOKENS];
    static unsigned char page[PAYLOAD], want[PAYLOAD];
    fill_units(units, from);
    memset(want, (int)from & 0xff, PAYLOAD);
    const bool is_there = page_store_try_read(s, name_of(s, from), units, page);
    if (is_there) {
        assert_memory_equal(page, want, PAYLOAD);
    }
    return is_there;
}

static void path_of(const page_store *s, uint64_t from, char *out, size_t out_bytes) {
    const page_name n = name_of(s, from);
    snprintf(out, out_bytes, "%s/%016llx%016llx.page", dir, (unsigned long long)n.w[0],
             (unsigned long long)n.w[1]);
}

static void pages_come_back_from_this_process_and_the_next(void **state) {
    (void)state;
    page_store *s = open_store(1, 100);
    for (uint64_t i = 0; i < 20; i++) {
        put(s, i * 100);
        assert_true(page_store_has(s, name_of(s, i * 100))); /* at once */
    }
    assert_true(try_get(s, 1900)); /* though it may still be on its way */
    assert_false(page_store_has(s, name_of(s, 5)));
    assert_false(try_get(s, 5));
    page_store_close(&s);
    s = open_store(1, 100);
    assert_int_equal(page_store_count(s), 20);
    for (uint64_t i = 0; i < 20; i++) {
        assert_true(try_get(s, i * 100));
    }
    put(s, 100); /* once more: nothing happens */
    assert_int_equal(page_store_count(s), 20);
    assert_int_equal(page_store_bytes(s), 20 * FILE_BYTES);
    page_store_close(&s);
    assert_int_equal(n_warnings, 0);
}

static void a_name_says_all_that_came_before(void **state) {
    (void)state;
    uint64_t units[PAGE_TOKENS];
    page_store *s = open_store(1, 100);
    fill_units(units, 7);
    const page_name first = page_store_child(s, page_store_root(s), units);
    const page_name second = page_store_child(s, first, units);
    assert_memory_not_equal(&first, &second, sizeof first);
    units[15]++;
    const page_name other = page_store_child(s, page_store_root(s), units);
    assert_memory_not_equal(&first, &other, sizeof first);
    page_store_close(&s);
}

static void another_model_finds_nothing_and_leaves_all(void **state) {
    (void)state;
    page_store *s = open_store(1, 100);
    put(s, 100);
    put(s, 200);
    page_store_close(&s);
    assert_int_equal(n_unused, 0);
    s = open_store(2, 100);
    assert_int_equal(n_unused, 2);
    assert_int_equal(page_store_count(s), 0);
    assert_int_equal(page_store_bytes(s), 2 * FILE_BYTES); /* counted all the same */
    assert_false(try_get(s, 100));
    page_store_close(&s);
    s = open_store(1, 100);
    assert_true(try_get(s, 100));
    page_store_close(&s);
}

/* As one that another version of weft wrote: its magic is the first thing in the file. */
static void a_page_of_another_format_is_not_used(void **state) {
    (void)state;
    char path[256];
    struct stat st;
    page_store *s = open_store(1, 100);
    put(s, 100);
    put(s, 200);
    path_of(s, 100, path, sizeof path);
    page_store_close(&s);
    const int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "WFTPAGE0", 8, 0), 8);
    close(fd);
    s = open_store(1, 100);
    assert_int_equal(n_unused, 1);
    assert_int_equal(n_warnings, 0);
    assert_int_equal(page_store_count(s), 1);
    assert_int_equal(page_store_bytes(s), 2 * FILE_BYTES);
    assert_int_equal(stat(path, &st), 0);
    assert_true(try_get(s, 200));
    assert_false(try_get(s, 100));
    page_store_close(&s);
}

static void write_text(const char *file, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

static bool has_file(const char *file) {
    struct stat st;
    char path[256];
    snprintf(path, sizeof path, "%s/%s", dir, file);
    return stat(path, &st) == 0;
}

/* An empty one is what a process left that wrote in place; the link sees what is written there. */
static void the_key_is_written_beside_its_place(void **state) {
    (void)state;
    struct stat st;
    char path[256], link_path[256];
    snprintf(path, sizeof path, "%s/key", dir);
    snprintf(link_path, sizeof link_path, "%s/link", dir);
    assert_int_equal(mkdir(dir, 0777), 0);
    write_text("key", "");
    assert_int_equal(link(path, link_path), 0);
    page_store *s = open_store(1, 100);
    put(s, 100);
    page_store_close(&s);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 16);
    assert_int_equal(stat(link_path, &st), 0);
    assert_int_equal(st.st_size, 0);
    s = open_store(1, 100);
    assert_true(try_get(s, 100));
    page_store_close(&s);
}

static void a_file_that_is_no_key_is_left_alone(void **state) {
    (void)state;
    static const char *const texts[] = {"of my house", "a key of more than sixteen bytes"};
    const page_store_config config = {.dir = dir,
                                      .bytes_max = 1 << 20,
                                      .fingerprint = 1,
                                      .payload_bytes = PAYLOAD,
                                      .n_buffers = 2};
    char path[256], text[64];
    snprintf(path, sizeof path, "%s/key", dir);
    assert_int_equal(mkdir(dir, 0777), 0);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        page_store *s = NULL;
        weft_error err;
        write_text("key", texts[i]);
        assert_int_not_equal(page_store_open(&s, &config, &err), WEFT_OK);
        assert_null(s);
        assert_non_null(strstr(err.message, path));
        assert_int_equal(os_read_text(path, text, sizeof text), strlen(texts[i]));
        assert_string_equal(text, texts[i]);
    }
}

/* DIR may be somebody's folder of downloads. */
static void only_our_own_temporary_files_go(void **state) {
    (void)state;
    static const char *const foreign[] = {
        "movie.part",
        ".part",
        "0123456789abcdef0123456789abcde.part",   /* one digit short */
        "0123456789abcdef0123456789abcdef0.part", /* one too many */
        "0123456789ABCDEF0123456789ABCDEF.part",
        "0123456789abcdef0123456789abcdef.part.part",
    };
    static const char ours[] = "0123456789abcdef0123456789abcdef.part";
    assert_int_equal(mkdir(dir, 0777), 0);
    write_text(ours, "half a page");
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        write_text(foreign[i], "half a movie");
    }
    page_store *s = open_store(1, 100);
    page_store_close(&s);
    assert_false(has_file(ours));
    for (size_t i = 0; i < sizeof foreign / sizeof *foreign; i++) {
        assert_true(has_file(foreign[i]));
    }
}

/* What follows a kill, a full disk or a bad one. */
static void whatever_is_damaged_is_removed(void **state) {
    (void)state;
    char path[256];
    for (int damage = 0; damage < 5; damage++) {
        struct stat st;
        page_store *s = open_store(1, 100);
        put(s, 100);
        path_of(s, 100, path, sizeof path);
        page_store_close(&s);
        const int fd = open(path, O_RDWR);
        assert_true(fd >= 0);
        unsigned char byte = 0;
        const off_t at[] = {FILE_BYTES - 1, 250, 40, 150};
        if (damage < 4) {
            assert_int_equal(pread(fd, &byte, 1, at[damage]), 1);
            byte ^= 1;
            assert_int_equal(pwrite(fd, &byte, 1, at[damage]), 1);
        } else {
            assert_int_equal(ftruncate(fd, FILE_BYTES / 2), 0);
        }
        close(fd);
        n_warnings = 0;
        s = open_store(1, 100);
        assert_false(try_get(s, 100));
        assert_int_equal(n_warnings, 1);
        assert_int_equal(stat(path, &st), -1);
        put(s, 100); /* written anew */
        assert_true(try_get(s, 100));
        page_store_close(&s);
    }
}

static void what_was_not_used_for_longest_goes_first(void **state) {
    (void)state;
    page_store *s = open_store(1, 10);
    for (uint64_t i = 0; i < 10; i++) {
        put(s, i * 100);
    }
    assert_true(page_store_has(s, name_of(s, 0))); /* used */
    put(s, 5000);
    put(s, 6000);
    assert_int_equal(page_store_bytes(s), 10 * FILE_BYTES);
    assert_true(page_store_has(s, name_of(s, 0)));
    assert_false(page_store_has(s, name_of(s, 100)));
    assert_false(page_store_has(s, name_of(s, 200)));
    assert_true(page_store_has(s, name_of(s, 300)));
    page_store_close(&s);
    s = open_store(1, 10); /* and the files have gone with them */
    assert_int_equal(page_store_count(s), 10);
    page_store_close(&s);
    s = open_store(1, 3); /* a smaller folder from now on */
    for (uint64_t i = 0; i < 3; i++) {
        put(s, 7000 + i);
    }
    assert_in_range(page_store_bytes(s), 1, 3 * FILE_BYTES);
    page_store_close(&s);
}

static void a_folder_belongs_to_one_process(void **state) {
    (void)state;
    weft_error err;
    page_store *second = NULL;
    page_store *s = open_store(1, 10);
    page_store_config config = {.dir = dir,
                                .bytes_max = 1 << 20,
                                .fingerprint = 1,
                                .payload_bytes = PAYLOAD,
                                .n_buffers = 2};
    assert_int_equal(page_store_open(&second, &config, &err), WEFT_AGAIN);
    assert_non_null(strstr(err.message, "another process"));
    config.bytes_max = 100;
    assert_int_equal(page_store_open(&second, &config, &err), WEFT_LIMIT);
    config.dir = "/no/such/folder";
    config.bytes_max = 1 << 20;
    assert_int_equal(page_store_open(&second, &config, &err), WEFT_IO);
    assert_non_null(strstr(err.message, "/no/such/folder"));
    assert_null(second);
    page_store_close(&s);
}

static void opening_survives_every_failing_allocation(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    page_store *s = NULL;
    for (int64_t nth = 0; s == NULL; nth++) {
        weft_error err;
        const page_store_config config = {.dir = dir,
                                          .bytes_max = 1 << 20,
                                          .fingerprint = 1,
                                          .payload_bytes = PAYLOAD,
                                          .n_buffers = 2};
        mem_fail_after(nth);
        const weft_status status = page_store_open(&s, &config, &err);
        mem_fail_after(-1);
        assert_true(status == (s != NULL ? WEFT_OK : WEFT_NOMEM));
        assert_true(s != NULL || mem_stats_total().live_bytes == live);
    }
    page_store_close(&s);
    assert_int_equal(mem_stats_total().live_bytes, live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages_come_back_from_this_process_and_the_next, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_name_says_all_that_came_before, setup, teardown),
        cmocka_unit_test_setup_teardown(another_model_finds_nothing_and_leaves_all, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(a_page_of_another_format_is_not_used, setup, teardown),
        cmocka_unit_test_setup_teardown(the_key_is_written_beside_its_place, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_no_key_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(only_our_own_temporary_files_go, setup, teardown),
        cmocka_unit_test_setup_teardown(whatever_is_damaged_is_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_not_used_for_longest_goes_first, setup, teardown),
        cmocka_unit_test_setup_teardown(a_folder_belongs_to_one_process, setup, teardown),
        cmocka_unit_test_setup_teardown(opening_survives_every_failing_allocation, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
