/* sim_disk.c - files are an array, the least used goes first; a call may be the last one.
 */
#include "sim_disk.h"

#include <string.h>

#include "base/check.h"

#define FILES_MAX 512u
#define BUFFERS_MAX 3u
#define CELLS (KV_GROUPS_MAX * PAGE_TOKENS)
#define BAD_ONE_IN 400u /* reads that find a file gone bad */

typedef enum file_state { EMPTY, QUEUED, WRITTEN, BAD } file_state;

typedef struct file {
    file_state state;
    page_name name;
    uint64_t units[PAGE_TOKENS];
    uint64_t payload[CELLS];
    uint64_t used, order;
} file;

struct executor {
    kv_seqs *kv;
    plan plan;
};

struct page_store {
    uint64_t fingerprint;
};

jmp_buf sim_disk_survive;

static struct {
    file files[FILES_MAX];
    uint32_t n_files;
    uint64_t clock, random;
    uint64_t (*cells)[SIM_PAGES_MAX][PAGE_TOKENS];
    sim_disk_hash *follows;
    uint64_t buffer[CELLS];
    bool is_filling;
    uint32_t crash_in;
    struct executor exec;
    struct page_store store;
    sim_disk_tally tally;
} disk;

static uint32_t random_below(uint32_t n) {
    disk.random = disk.random * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((disk.random >> 33) % n);
}

/* ---- crashes ---- */

/* What the writer had not finished is lost; of one file the name is there and the bytes are not. */
static void lose_queued(void) {
    for (uint32_t i = 0; i < disk.n_files; i++) {
        if (disk.files[i].state == QUEUED) {
            disk.tally.n_lost++;
            disk.files[i].state = random_below(4) == 0 ? BAD : EMPTY;
        }
    }
    disk.is_filling = false;
}

static void may_crash(void) {
    if (disk.crash_in > 0 && --disk.crash_in == 0) {
        disk.tally.n_crashes++;
        lose_queued();
        longjmp(sim_disk_survive, 1);
    }
}

void sim_disk_crash_in(uint32_t n_calls) { disk.crash_in = n_calls; }

/* ---- the simulation's side ---- */

void sim_disk_format(uint32_t n_files, uint64_t (*cells)[SIM_PAGES_MAX][PAGE_TOKENS],
                     sim_disk_hash *follows, uint64_t seed) {
    const sim_disk_tally tally = disk.tally;
    WEFT_ASSERT(n_files >= 1);
    WEFT_ASSERT(n_files <= FILES_MAX);
    memset(&disk, 0, sizeof disk);
    disk.n_files = n_files;
    disk.cells = cells;
    disk.follows = follows;
    disk.random = seed;
    disk.tally = tally;
}

keep sim_disk_start(kv_seqs *kv, uint32_t n_groups, uint32_t batch_rows) {
    weft_error err;
    keep k;
    const keep_config config = {.dir = "disk", .bytes_max = 1};
    disk.exec =
        (struct executor){.kv = kv, .plan = {.n_groups = n_groups, .batch_rows = batch_rows}};
    const weft_status status = keep_init(&k, &disk.exec, &config, &err);
    WEFT_ASSERT(status == WEFT_OK);
    return k;
}

void sim_disk_stop(keep *k) { keep_deinit(k); }

static file *oldest_in(file_state state, bool by_use) {
    file *oldest = NULL;
    for (uint32_t i = 0; i < disk.n_files; i++) {
        file *f = &disk.files[i];
        if (f->state == state &&
            (oldest == NULL || (by_use ? f->used < oldest->used : f->order < oldest->order))) {
            oldest = f;
        }
    }
    return oldest;
}

void sim_disk_work(uint32_t n) {
    file *next = oldest_in(QUEUED, false);
    for (; n > 0 && next != NULL; n--, next = oldest_in(QUEUED, false)) {
        next->state = WRITTEN;
    }
}

/* The same in every group, and one cell follows from the other. */
static void check_payload(const uint64_t *payload, const uint64_t *units) {
    for (uint32_t g = 0; g < disk.exec.plan.n_groups; g++) {
        const uint64_t *own = payload + (size_t)g * PAGE_TOKENS;
        WEFT_ASSERT(memcmp(own, payload, PAGE_TOKENS * sizeof *own) == 0);
        for (uint32_t i = 1; i < PAGE_TOKENS; i++) {
            WEFT_ASSERT(own[i] == disk.follows(own[i - 1], units[i]));
        }
    }
}

void sim_disk_check(void) {
    uint32_t n_queued = 0;
    WEFT_ASSERT(!disk.is_filling); /* between steps no buffer is half full */
    for (uint32_t i = 0; i < disk.n_files; i++) {
        const file *f = &disk.files[i];
        n_queued += f->state == QUEUED;
        if (f->state == EMPTY) {
            continue;
        }
        if (f->state != BAD) {
            check_payload(f->payload, f->units);
        }
        for (uint32_t j = 0; j < i; j++) {
            WEFT_ASSERT(disk.files[j].state == EMPTY || disk.files[j].name.w[0] != f->name.w[0] ||
                        disk.files[j].name.w[1] != f->name.w[1]);
        }
    }
    WEFT_ASSERT(n_queued <= BUFFERS_MAX);
}

sim_disk_tally sim_disk_tally_now(void) { return disk.tally; }

/* ---- the page store, as keep.c sees it ---- */

weft_status page_store_open(page_store **out, const page_store_config *config, weft_error *err) {
    (void)config;
    (void)err;
    *out = &disk.store;
    return WEFT_OK;
}

void page_store_close(page_store **store) { *store = NULL; }

page_name page_store_root(const page_store *store) {
    (void)store;
    return (page_name){{1, 1}};
}

page_name page_store_child(const page_store *store, page_name parent, const uint64_t *units) {
    uint64_t text[2 + PAGE_TOKENS];
    (void)store;
    memcpy(text, parent.w, sizeof parent.w);
    memcpy(text + 2, units, PAGE_TOKENS * sizeof *units);
    return siphash((siphash_key){{5, 7}}, text, sizeof text);
}

static file *find(page_name name) {
    for (uint32_t i = 0; i < disk.n_files; i++) {
        file *f = &disk.files[i];
        if (f->state != EMPTY && f->name.w[0] == name.w[0] && f->name.w[1] == name.w[1]) {
            return f;
        }
    }
    return NULL;
}

bool page_store_has(page_store *store, page_name name) {
    (void)store;
    may_crash();
    file *f = find(name);
    if (f != NULL) {
        f->used = ++disk.clock;
    }
    return f != NULL;
}

void *page_store_try_begin(page_store *store) {
    uint32_t n_queued = 0;
    (void)store;
    may_crash();
    WEFT_ASSERT(!disk.is_filling);
    for (uint32_t i = 0; i < disk.n_files; i++) {
        n_queued += disk.files[i].state == QUEUED;
    }
    disk.is_filling = n_queued < BUFFERS_MAX;
    return disk.is_filling ? disk.buffer : NULL;
}

void page_store_commit(page_store *store, page_name name, const uint64_t *units) {
    (void)store;
    may_crash();
    WEFT_ASSERT(disk.is_filling);
    WEFT_ASSERT(find(name) == NULL);
    disk.is_filling = false;
    check_payload(disk.buffer, units);
    file *f = oldest_in(EMPTY, true);
    if (f == NULL) {
        f = oldest_in(WRITTEN, true);
        f = f != NULL ? f : oldest_in(BAD, true);
        disk.tally.n_evicted++;
    }
    if (f == NULL) {
        return; /* all of the disk is being written: the page is not kept */
    }
    *f = (file){.state = QUEUED, .name = name, .used = ++disk.clock, .order = disk.clock};
    memcpy(f->units, units, sizeof f->units);
    memcpy(f->payload, disk.buffer, sizeof f->payload);
    disk.tally.n_saved++;
}

bool page_store_try_read(page_store *store, page_name name, const uint64_t *units, void *out) {
    file *f = find(name);
    (void)store;
    may_crash();
    if (f == NULL) {
        return false;
    }
    WEFT_ASSERT(f->state == BAD || memcmp(f->units, units, sizeof f->units) == 0);
    if (f->state == BAD || (f->state == WRITTEN && random_below(BAD_ONE_IN) == 0)) {
        f->state = EMPTY;
        disk.tally.n_bad++;
        return false;
    }
    memcpy(out, f->payload, sizeof f->payload);
    return true;
}

/* ---- the executor, as keep.c sees it ---- */

uint64_t executor_page_bytes(const executor *e) {
    (void)e;
    return CELLS * sizeof(uint64_t);
}

const plan *executor_plan(const executor *e) { return &e->plan; }

kv_seqs *executor_kv(executor *e) { return e->kv; }

void executor_page_get(const executor *e, const kv_page *pages, void *out) {
    uint64_t *to = out;
    may_crash();
    for (uint32_t g = 0; g < e->plan.n_groups; g++) {
        memcpy(to + (size_t)g * PAGE_TOKENS, disk.cells[g][pages[g]], PAGE_TOKENS * sizeof *to);
    }
}

void executor_page_put(executor *e, const kv_page *pages, const void *in) {
    const uint64_t *from = in;
    may_crash();
    disk.tally.n_recalled++;
    for (uint32_t g = 0; g < e->plan.n_groups; g++) {
        if (pages[g] != KV_PAGE_NONE) {
            memcpy(disk.cells[g][pages[g]], from + (size_t)g * PAGE_TOKENS,
                   PAGE_TOKENS * sizeof *from);
        }
    }
}
