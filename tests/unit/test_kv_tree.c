/* test_kv_tree.c - nodes are found by their whole path, evicted oldest leaf first, and never while
 * somebody else holds their pages.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "kv/kv_tree.h"

typedef struct fixture {
    kv_pool *pools[2]; /* full, sliding */
    kv_tree *tree;
} fixture;

static void open_fixture(fixture *f, uint32_t n_pages) {
    weft_error err;
    for (int g = 0; g < 2; g++) {
        assert_int_equal(kv_pool_create(&f->pools[g], n_pages, &err), WEFT_OK);
    }
    const kv_tree_config config = {
        .pools = {f->pools[0], f->pools[1]}, .is_sliding = {false, true}, .n_groups = 2, .seed = 5};
    assert_int_equal(kv_tree_create(&f->tree, &config, &err), WEFT_OK);
}

static void close_fixture(fixture *f) {
    kv_tree_check(f->tree);
    kv_tree_destroy(&f->tree);
    for (int g = 0; g < 2; g++) {
        assert_int_equal(kv_pool_held(f->pools[g]), 0);
        kv_pool_destroy(&f->pools[g]);
    }
}

/* A node whose units are all `unit`, with a page of every group that only the tree holds. */
static kv_node add(fixture *f, kv_node parent, kv_unit unit) {
    kv_unit units[PAGE_TOKENS];
    for (uint32_t i = 0; i < PAGE_TOKENS; i++) {
        units[i] = unit;
    }
    assert_int_equal(kv_tree_child(f->tree, parent, units), KV_NODE_NONE);
    const kv_node n = kv_tree_add(f->tree, parent, units);
    if (n != KV_NODE_NONE) {
        for (uint32_t g = 0; g < 2; g++) {
            assert_true(kv_pool_try_reserve(f->pools[g], 1));
            const kv_page page = kv_pool_take(f->pools[g]);
            kv_tree_keep(f->tree, n, g, page);
            kv_pool_release(f->pools[g], page);
        }
        assert_int_equal(kv_tree_child(f->tree, parent, units), n);
    }
    return n;
}

static void a_node_is_found_by_its_path(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    const kv_node a = add(&f, KV_NODE_ROOT, 1);
    const kv_node b = add(&f, KV_NODE_ROOT, 2);
    const kv_node below_a = add(&f, a, 3);
    const kv_node below_b = add(&f, b, 3);
    assert_int_not_equal(below_a, below_b);
    assert_int_equal(kv_tree_parent(f.tree, below_b), b);
    kv_unit nearly[PAGE_TOKENS];
    for (uint32_t i = 0; i < PAGE_TOKENS; i++) {
        nearly[i] = i == PAGE_TOKENS - 1 ? 4 : 3;
    }
    assert_int_equal(kv_tree_child(f.tree, a, nearly), KV_NODE_NONE);
    assert_int_equal(kv_tree_count(f.tree), 4);
    close_fixture(&f);
}

static void the_leaf_used_longest_ago_goes_first(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    const kv_node a = add(&f, KV_NODE_ROOT, 1);
    const kv_node b = add(&f, a, 2);
    const kv_node c = add(&f, a, 3);
    kv_tree_touch(f.tree, b); /* and a with it */
    assert_true(kv_tree_try_evict(f.tree, 0));
    kv_tree_check(f.tree);
    assert_int_equal(kv_tree_count(f.tree), 2); /* c is gone, with its sliding page */
    assert_int_equal(kv_tree_pages(f.tree, 1), 2);
    assert_int_equal(kv_tree_page(f.tree, b, 0) != KV_PAGE_NONE, 1);
    (void)c;
    assert_true(kv_tree_try_evict(f.tree, 0));
    assert_true(kv_tree_try_evict(f.tree, 0));
    assert_false(kv_tree_try_evict(f.tree, 0));
    assert_int_equal(kv_tree_count(f.tree), 0);
    close_fixture(&f);
}

static void a_sliding_page_goes_without_its_node(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    const kv_node a = add(&f, KV_NODE_ROOT, 1);
    const kv_node b = add(&f, a, 2);
    assert_true(kv_tree_try_evict(f.tree, 1));
    assert_int_equal(kv_tree_page(f.tree, a, 1), KV_PAGE_NONE); /* the older, though no leaf */
    assert_int_not_equal(kv_tree_page(f.tree, b, 1), KV_PAGE_NONE);
    assert_int_equal(kv_tree_count(f.tree), 2);
    close_fixture(&f);
}

static void pages_in_use_and_pinned_leaves_stay(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 8);
    const kv_node a = add(&f, KV_NODE_ROOT, 1);
    const kv_page page = kv_tree_page(f.tree, a, 0);
    kv_pool_retain(f.pools[0], page);
    assert_int_equal(kv_pool_idle(f.pools[0]), 0);
    assert_false(kv_tree_try_evict(f.tree, 0));
    kv_pool_release(f.pools[0], page);
    kv_tree_pin(f.tree, a);
    assert_false(kv_tree_try_evict(f.tree, 0));
    kv_tree_unpin(f.tree, a);
    assert_true(kv_tree_try_evict(f.tree, 0));
    kv_tree_pin(f.tree, KV_NODE_ROOT);
    kv_tree_touch(f.tree, KV_NODE_ROOT);
    kv_tree_unpin(f.tree, KV_NODE_ROOT);
    close_fixture(&f);
}

static void a_full_tree_evicts_for_a_new_node(void **state) {
    (void)state;
    fixture f;
    open_fixture(&f, 4);
    kv_node n = KV_NODE_ROOT;
    for (kv_unit i = 0; i < 4; i++) {
        n = add(&f, n, i);
    }
    const kv_node fifth = add(&f, KV_NODE_ROOT, 99); /* the deepest made room */
    assert_int_not_equal(fifth, KV_NODE_NONE);
    assert_int_equal(kv_tree_count(f.tree), 4);
    kv_tree_check(f.tree);
    for (kv_unit i = 0; i < 3; i++) { /* below itself, a path never eats its own end */
        n = add(&f, i == 0 ? fifth : n, 200 + i);
        assert_int_not_equal(n, KV_NODE_NONE);
        kv_tree_check(f.tree);
    }
    assert_int_equal(add(&f, n, 300), KV_NODE_NONE);
    close_fixture(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_node_is_found_by_its_path),
        cmocka_unit_test(the_leaf_used_longest_ago_goes_first),
        cmocka_unit_test(a_sliding_page_goes_without_its_node),
        cmocka_unit_test(pages_in_use_and_pinned_leaves_stay),
        cmocka_unit_test(a_full_tree_evicts_for_a_new_node),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
