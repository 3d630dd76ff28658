/* test_cgroup.c - limits of control groups, read from a made-up tree.
 *
 * Each test writes the few files the kernel would show below a folder of its own and reads
 * them back; nothing depends on the group the test itself runs in.
 */
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cgroup.h"
#include "base/os.h"

static char root[64];
static char self[80];

static int remove_entry(const char *path, const struct stat *st, int kind, struct FTW *where) {
    (void)st;
    (void)kind;
    (void)where;
    return remove(path);
}

static int make_root(void **state) {
    (void)state;
    (void)snprintf(root, sizeof root, "/tmp/weft-test-cgroup-XXXXXX");
    if (mkdtemp(root) == NULL) {
        return -1;
    }
    (void)snprintf(self, sizeof self, "%s/self", root);
    return 0;
}

static int remove_root(void **state) {
    (void)state;
    return nftw(root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *content) {
    char path[256];
    (void)snprintf(path, sizeof path, "%s/%s", root, name);
    for (char *slash = strchr(path + strlen(root) + 1, '/'); slash != NULL;
         slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        (void)mkdir(path, 0700);
        *slash = '/';
    }
    assert_int_equal(os_write_file(path, content, strlen(content), NULL), WEFT_OK);
}

static void without_groups_everything_is_granted(void **state) {
    (void)state;
    const cgroup_grant g = cgroup_read("/nowhere/self", "/nowhere");
    assert_true(g.mem_limit_bytes == UINT64_MAX);
    assert_true(g.mem_available_bytes == UINT64_MAX);
    assert_true(g.cores == UINT32_MAX);
}

static void version_2_takes_the_tightest_level(void **state) {
    (void)state;
    put("self", "0::/slice/unit\n");
    put("slice/unit/memory.max", "max\n");
    put("slice/unit/memory.current", "1000\n");
    put("slice/unit/cpu.max", "max 100000\n");
    put("slice/memory.max", "1000000\n");
    put("slice/memory.current", "400000\n");
    put("slice/memory.stat", "anon 1\nfile 2\ninactive_file 100000\nactive_file 3\n");
    put("slice/cpu.max", "350000 100000\n");
    put("memory.max", "2000000\n");
    put("memory.current", "1950000\n");
    const cgroup_grant g = cgroup_read(self, root);
    assert_int_equal(g.mem_limit_bytes, 1000000);
    assert_int_equal(g.mem_available_bytes, 50000); /* the root has less left than the slice */
    assert_int_equal(g.cores, 3);
    put("memory.current", "5\n");
    assert_int_equal(cgroup_read(self, root).mem_available_bytes, 700000);
}

static void inside_a_container_only_the_root_answers(void **state) {
    (void)state;
    put("self", "0::/not/visible/here\n");
    put("memory.max", "12345\n");
    put("cpu.max", "50000 100000\n");
    const cgroup_grant g = cgroup_read(self, root);
    assert_int_equal(g.mem_limit_bytes, 12345);
    assert_int_equal(g.cores, 1); /* half a core is still one thread */
    put("self", "0::/\n");
    assert_int_equal(cgroup_read(self, root).mem_limit_bytes, 12345);
}

static void a_full_group_has_nothing_left(void **state) {
    (void)state;
    put("self", "0::/\n");
    put("memory.max", "1000\n");
    put("memory.current", "1500\n");
    assert_int_equal(cgroup_read(self, root).mem_available_bytes, 0);
}

static void version_1_has_a_tree_for_each_controller(void **state) {
    (void)state;
    put("self", "9:name=systemd:/x\n4:cpuset,memory:/box\n2:cpu,cpuacct:/box\n1:cpuset:/other\n");
    put("memory/box/memory.limit_in_bytes", "1000000\n");
    put("memory/box/memory.usage_in_bytes", "300000\n");
    put("memory/box/memory.stat", "cache 1\ninactive_file 7\ntotal_inactive_file 100000\n");
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("cpu/box/cpu.cfs_quota_us", "200000\n");
    put("cpu/box/cpu.cfs_period_us", "100000\n");
    put("cpu/cpu.cfs_quota_us", "-1\n");
    put("cpu/cpu.cfs_period_us", "100000\n");
    const cgroup_grant g = cgroup_read(self, root);
    assert_int_equal(g.mem_limit_bytes, 1000000);
    assert_int_equal(g.mem_available_bytes, 800000);
    assert_int_equal(g.cores, 2);
}

static void rubbish_is_no_limit(void **state) {
    (void)state;
    const char *const selves[] = {"", "\n", ":", "::", "0::", "0:cpu:", "no colon", "a:b:c:d"};
    put("memory.max", "12 apples\n");
    put("cpu.max", "100000 0\n");
    for (size_t i = 0; i < sizeof selves / sizeof selves[0]; i++) {
        put("self", selves[i]);
        assert_true(cgroup_read(self, root).mem_limit_bytes == UINT64_MAX);
    }
    put("self", "0::/\n");
    assert_true(cgroup_read(self, root).mem_limit_bytes == UINT64_MAX);
    assert_true(cgroup_read(self, root).cores == UINT32_MAX);
}

#define IN_A_TREE(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_groups_everything_is_granted),
        IN_A_TREE(version_2_takes_the_tightest_level),
        IN_A_TREE(inside_a_container_only_the_root_answers),
        IN_A_TREE(a_full_group_has_nothing_left),
        IN_A_TREE(version_1_has_a_tree_for_each_controller),
        IN_A_TREE(rubbish_is_no_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
