/* keep.c - a walk along a text, page by page, with the page's name in the store.
 *
 * One walk serves both directions: what was recalled, or was in the tree already, is passed; from
 * there on pages are saved as they are run. A page is saved only after the one before it, so that
 * the store never has one that cannot be reached. When a page slid out of its window before a
 * buffer was free, the walk stops: the rest of that text is not kept.
 */
#include "engine/keep.h"

#include <string.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/mem.h"

#define BUFFERS_MORE 8u /* than one step's pages: the writer may be late */

uint64_t keep_fingerprint(const keep_origin *o) {
    const plan *p = o->plan;
    const uint64_t figures[] = {o->numerics, o->act_type, p->kv_type, p->n_groups};
    uint64_t sum = checksum(o->version, strlen(o->version), o->model);
    sum = checksum(o->cpu, strlen(o->cpu), sum);
    sum = checksum(figures, sizeof figures, sum);
    for (uint32_t g = 0; g < p->n_groups; g++) {
        const plan_group *group = &p->groups[g];
        const uint64_t shape[] = {group->window, group->layer_page_bytes, group->n_layers};
        sum = checksum(shape, sizeof shape, sum);
    }
    return sum;
}

weft_status keep_init(keep *k, executor *exec, const keep_config *config, weft_error *err) {
    *k = (keep){.exec = exec};
    if (config->dir == NULL) {
        return WEFT_OK;
    }
    const uint64_t page_bytes = executor_page_bytes(exec);
    if (page_bytes == 0 || page_bytes > UINT32_MAX) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "%s: pages of %llu bytes cannot be kept on disk by this device",
                         config->dir, (unsigned long long)page_bytes);
    }
    const page_store_config store = {.dir = config->dir,
                                     .bytes_max = config->bytes_max,
                                     .fingerprint = config->fingerprint,
                                     .payload_bytes = (uint32_t)page_bytes,
                                     .n_buffers = BUFFERS_MORE +
                                                  page_count(executor_plan(exec)->batch_rows)};
    k->page = mem_alloc(MEM_ENGINE, page_bytes);
    if (k->page == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for a page", config->dir);
    }
    return page_store_open(&k->store, &store, err);
}

void keep_deinit(keep *k) {
    page_store_close(&k->store);
    mem_free(k->page);
    *k = (keep){0};
}

static void begin(const keep *k, keep_walk *walk) {
    if (!walk->is_begun) {
        walk->is_begun = true;
        walk->name = page_store_root(k->store);
    }
}

static page_name next_name(const keep *k, const keep_walk *walk, const kv_unit *units) {
    return page_store_child(k->store, walk->name, units + (size_t)walk->n_pages * PAGE_TOKENS);
}

static void step_on(keep_walk *walk, page_name name) {
    walk->name = name;
    walk->n_pages++;
}

/* Pages from the beginning that are in the store. */
static uint32_t pages_known(keep *k, const kv_unit *units, uint32_t n_max) {
    keep_walk ahead = {0};
    begin(k, &ahead);
    while (ahead.n_pages < n_max) {
        const page_name name = next_name(k, &ahead, units);
        if (!page_store_has(k->store, name)) {
            break;
        }
        step_on(&ahead, name);
    }
    return ahead.n_pages;
}

/* Makes sure of the walk's next page in the tree. */
static bool try_bring(keep *k, const keep_walk *walk, page_name name, const kv_unit *units) {
    kv_page pages[KV_GROUPS_MAX];
    const kv_unit *own = units + (size_t)walk->n_pages * PAGE_TOKENS;
    if (!page_store_try_read(k->store, name, own, k->page) ||
        !kv_seqs_try_graft(executor_kv(k->exec), units, walk->n_pages, walk->n_recall, pages)) {
        return false;
    }
    executor_page_put(k->exec, pages, k->page);
    return true;
}

bool keep_recall(keep *k, keep_walk *walk, const kv_unit *units, uint32_t n_prompt,
                 uint32_t *n_pages) {
    if (k->store == NULL) {
        return true;
    }
    if (!walk->is_begun) {
        begin(k, walk);
        walk->n_recall = pages_known(k, units, (n_prompt - 1) / PAGE_TOKENS);
        if (walk->n_recall * PAGE_TOKENS <=
            kv_seqs_explain(executor_kv(k->exec), units, n_prompt).n_tokens) {
            walk->n_recall = 0; /* the tree knows as much */
        }
    }
    while (walk->n_pages < walk->n_recall) {
        const page_name name = next_name(k, walk, units);
        if (!kv_seqs_has_page(executor_kv(k->exec), units, walk->n_pages, walk->n_recall)) {
            if (*n_pages == 0) {
                return false;
            }
            (*n_pages)--;
            if (!try_bring(k, walk, name, units)) {
                return true;
            }
        }
        step_on(walk, name);
    }
    return true;
}

static bool has_all_groups(const keep *k, kv_seq seq, uint32_t i, kv_page *pages) {
    bool is_whole = true;
    for (uint32_t g = 0; g < executor_plan(k->exec)->n_groups; g++) {
        pages[g] = kv_seq_pages(executor_kv(k->exec), seq, g)[i];
        is_whole &= pages[g] != KV_PAGE_NONE;
    }
    return is_whole;
}

void keep_save(keep *k, keep_walk *walk, kv_seq seq, const kv_unit *units, uint32_t n_tokens) {
    if (k->store == NULL) {
        return;
    }
    begin(k, walk);
    while (!walk->is_stopped && (walk->n_pages + 1) * PAGE_TOKENS <= n_tokens) {
        kv_page pages[KV_GROUPS_MAX];
        const page_name name = next_name(k, walk, units);
        if (!page_store_has(k->store, name)) {
            if (!has_all_groups(k, seq, walk->n_pages, pages)) {
                walk->is_stopped = true;
                return;
            }
            void *buffer = page_store_try_begin(k->store);
            if (buffer == NULL) {
                return; /* later */
            }
            executor_page_get(k->exec, pages, buffer);
            page_store_commit(k->store, name, units + (size_t)walk->n_pages * PAGE_TOKENS);
        }
        step_on(walk, name);
    }
}
