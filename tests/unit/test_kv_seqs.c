/* test_kv_seqs.c - block tables of full and sliding groups: growing never fails, closing returns
 * everything, and every position that a row may see has its page.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/mem.h"
#include "kv/kv_seqs.h"

#define CTX 400u
#define CHUNK 24u
#define WINDOW 40u

static const kv_config config = {
    .n_groups = 2,
    .groups = {{.n_pages = 60, .window = WINDOW}, {.n_pages = 100, .window = 0}},
    .seqs_max = 6,
    .ctx_max = CTX,
    .chunk_max = CHUNK,
};

static kv_seqs *make(void) {
    kv_seqs *kv = NULL;
    weft_error err = {0};
    assert_int_equal(kv_seqs_create(&kv, &config, &err), WEFT_OK);
    kv_seqs_check(kv);
    return kv;
}

static uint32_t available(const kv_seqs *kv, uint32_t group) {
    return kv_pool_available(kv_seqs_pool(kv, group));
}

/* Rows [n_past, n_tokens) and all they see must have pages. */
static void expect_visible(const kv_seqs *kv, kv_seq seq, uint32_t n_past, uint32_t n_tokens) {
    for (uint32_t g = 0; g < config.n_groups; g++) {
        const uint32_t window = config.groups[g].window;
        const uint32_t first = window != 0 && n_past + 1 > window ? n_past + 1 - window : 0;
        const kv_page *pages = kv_seq_pages(kv, seq, g);
        for (uint32_t p = first; p < n_tokens; p++) {
            assert_int_not_equal(pages[p / PAGE_TOKENS], KV_PAGE_NONE);
        }
        for (uint32_t i = page_count(n_tokens); i < page_count(CTX); i++) {
            assert_int_equal(pages[i], KV_PAGE_NONE);
        }
    }
}

static void opening_reserves_and_closing_returns(void **state) {
    (void)state;
    kv_seqs *kv = make();
    const kv_seq seq = kv_seq_try_open(kv, CTX);
    assert_int_equal(seq, 0);
    assert_int_equal(available(kv, 0), 60 - page_count_group(WINDOW, CTX, CHUNK));
    assert_int_equal(available(kv, 1), 100 - 25);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 1)), 0);
    kv_seqs_check(kv);
    kv_seq_grow(kv, seq, 0, 20);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 1)), 2);
    assert_int_equal(available(kv, 1), 75); /* held and reserved together stay the promise */
    kv_seqs_check(kv);
    kv_seq_close(kv, seq);
    kv_seqs_check(kv);
    assert_int_equal(available(kv, 0), 60);
    assert_int_equal(available(kv, 1), 100);
    assert_int_equal(kv_seqs_open_count(kv), 0);
    kv_seqs_destroy(&kv);
    assert_null(kv);
    kv_seqs_destroy(&kv);
}

static void opening_is_refused_without_pages_or_slots(void **state) {
    (void)state;
    kv_seq seqs[6];
    kv_seqs *kv = make();
    for (uint32_t i = 0; i < 4; i++) {
        seqs[i] = kv_seq_try_open(kv, CTX); /* 4 * 25 pages: all of group 1 */
        assert_int_equal(seqs[i], i);
    }
    const uint32_t left = available(kv, 0);
    assert_int_equal(kv_seq_try_open(kv, 16), KV_SEQ_NONE);
    assert_int_equal(available(kv, 0), left); /* in every group or in none */
    kv_seqs_check(kv);
    kv_seq_close(kv, seqs[2]);
    assert_int_equal(kv_seq_try_open(kv, 16), 2); /* the lowest free slot */
    seqs[4] = kv_seq_try_open(kv, 16);
    seqs[5] = kv_seq_try_open(kv, 16);
    assert_int_equal(seqs[5], 5);
    assert_int_equal(kv_seq_try_open(kv, 1), KV_SEQ_NONE); /* slots are out */
    assert_int_equal(kv_seqs_open_count(kv), 6);
    for (kv_seq s = 0; s < 6; s++) {
        kv_seq_close(kv, s);
        kv_seqs_check(kv);
    }
    kv_seqs_destroy(&kv);
}

static void sliding_groups_give_back_what_no_row_sees(void **state) {
    (void)state;
    kv_seqs *kv = make();
    const kv_seq seq = kv_seq_try_open(kv, CTX);
    for (uint32_t n = 0; n < CTX; n++) {
        kv_seq_grow(kv, seq, n, n + 1);
        kv_seqs_check(kv);
        expect_visible(kv, seq, n, n + 1);
        const kv_page *pages = kv_seq_pages(kv, seq, 0);
        const uint32_t first = n + 1 > WINDOW ? n + 1 - WINDOW : 0;
        for (uint32_t i = 0; i < first / PAGE_TOKENS; i++) {
            assert_int_equal(pages[i], KV_PAGE_NONE);
        }
    }
    assert_int_equal(kv_seq_tokens(kv, seq), CTX);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 1)), 25);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 0)), 3); /* pages 22 to 24: 352..399 */
    kv_seq_close(kv, seq);
    kv_seqs_destroy(&kv);
}

static void chunks_at_any_offset_find_room(void **state) {
    (void)state;
    for (uint32_t offset = 0; offset < 20; offset++) {
        kv_seqs *kv = make();
        const kv_seq seq = kv_seq_try_open(kv, CTX);
        uint32_t n = 0;
        if (offset > 0) {
            kv_seq_grow(kv, seq, 0, offset);
            n = offset;
        }
        for (; n + CHUNK <= CTX; n += CHUNK) {
            kv_seq_grow(kv, seq, n, n + CHUNK);
            kv_seqs_check(kv);
            expect_visible(kv, seq, n, n + CHUNK);
        }
        kv_seq_close(kv, seq);
        kv_seqs_destroy(&kv);
    }
}

static void a_cut_forgets_positions_and_their_pages(void **state) {
    (void)state;
    kv_seqs *kv = make();
    const kv_seq seq = kv_seq_try_open(kv, CTX);
    kv_seq_grow(kv, seq, 0, 20);
    kv_seq_grow(kv, seq, 20, 35);
    assert_int_equal(kv_seq_cut_min(kv, seq), 0); /* nothing was dropped yet */
    kv_seq_cut(kv, seq, 17);
    assert_int_equal(kv_seq_tokens(kv, seq), 17);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 0)), 2);
    kv_seq_cut(kv, seq, 16);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 0)), 1);
    kv_seqs_check(kv);
    kv_seq_cut(kv, seq, 0);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 1)), 0);
    kv_seqs_check(kv);
    for (uint32_t n = 0; n < 96; n += CHUNK) {
        kv_seq_grow(kv, seq, n, n + CHUNK);
    }
    kv_seq_grow(kv, seq, 96, 97); /* row 96 sees 57..96: pages 0 to 2 are dropped */
    assert_int_equal(kv_seq_cut_min(kv, seq), 3 * 16 + WINDOW - 1);
    kv_seq_cut(kv, seq, kv_seq_cut_min(kv, seq));
    kv_seqs_check(kv);
    const uint32_t n = kv_seq_tokens(kv, seq);
    kv_seq_grow(kv, seq, n, n + 1);
    expect_visible(kv, seq, n, n + 1);
    kv_seqs_check(kv);
    kv_seq_close(kv, seq);
    kv_seqs_destroy(&kv);
}

static void sequences_never_share_a_page(void **state) {
    (void)state;
    kv_seqs *kv = make();
    bool is_used[100] = {false};
    kv_seqs_shuffle(kv, 5);
    for (kv_seq s = 0; s < 4; s++) {
        assert_int_equal(kv_seq_try_open(kv, 64), s);
        kv_seq_grow(kv, s, 0, 24);
        kv_seq_grow(kv, s, 24, 40);
    }
    for (kv_seq s = 0; s < 4; s++) {
        for (uint32_t i = 0; i < 3; i++) {
            const kv_page page = kv_seq_pages(kv, s, 1)[i];
            assert_false(is_used[page]);
            is_used[page] = true;
        }
        kv_seq_close(kv, s);
    }
    kv_seqs_destroy(&kv);
}

static void senseless_configurations_are_refused(void **state) {
    (void)state;
    kv_seqs *kv = NULL;
    weft_error err = {0};
    kv_config c = config;
    c.n_groups = 5;
    assert_int_equal(kv_seqs_create(&kv, &c, &err), WEFT_INVALID);
    assert_string_equal(err.message, "KV of 5 groups, 6 sequences, 400 positions, chunks of 24: "
                                     "wanted 1 to 4 groups and no zero");
    c = config;
    c.seqs_max = 0;
    assert_int_equal(kv_seqs_create(&kv, &c, &err), WEFT_INVALID);
    c = config;
    c.groups[1].n_pages = KV_PAGES_MAX + 1;
    assert_int_equal(kv_seqs_create(&kv, &c, &err), WEFT_LIMIT);
    assert_null(kv);
}

static void creation_survives_every_failing_allocation(void **state) {
    (void)state;
    const uint64_t live = mem_stats_total().live_bytes;
    for (int64_t nth = 0;; nth++) {
        kv_seqs *kv = NULL;
        weft_error err = {0};
        mem_fail_after(nth);
        const weft_status status = kv_seqs_create(&kv, &config, &err);
        mem_fail_after(-1);
        if (status == WEFT_OK) {
            assert_int_equal(nth, 4 + 2 * 4 + 4); /* tables, two pools, the tree */
            kv_seqs_destroy(&kv);
            break;
        }
        assert_int_equal(status, WEFT_NOMEM);
        assert_non_null(strstr(err.message, "out of memory"));
        assert_int_equal(mem_stats_total().live_bytes, live);
    }
    assert_int_equal(mem_stats_total().live_bytes, live);
}

/* ---- shared beginnings ---- */

static void run(kv_seqs *kv, kv_seq seq, const kv_unit *units, uint32_t n_tokens) {
    while (kv_seq_tokens(kv, seq) < n_tokens) {
        const uint32_t past = kv_seq_tokens(kv, seq);
        kv_seq_grow(kv, seq, past, past + CHUNK < n_tokens ? past + CHUNK : n_tokens);
        kv_seq_publish(kv, seq, units, kv_seq_tokens(kv, seq));
        kv_seqs_check(kv);
    }
}

static void fill_units(kv_unit *units, uint32_t n, kv_unit from) {
    for (uint32_t i = 0; i < n; i++) {
        units[i] = from + i;
    }
}

static void a_known_beginning_is_opened_on_its_pages(void **state) {
    (void)state;
    kv_unit units[CTX];
    kv_page first_pages[CTX / PAGE_TOKENS];
    kv_seqs *kv = make();
    fill_units(units, CTX, 7);
    const kv_seq first = kv_seq_try_open_prompt(kv, units, 100, 200, 0);
    assert_int_equal(kv_seq_tokens(kv, first), 0);
    run(kv, first, units, 100);
    memcpy(first_pages, kv_seq_pages(kv, first, 1), sizeof first_pages);
    const kv_seq second = kv_seq_try_open_prompt(kv, units, 100, 200, 0); /* while the first runs */
    kv_seqs_check(kv);
    assert_int_equal(kv_seq_tokens(kv, second), 96);
    assert_memory_equal(kv_seq_pages(kv, second, 1), first_pages, 6 * sizeof *first_pages);
    expect_visible(kv, second, 96, 96);
    run(kv, second, units, 110);
    assert_int_not_equal(kv_seq_pages(kv, second, 1)[6],
                         first_pages[6]); /* a partial page is not */
    kv_seq_close(kv, first);
    kv_seq_close(kv, second);
    kv_seqs_check(kv);
    const kv_seq third = kv_seq_try_open_prompt(kv, units, 96, 200, 0); /* one position must run */
    assert_int_equal(kv_seq_tokens(kv, third), 80);
    units[50]++;
    const kv_seq fourth = kv_seq_try_open_prompt(kv, units, 200, 200, 0);
    assert_int_equal(kv_seq_tokens(kv, fourth), 48);
    kv_seq_close(kv, third);
    kv_seq_close(kv, fourth);
    kv_seqs_forget(kv);
    kv_seqs_check(kv);
    assert_int_equal(available(kv, 1), 100);
    kv_seqs_destroy(&kv);
}

static void pages_from_elsewhere_are_opened_on(void **state) {
    (void)state;
    kv_unit units[CTX];
    kv_page pages[KV_GROUPS_MAX];
    kv_seqs *kv = make();
    fill_units(units, CTX, 7);
    assert_false(kv_seqs_try_graft(kv, units, 1, 10, pages)); /* the one before it is missing */
    for (uint32_t i = 0; i < 10; i++) {
        assert_false(kv_seqs_has_page(kv, units, i, 10));
        assert_true(kv_seqs_try_graft(kv, units, i, 10, pages));
        assert_int_equal(pages[0] == KV_PAGE_NONE, i < 7); /* no window from 160 on reaches it */
        assert_int_not_equal(pages[1], KV_PAGE_NONE);
        assert_true(kv_seqs_has_page(kv, units, i, 10));
        assert_true(kv_seqs_try_graft(kv, units, i, 10, pages)); /* nothing left to do */
        assert_int_equal(pages[1], KV_PAGE_NONE);
        kv_seqs_check(kv);
    }
    const kv_seq seq = kv_seq_try_open_prompt(kv, units, 200, 300, 0);
    assert_int_equal(kv_seq_tokens(kv, seq), 160);
    kv_seqs_check(kv);
    kv_seq others[3];
    for (uint32_t i = 0; i < 3; i++) {
        others[i] = kv_seq_try_open(kv, CTX);
    }
    const kv_seq last = kv_seq_try_open(kv, kv_seqs_spare(kv, 1) * PAGE_TOKENS);
    assert_int_not_equal(last, KV_SEQ_NONE);
    fill_units(units, CTX, 9000);
    assert_false(kv_seqs_try_graft(kv, units, 0, 1, pages)); /* everything is promised */
    kv_seqs_check(kv);
    for (uint32_t i = 0; i < 3; i++) {
        kv_seq_close(kv, others[i]);
    }
    kv_seq_close(kv, last);
    kv_seq_close(kv, seq);
    kv_seqs_check(kv);
    kv_seqs_destroy(&kv);
}

static void equal_pages_become_one(void **state) {
    (void)state;
    kv_unit units[CTX];
    kv_seqs *kv = make();
    fill_units(units, CTX, 7);
    const kv_seq a = kv_seq_try_open_prompt(kv, units, 100, 200, 0);
    const kv_seq b = kv_seq_try_open_prompt(kv, units, 100, 200, 0); /* neither knows the other */
    for (uint32_t at = 0; at < 96; at += CHUNK) {
        kv_seq_grow(kv, a, at, at + CHUNK);
        kv_seq_grow(kv, b, at, at + CHUNK);
    }
    const uint32_t before = kv_pool_held(kv_seqs_pool(kv, 1));
    assert_int_equal(before, 12);
    kv_seq_publish(kv, a, units, 96);
    kv_seq_publish(kv, b, units, 96);
    kv_seqs_check(kv);
    assert_int_equal(kv_pool_held(kv_seqs_pool(kv, 1)), 6);
    assert_memory_equal(kv_seq_pages(kv, a, 1), kv_seq_pages(kv, b, 1), 6 * sizeof(kv_page));
    run(kv, b, units, 150);
    kv_seq_close(kv, a);
    kv_seqs_check(kv);
    expect_visible(kv, b, 140, 150);
    kv_seq_close(kv, b);
    kv_seqs_destroy(&kv);
}

static void what_is_only_cached_makes_room(void **state) {
    (void)state;
    kv_unit units[CTX];
    kv_seqs *kv = make();
    for (kv_unit i = 0; i < 10; i++) { /* 10 x 25 pages through a pool of 100 */
        fill_units(units, CTX, 1000 * i);
        const kv_seq seq = kv_seq_try_open_prompt(kv, units, CTX - 1, CTX, 0);
        assert_int_equal(kv_seq_tokens(kv, seq), 0);
        run(kv, seq, units, CTX);
        kv_seq_close(kv, seq);
        kv_seqs_check(kv);
    }
    const kv_seq last =
        kv_seq_try_open_prompt(kv, units, CTX, CTX, 0); /* the newest is still there */
    assert_int_equal(kv_seq_tokens(kv, last), CTX - PAGE_TOKENS);
    fill_units(units, CTX, 0);
    const kv_seq oldest = kv_seq_try_open_prompt(kv, units, CTX, CTX, 0);
    assert_int_equal(kv_seq_tokens(kv, oldest), 0);
    kv_seq_close(kv, last);
    kv_seq_close(kv, oldest);
    kv_seqs_destroy(&kv);
}

/* ---- a random walk ---- */

typedef struct walker {
    bool is_open;
    uint32_t n_tokens, n_max;
} walker;

static uint64_t walk_state;

static uint32_t walk_random(uint32_t n) {
    walk_state = walk_state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(walk_state >> 33) % n;
}

static void walk_grow(kv_seqs *kv, kv_seq s, walker *w) {
    const uint32_t room = w->n_max - w->n_tokens;
    if (room > 0) {
        const uint32_t most = room < CHUNK ? room : CHUNK;
        const uint32_t n = 1 + walk_random(most);
        kv_seq_grow(kv, s, w->n_tokens, w->n_tokens + n);
        expect_visible(kv, s, w->n_tokens, w->n_tokens + n);
        w->n_tokens += n;
    }
}

static void walk_cut(kv_seqs *kv, kv_seq s, walker *w) {
    const uint32_t min = kv_seq_cut_min(kv, s);
    assert_true(min <= w->n_tokens);
    w->n_tokens = min + walk_random(w->n_tokens - min + 1);
    kv_seq_cut(kv, s, w->n_tokens);
}

static void walk_open(kv_seqs *kv, walker *walkers) {
    const uint32_t n_max = 1 + walk_random(CTX);
    const kv_seq s = kv_seq_try_open(kv, n_max);
    if (s != KV_SEQ_NONE) {
        assert_false(walkers[s].is_open);
        walkers[s] = (walker){true, 0, n_max};
    }
}

static void a_random_walk_keeps_the_books(void **state) {
    (void)state;
    walker walkers[6] = {{0}};
    kv_seqs *kv = make();
    walk_state = 17;
    kv_seqs_shuffle(kv, 99);
    for (uint32_t step = 0; step < 30000; step++) {
        const kv_seq s = walk_random(6);
        const uint32_t what = walk_random(16);
        if (!walkers[s].is_open) {
            walk_open(kv, walkers);
        } else if (what == 0) {
            kv_seq_close(kv, s);
            walkers[s].is_open = false;
        } else if (what < 4) {
            walk_cut(kv, s, &walkers[s]);
        } else {
            walk_grow(kv, s, &walkers[s]);
        }
        kv_seqs_check(kv);
        if (walkers[s].is_open) {
            assert_int_equal(kv_seq_tokens(kv, s), walkers[s].n_tokens);
        }
    }
    for (kv_seq s = 0; s < 6; s++) {
        if (walkers[s].is_open) {
            kv_seq_close(kv, s);
        }
    }
    assert_int_equal(available(kv, 0), 60);
    assert_int_equal(available(kv, 1), 100);
    kv_seqs_destroy(&kv);
}

static void a_promise_can_grow_or_is_refused_whole(void **state) {
    (void)state;
    kv_seqs *kv = make();
    const kv_seq a = kv_seq_try_open(kv, 16);
    assert_int_equal(kv_seq_promised(kv, a), 16);
    assert_int_equal(kv_seqs_spare(kv, 1), 99);
    assert_true(kv_seq_try_promise(kv, a, 33));
    assert_int_equal(kv_seq_promised(kv, a), 33);
    assert_int_equal(kv_seqs_spare(kv, 0), 57);
    assert_int_equal(kv_seqs_spare(kv, 1), 97);
    kv_seqs_check(kv);
    for (uint32_t i = 0; i < 3; i++) { /* 75 pages of group 1, 15 of group 0 */
        assert_int_not_equal(kv_seq_try_open(kv, CTX), KV_SEQ_NONE);
    }
    const kv_seq last = kv_seq_try_open(kv, 21 * PAGE_TOKENS);
    assert_int_equal(kv_seqs_spare(kv, 1), 1);
    assert_true(kv_seq_try_promise(kv, a, 64));
    const uint32_t before = available(kv, 0);
    assert_false(kv_seq_try_promise(kv, a, 65)); /* group 0 has the page, group 1 has not */
    assert_int_equal(kv_seq_promised(kv, a), 64);
    assert_int_equal(available(kv, 0), before);
    kv_seqs_check(kv);
    for (uint32_t n = 0; n < 64; n += 16) {
        kv_seq_grow(kv, a, n, n + 16); /* cannot fail */
    }
    for (kv_seq seq = 0; seq <= last; seq++) {
        kv_seq_close(kv, seq);
    }
    kv_seqs_check(kv);
    kv_seqs_destroy(&kv);
}

static void expect_prefix(const kv_seqs *kv, const kv_unit *units, uint32_t n_prompt,
                          uint32_t n_tokens, kv_miss miss, uint32_t miss_at) {
    const kv_prefix prefix = kv_seqs_explain(kv, units, n_prompt);
    assert_int_equal(prefix.n_tokens, n_tokens);
    assert_int_equal(prefix.miss, miss);
    assert_int_equal(prefix.miss_at, miss_at);
}

static void a_miss_is_explained(void **state) {
    (void)state;
    kv_unit units[CTX];
    kv_seqs *kv = make();
    fill_units(units, CTX, 7);
    expect_prefix(kv, units, 16, 0, KV_MISS_PARTIAL, 0); /* no whole page and a row to run */
    expect_prefix(kv, units, 100, 0, KV_MISS_NEW, 0);
    const kv_seq seq = kv_seq_try_open_prompt(kv, units, 100, 100, 0);
    run(kv, seq, units, 100);
    kv_seq_close(kv, seq);
    expect_prefix(kv, units, 100, 96, KV_MISS_PARTIAL, 96);
    expect_prefix(kv, units, 200, 96, KV_MISS_NEW, 96); /* goes on where the known text ends */
    units[77]++;
    expect_prefix(kv, units, 100, 64, KV_MISS_DIVERGED, 77);
    units[77]--;
    units[80]++; /* with the first unit of a page */
    expect_prefix(kv, units, 100, 80, KV_MISS_DIVERGED, 80);
    units[80]--;
    units[0]++;
    expect_prefix(kv, units, 100, 0, KV_MISS_NEW, 0);
    units[0]--;
    kv_seqs_forget(kv);
    expect_prefix(kv, units, 100, 0, KV_MISS_EVICTED, 0);
    kv_seqs_destroy(&kv);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_beginning_is_opened_on_its_pages),
        cmocka_unit_test(what_is_only_cached_makes_room),
        cmocka_unit_test(opening_reserves_and_closing_returns),
        cmocka_unit_test(opening_is_refused_without_pages_or_slots),
        cmocka_unit_test(sliding_groups_give_back_what_no_row_sees),
        cmocka_unit_test(chunks_at_any_offset_find_room),
        cmocka_unit_test(a_cut_forgets_positions_and_their_pages),
        cmocka_unit_test(sequences_never_share_a_page),
        cmocka_unit_test(senseless_configurations_are_refused),
        cmocka_unit_test(a_promise_can_grow_or_is_refused_whole),
        cmocka_unit_test(a_miss_is_explained),
        cmocka_unit_test(equal_pages_become_one),
        cmocka_unit_test(pages_from_elsewhere_are_opened_on),
        cmocka_unit_test(creation_survives_every_failing_allocation),
        cmocka_unit_test(a_random_walk_keeps_the_books),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
