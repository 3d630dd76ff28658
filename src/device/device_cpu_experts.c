/* device_cpu_experts.c - the rows of a batch through the experts that their router chose.
 *
 *   route      logits -> n_used experts and weights of each row
 *   sort       pairs (row, rank) by expert: each has a slot (layout/experts.h)
 *   gate, up   tile of slots x panels of its expert, activation applied while they are in cache
 *   quantise   what came out, slot by slot
 *   down       tile x panels again
 *   combine    y = sum over ranks, in rank order, of weight x the slot's output
 *
 * An expert's rows lie together, so that its weights are read once for all of them, and only the
 * experts that somebody chose are read at all. A slot's products are one row's, whatever else is in
 * the tile, and the sum follows the row's own ranks: a row's bits do not depend on the batch.
 *
 * Where tiles are enough to even out, a task takes one from x to the outputs of down, and all that
 * is between stays in a core's cache: rows are quantised once, and each task gathers those of its
 * tile. Where they are few, threads share the panels of each: a row is quantised into all its
 * slots, and gate and up, quantising and down are loops of their own.
 *
 * The workspace holds the table and two regions: quantised inputs, and floats. Shared tiles use
 * both in turn (first x, then the activations; first the activations, then the outputs of down).
 * Otherwise the first has the quantised rows and each thread's lane, the second the outputs.
 */
#include "base/check.h"
#include "device/device_cpu_impl.h"
#include "device/route.h"

#define TASKS_PER_THREAD 8u
#define FUSED_PANELS 4u /* of gate and up before the activation is applied */
#define FUSED_COLS (FUSED_PANELS * PACK_PANEL_ROWS)

typedef struct experts_job {
    const device_cpu *d;
    const op_experts *op;
    expert_table table;
    char *acts; /* [slots] records of acts_bytes: x, then what came out of the activation */
    size_t x_bytes, h_bytes;
    size_t place_bytes; /* the largest panel */
    float *values;      /* [slots] rows of values_stride: the activations, then the outputs */
    size_t values_stride;
    uint32_t groups;      /* tasks that share the panels of a tile */
    uint32_t lane_rows;   /* the largest tile's */
    size_t lane_h_stride; /* floats */
} experts_job;

/* What a thread has for the tile in its hands: x, the activations, and those quantised. */
typedef struct lane {
    char *x;
    float *h;
    char *acts;
} lane;

static float *values_row(const experts_job *job, uint32_t slot) {
    return job->values + slot * job->values_stride;
}

static void route_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const experts_job *job = arg;
    const op_experts *op = job->op;
    for (uint32_t r = from; r < to; r++) {
        const size_t at = (size_t)r * job->table.n_used;
        route_row(&d->kernels, &op->routing, device_cpu_row(&op->logits, r), op->bias.data,
                  job->table.id + at, job->table.weight + at);
    }
}

/* Where the record of an expert's slot lies. */
static device_place place_of(const experts_job *job, const device_weight *w, size_t record_bytes,
                             uint32_t expert, uint32_t slot) {
    const uint32_t first = expert == 0 ? 0 : job->table.next[expert - 1];
    return device_cpu_place(job->d, w, job->acts + first * record_bytes, slot - first,
                            job->table.next[expert] - first);
}

static void scatter_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const experts_job *job = arg;
    for (uint32_t r = from; r < to; r++) {
        const uint32_t *slot = job->table.slot + (size_t)r * job->table.n_used;
        const uint32_t *expert = job->table.id + (size_t)r * job->table.n_used;
        device_place places[EXPERTS_USED_MAX];
        for (uint32_t i = 0; i < job->table.n_used; i++) {
            places[i] = place_of(job, &job->op->gate.w, job->x_bytes, expert[i], slot[i]);
        }
        device_cpu_quantise(d, &job->op->gate.w, places, job->table.n_used,
                            device_cpu_row(&job->op->x, r));
    }
}

static void quantise_slots(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const experts_job *job = arg;
    const expert_tile *t = job->table.tiles;
    for (uint32_t s = from; s < to; s++) {
        while (s >= t->slot_first + t->n_slots) {
            t++;
        }
        const device_place place = place_of(job, &job->op->down.w, job->h_bytes, t->expert, s);
        device_cpu_quantise(d, &job->op->down.w, &place, 1, values_row(job, s));
    }
}

static void combine_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const experts_job *job = arg;
    const uint32_t n_used = job->table.n_used, n = job->op->y.cols;
    for (uint32_t r = from; r < to; r++) {
        const uint32_t *slot = job->table.slot + (size_t)r * n_used;
        const float *weight = job->table.weight + (size_t)r * n_used;
        float *y = device_cpu_row(&job->op->y, r);
        d->kernels.scale(y, values_row(job, slot[0]), weight[0], n);
        for (uint32_t i = 1; i < n_used; i++) {
            d->kernels.mul_add(y, values_row(job, slot[i]), weight[i], n);
        }
    }
}

/* What of a tile one thread multiplies: panels from .. to - 1 of its expert. */
typedef struct tile_share {
    const expert_tile *tile;
    uint32_t from, to, thread;
} tile_share;

static tile_share share_of(const experts_job *job, uint32_t task, uint32_t thread,
                           uint32_t n_outputs) {
    const uint64_t n_panels = pack_panel_count(n_outputs);
    const uint32_t group = task % job->groups;
    return (tile_share){.tile = &job->table.tiles[task / job->groups],
                        .from = (uint32_t)(n_panels * group / job->groups),
                        .to = (uint32_t)(n_panels * (group + 1) / job->groups),
                        .thread = thread};
}

/* y[slot][0..] <- the share's panels of its expert in the stack */
static void multiply_share(const experts_job *job, const tile_share *s, const device_stack *stack,
                           const char *x, size_t x_bytes, float *y, size_t y_stride) {
    const device_weight w = device_stack_at(stack, s->tile->expert);
    const uint32_t step = device_cpu_panels(job->d, &w);
    for (uint32_t p = s->from; p < s->to; p += step) {
        const uint32_t n = s->to - p < step ? s->to - p : step;
        const device_weight some =
            device_cpu_panels_of(job->d, &w, p, n, job->place_bytes, s->thread);
        device_cpu_multiply(job->d, &some, x, x_bytes, s->tile->n_slots,
                            y + (p - s->from) * PACK_PANEL_ROWS, y_stride);
    }
}

/* h [slots][..] <- the share of gate and up, and the activation */
static void gate_up(const experts_job *job, const tile_share *s, const char *x, float *h,
                    size_t h_stride) {
    const op_experts *op = job->op;
    const uint32_t n_ff = op->gate.w.rows;
    float other[ACT_CHUNK_ROWS * FUSED_COLS];
    for (uint32_t p = s->from; p < s->to; p += FUSED_PANELS) {
        const uint32_t col = p * PACK_PANEL_ROWS;
        const uint32_t stop = s->to - p < FUSED_PANELS ? s->to : p + FUSED_PANELS;
        const tile_share some = {s->tile, p, stop, s->thread};
        multiply_share(job, &some, &op->gate, x, job->x_bytes, h + col, h_stride);
        multiply_share(job, &some, &op->up, x, job->x_bytes, other, FUSED_COLS);
        const uint32_t end = stop * PACK_PANEL_ROWS < n_ff ? stop * PACK_PANEL_ROWS : n_ff;
        for (uint32_t i = 0; i < s->tile->n_slots; i++) {
            float *row = h + i * h_stride + col;
            job->d->kernels.act_mul[op->kind](row, row, other + (size_t)i * FUSED_COLS, end - col);
        }
    }
}

static void gate_up_task(void *arg, uint32_t task, uint32_t thread) {
    const experts_job *job = arg;
    const tile_share s = share_of(job, task, thread, job->op->gate.w.rows);
    const uint32_t slot = s.tile->slot_first;
    gate_up(job, &s, job->acts + slot * job->x_bytes, values_row(job, slot), job->values_stride);
}

/* The share of down, from quantised activations to the slots' values. */
static void down(const experts_job *job, const tile_share *s, const char *acts) {
    float *values = values_row(job, s->tile->slot_first) + s->from * PACK_PANEL_ROWS;
    multiply_share(job, s, &job->op->down, acts, job->h_bytes, values, job->values_stride);
}

static void down_task(void *arg, uint32_t task, uint32_t thread) {
    const experts_job *job = arg;
    const tile_share s = share_of(job, task, thread, job->op->down.w.rows);
    down(job, &s, job->acts + s.tile->slot_first * job->h_bytes);
}

/* Tasks of a tile that are enough to even out, each of at least one panel. */
static void run_tiles(device_cpu *d, pool_task_fn *fn, experts_job *job, uint32_t n_outputs) {
    const uint32_t n_panels = (uint32_t)pack_panel_count(n_outputs);
    const uint32_t n_tiles = job->table.n_tiles;
    job->groups = (pool_threads(d->pool) * TASKS_PER_THREAD + n_tiles - 1) / n_tiles;
    job->groups = job->groups < n_panels ? job->groups : n_panels;
    pool_run(d->pool, fn, job, n_tiles * job->groups);
}

static void run_shared(device_cpu *d, experts_job *job) {
    const op_experts *op = job->op;
    const uint32_t n_rows = op->x.rows, n_embd = op->x.cols, n_ff = op->gate.w.rows;
    device_cpu_run_rows(d, scatter_rows, job, n_rows, n_embd);
    run_tiles(d, gate_up_task, job, n_ff);
    device_cpu_run_rows(d, quantise_slots, job, n_rows * job->table.n_used, n_ff);
    run_tiles(d, down_task, job, n_embd);
}

/* ---- a tile a task ---- */

static size_t lane_bytes(const experts_job *job) {
    return job->lane_rows * (job->x_bytes + job->h_bytes + job->lane_h_stride * sizeof(float));
}

static lane lane_of(const experts_job *job, uint32_t thread) {
    lane l = {.x = job->acts + job->op->x.rows * job->x_bytes + thread * lane_bytes(job)};
    l.h = (float *)(void *)(l.x + job->lane_rows * job->x_bytes);
    l.acts = (char *)(l.h + job->lane_rows * job->lane_h_stride);
    return l;
}

static void quantise_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const experts_job *job = arg;
    for (uint32_t r = from; r < to; r++) {
        const device_place place = {job->acts + r * job->x_bytes, 1, 0};
        device_cpu_quantise(d, &job->op->gate.w, &place, 1, device_cpu_row(&job->op->x, r));
    }
}

static void tile_task(void *arg, uint32_t task, uint32_t thread) {
    const experts_job *job = arg;
    const device_cpu *d = job->d;
    const op_experts *op = job->op;
    const expert_tile *t = &job->table.tiles[task];
    const lane l = lane_of(job, thread);
    for (uint32_t s = 0; s < t->n_slots; s++) {
        const uint32_t row = job->table.row[t->slot_first + s];
        const device_place to = device_cpu_place(d, &op->gate.w, l.x, s, t->n_slots);
        device_cpu_place_copy(d, &op->gate.w, &to, job->acts + row * job->x_bytes);
    }
    const tile_share ffs = {t, 0, (uint32_t)pack_panel_count(op->gate.w.rows), thread};
    gate_up(job, &ffs, l.x, l.h, job->lane_h_stride);
    for (uint32_t s = 0; s < t->n_slots; s++) {
        const device_place to = device_cpu_place(d, &op->down.w, l.acts, s, t->n_slots);
        device_cpu_quantise(d, &op->down.w, &to, 1, l.h + s * job->lane_h_stride);
    }
    const tile_share outs = {t, 0, (uint32_t)pack_panel_count(op->down.w.rows), thread};
    down(job, &outs, l.acts);
}

/* False, and nothing is done, where tiles are few or lanes do not fit acts_bytes. */
static bool try_tiles(device_cpu *d, experts_job *job, size_t acts_bytes) {
    const uint32_t n_threads = pool_threads(d->pool), n_rows = job->op->x.rows;
    for (uint32_t i = 0; i < job->table.n_tiles; i++) {
        const uint32_t n = job->table.tiles[i].n_slots;
        job->lane_rows = n > job->lane_rows ? n : job->lane_rows;
    }
    if (job->table.n_tiles < n_threads * TASKS_PER_THREAD ||
        n_rows * job->x_bytes + n_threads * lane_bytes(job) > acts_bytes) {
        return false;
    }
    device_cpu_run_rows(d, quantise_rows, job, n_rows, job->op->x.cols);
    pool_run(d->pool, tile_task, job, job->table.n_tiles);
    return true;
}

/* The largest panel, and that each thread has a place for it beyond the experts' own room where
 * weights are mapped. */
static size_t place_bytes_of(const device_cpu *d, const op_experts *op, uint64_t own_bytes) {
    const device_stack *stacks[] = {&op->gate, &op->up, &op->down};
    size_t most = 0;
    bool is_mapped = false;
    for (uint32_t i = 0; i < WEFT_LEN(stacks); i++) {
        const size_t bytes = pack_panel_bytes(stacks[i]->w.dtype, stacks[i]->w.cols);
        most = bytes > most ? bytes : most;
        is_mapped |= stacks[i]->w.is_mapped;
    }
    const uint64_t places = is_mapped ? most * pool_threads(d->pool) : 0;
    WEFT_ASSERT(own_bytes + places <= d->workspace_bytes);
    return most;
}

void device_cpu_experts(device *dev, const op_experts *op) {
    device_cpu *d = device_cpu_of(dev);
    const uint32_t n_rows = op->x.rows, n_embd = op->x.cols, n_ff = op->gate.w.rows;
    if (n_rows == 0) {
        return;
    }
    const expert_routing *r = &op->routing;
    WEFT_ASSERT(r->n_experts <= EXPERTS_MAX && r->n_used <= EXPERTS_USED_MAX);
    const expert_room room = expert_room_of(r, n_rows, n_embd, n_ff);
    experts_job job = {
        .d = d,
        .op = op,
        .acts = d->workspace + room.table_bytes,
        .x_bytes = device_cpu_record_bytes(d, &op->gate.w),
        .h_bytes = device_cpu_record_bytes(d, &op->down.w),
        .place_bytes = place_bytes_of(d, op, expert_workspace_bytes(r, n_rows, n_embd, n_ff)),
        .values = (float *)(void *)(d->workspace + room.table_bytes + room.acts_bytes),
        .values_stride = room.values_bytes / sizeof(float) / n_rows / r->n_used,
        .lane_h_stride =
            (pack_panel_count(n_ff) | 1u) * PACK_PANEL_ROWS, /* an odd number of lines */
    };
    expert_table_init(&job.table, r, n_rows, d->workspace);
    device_cpu_run_rows(d, route_rows, &job, n_rows, 8 * r->n_experts);
    expert_table_sort(&job.table);
    if (!try_tiles(d, &job, room.acts_bytes)) {
        run_shared(d, &job);
    }
    device_cpu_run_rows(d, combine_rows, &job, n_rows, n_embd * r->n_used);
}
