/* device_cpu.c - operations as parallel loops over kernels.
 *
 * Each operation is cut into tasks whose borders never change a row's arithmetic: products by
 * panels of 16 outputs and chunks of rows, attention by sequence, KV head and tile of query rows,
 * everything else by rows. A small operation runs on the calling thread: waking the pool costs more
 * than the work.
 *
 * A product first quantises its input rows into the workspace, once per activation form that its
 * weights ask for; weights that read the same input share that (queries, keys and values; gate and
 * up). Where 8 bits are too few for what a weight multiplies, they are two halves: a row, and what
 * its codes lost. Loops go chunk of rows, then panel: a chunk of quantised rows stays in the
 * second-level cache while panels stream past it.
 *
 * A mapped weight is packed panel by panel as products come to it, by the thread that multiplies
 * it, into a place that stays in the second-level cache: the same kernels, the same bits.
 *
 * device_cpu_attention.c holds the cache operations, device_cpu_experts.c the experts.
 */
#include "device/device_cpu.h"

#include "base/check.h"
#include "base/cpu.h"
#include "base/mem.h"
#include "base/os.h"
#include "device/device_cpu_impl.h"
#include "tensor/quant.h"

#define ROWS_CHUNK ACT_CHUNK_ROWS /* at most so many rows share a pass over the weights, */
#define ROWS_CHUNK_MIN 32u        /* at least so many, and between these what stays in a */
#define L2_BYTES_DEFAULT 524288u  /* second-level cache, of this size where it is not known */
#define TASKS_PER_THREAD 4u       /* enough to even out noise, few enough to be cheap */
#define INLINE_ELEMENTS_MAX 8192u /* less work than this stays on the calling thread */

static void destroy(device *dev);
static weft_status alloc_region(device *dev, void **out, size_t bytes, weft_error *err);
static void free_region(device *dev, void *p, size_t bytes);
static weft_status reserve(device *dev, size_t bytes, weft_error *err);
static void pack(device *dev, void *dst, tensor src);
static void unpack(device *dev, void *dst, device_weight w);
static void write_rows(device *dev, tensor dst, const void *src);
static void *read_rows(device *dev, tensor src, void *staging);
static weft_status sync(device *dev, weft_error *err);
static void poison(device *dev, void *p, size_t bytes);
static void embed(device *dev, const op_embed *op);
static void linear(device *dev, const op_linear *op);
static void rmsnorm(device *dev, const op_rmsnorm *op);
static void add_rmsnorm(device *dev, const op_add_rmsnorm *op);
static void add(device *dev, const op_add *op);
static void scale(device *dev, const op_scale *op);
static void softcap(device *dev, const op_softcap *op);
static void act_mul(device *dev, const op_act_mul *op);
static void rope_table(device *dev, const op_rope_table *op);
static void rope(device *dev, const op_rope *op);
static void gather(device *dev, const op_gather *op);
static void host(device *dev, const op_host *op);

static const device_ops cpu_ops = {
    .destroy = destroy,
    .alloc = alloc_region,
    .free = free_region,
    .reserve = reserve,
    .pack = pack,
    .unpack = unpack,
    .write = write_rows,
    .read = read_rows,
    .sync = sync,
    .poison = poison,
    .embed = embed,
    .linear = linear,
    .rmsnorm = rmsnorm,
    .add_rmsnorm = add_rmsnorm,
    .add = add,
    .scale = scale,
    .softcap = softcap,
    .act_mul = act_mul,
    .experts = device_cpu_experts,
    .rope_table = rope_table,
    .rope = rope,
    .kv_store = device_cpu_kv_store,
    .attention = device_cpu_attention,
    .gather = gather,
    .host = host,
};

/* Of 2 MB: 128 rows of 2,048 floats in pieces, and a line after each. */
static size_t chunk_bytes_of(uint64_t l2_bytes) {
    return (l2_bytes == 0 ? L2_BYTES_DEFAULT : l2_bytes) / 32 * 25;
}

weft_status device_cpu_create(device **out, pool *p, uint32_t cpu_flags, weft_error *err) {
    device_cpu *d = mem_zalloc(MEM_DEVICE, 1, sizeof *d);
    if (d == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the cpu device");
    }
    d->base = (device){.ops = &cpu_ops, .name = "cpu", .is_host_memory = true};
    d->pool = p;
    d->cpu_flags = cpu_flags;
    d->chunk_bytes = chunk_bytes_of(os_cache_bytes(2));
    kernels_cpu_init(&d->kernels, cpu_flags);
    *out = &d->base;
    return WEFT_OK;
}

weft_status device_cpu_set_acts(device *dev, weft_dtype act_type, weft_error *err) {
    device_cpu *d = device_cpu_of(dev);
    if (act_type == WEFT_DTYPE_F32) {
        return WEFT_OK;
    }
    if (act_type != WEFT_DTYPE_BF16) {
        return weft_fail(err, WEFT_INVALID, "activations are %s, wanted F32 or BF16",
                         act_type < WEFT_DTYPE_COUNT ? weft_dtype_info_of(act_type)->name : "?");
    }
    if (!kernels_cpu_use_bf16(&d->kernels)) {
        char flags[128];
        cpu_flags_format(d->cpu_flags, flags, sizeof flags);
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "activations of bf16 need avx512bf16 or amxbf16, this processor has: %s",
                         flags[0] != '\0' ? flags : "neither");
    }
    return WEFT_OK;
}

static void destroy(device *dev) {
    device_cpu *d = device_cpu_of(dev);
    os_region_free(d->workspace, d->workspace_bytes);
    mem_free(d);
}

/* ---- memory ---- */

static weft_status alloc_region(device *dev, void **out, size_t bytes, weft_error *err) {
    (void)dev;
    return os_region_alloc(out, bytes, err);
}

static void free_region(device *dev, void *p, size_t bytes) {
    (void)dev;
    os_region_free(p, bytes);
}

static weft_status reserve(device *dev, size_t bytes, weft_error *err) {
    device_cpu *d = device_cpu_of(dev);
    if (bytes <= d->workspace_bytes) {
        return WEFT_OK;
    }
    void *grown = NULL;
    const weft_status status = os_region_alloc(&grown, bytes, err);
    if (status == WEFT_OK) {
        os_region_free(d->workspace, d->workspace_bytes);
        d->workspace = grown;
        d->workspace_bytes = bytes;
    }
    return status;
}

typedef struct pack_job {
    const device_cpu *d;
    char *packed;
    size_t panel_bytes;
    tensor rows; /* file layout */
} pack_job;

static uint32_t panel_rows(uint32_t rows, uint32_t panel) {
    const uint32_t left = rows - panel * PACK_PANEL_ROWS;
    return left < PACK_PANEL_ROWS ? left : PACK_PANEL_ROWS;
}

static void pack_task(void *arg, uint32_t panel, uint32_t thread) {
    const pack_job *job = arg;
    (void)thread;
    const tensor *t = &job->rows;
    const char *rows = (const char *)t->data + (size_t)panel * PACK_PANEL_ROWS * t->stride_bytes;
    job->d->kernels.pack_panel[t->dtype](job->packed + panel * job->panel_bytes, rows,
                                         t->stride_bytes, panel_rows(t->rows, panel), t->cols);
}

static void pack(device *dev, void *dst, tensor src) {
    device_cpu *d = device_cpu_of(dev);
    pack_job job = {d, dst, pack_panel_bytes(src.dtype, src.cols), src};
    pool_run(d->pool, pack_task, &job, (uint32_t)pack_panel_count(src.rows));
}

device_weight device_cpu_panels_of(const device_cpu *d, const device_weight *w, uint32_t p,
                                   uint32_t n, size_t place_bytes, uint32_t thread) {
    const size_t panel_bytes = pack_panel_bytes(w->dtype, w->cols);
    device_weight one = *w;
    one.rows = (n - 1) * PACK_PANEL_ROWS + panel_rows(w->rows, p + n - 1);
    one.is_mapped = false;
    if (!w->is_mapped) {
        one.data = (char *)w->data + p * panel_bytes;
        return one;
    }
    WEFT_ASSERT(n == 1);
    const size_t row_bytes = dtype_row_bytes(w->dtype, w->cols);
    const size_t end = d->workspace_bytes / PACK_ALIGN_BYTES * PACK_ALIGN_BYTES;
    WEFT_ASSERT(panel_bytes <= place_bytes);
    WEFT_ASSERT((thread + 1) * place_bytes <= end);
    one.data = d->workspace + end - (thread + 1) * place_bytes;
    d->kernels.pack_panel[w->dtype](one.data,
                                    (const char *)w->data + (size_t)p * PACK_PANEL_ROWS * row_bytes,
                                    row_bytes, one.rows, w->cols);
    return one;
}

static void unpack_task(void *arg, uint32_t panel, uint32_t thread) {
    const pack_job *job = arg;
    (void)thread;
    const tensor *t = &job->rows;
    char *rows = (char *)t->data + (size_t)panel * PACK_PANEL_ROWS * t->stride_bytes;
    job->d->kernels.unpack_panel[t->dtype](rows, t->stride_bytes,
                                           job->packed + panel * job->panel_bytes,
                                           panel_rows(t->rows, panel), t->cols);
}

static void unpack(device *dev, void *dst, device_weight w) {
    device_cpu *d = device_cpu_of(dev);
    pack_job job = {d, w.data, pack_panel_bytes(w.dtype, w.cols),
                    tensor_of(dst, w.dtype, w.rows, w.cols)};
    pool_run(d->pool, unpack_task, &job, (uint32_t)pack_panel_count(w.rows));
}

static void write_rows(device *dev, tensor dst, const void *src) {
    (void)dev;
    const size_t bytes = dtype_row_bytes(dst.dtype, dst.cols);
    for (uint32_t r = 0; r < dst.rows; r++) {
        memcpy((char *)dst.data + r * dst.stride_bytes, (const char *)src + r * bytes, bytes);
    }
}

static void *read_rows(device *dev, tensor src, void *staging) {
    (void)dev;
    (void)staging;
    return src.data;
}

static weft_status sync(device *dev, weft_error *err) {
    (void)dev;
    (void)err;
    return WEFT_OK;
}

static void poison(device *dev, void *p, size_t bytes) {
    (void)dev;
    (void)p;
    (void)bytes;
}

/* ---- loops over rows ---- */

typedef struct rows_job {
    const device_cpu *d;
    const void *op;
    device_cpu_rows_fn *fn;
    uint32_t n_rows, rows_per_task;
} rows_job;

static void rows_task(void *arg, uint32_t task, uint32_t thread) {
    const rows_job *job = arg;
    (void)thread;
    const uint32_t from = task * job->rows_per_task;
    const uint32_t to = from + job->rows_per_task;
    job->fn(job->d, job->op, from, to < job->n_rows ? to : job->n_rows);
}

void device_cpu_run_rows(device_cpu *d, device_cpu_rows_fn *fn, const void *op, uint32_t n_rows,
                         uint32_t n_cols) {
    const uint32_t n_threads = pool_threads(d->pool);
    if (n_threads == 1 || n_rows < 2 || (uint64_t)n_rows * n_cols <= INLINE_ELEMENTS_MAX) {
        fn(d, op, 0, n_rows);
        return;
    }
    const uint32_t n_tasks_wanted = n_threads * TASKS_PER_THREAD;
    rows_job job = {d, op, fn, n_rows, (n_rows + n_tasks_wanted - 1) / n_tasks_wanted};
    pool_run(d->pool, rows_task, &job, (n_rows + job.rows_per_task - 1) / job.rows_per_task);
}

/* ---- products ---- */

typedef struct act_job {
    const tensor *x;
    const device_weight *w;
    act_form form;
    bool is_precise;
    char *out;
    size_t row_bytes;
} act_job;

/* Where a weight's input stands: by form, and after those the forms of precise 8-bit inputs. */
enum { INPUT_PRECISE = ACT_FORM_COUNT, INPUT_COUNT = 2 * ACT_FORM_COUNT };

static uint32_t input_of(const device_cpu *d, const device_weight *w) {
    const act_form form = d->kernels.act_form[w->dtype];
    const bool has_near_scale = form == ACT_Q8 || form == ACT_STEPS;
    const bool is_precise = form == ACT_Q8_256 ? w->input != DEVICE_INPUT_EVEN
                                               : has_near_scale && w->input == DEVICE_INPUT_KEPT;
    return is_precise ? INPUT_PRECISE + form : form;
}

static act_job job_of(const device_cpu *d, const device_weight *w) {
    const uint32_t input = input_of(d, w);
    const bool is_precise = input >= INPUT_PRECISE;
    const act_form form = (act_form)(is_precise ? input - INPUT_PRECISE : input);
    return (act_job){.w = w,
                     .form = form,
                     .is_precise = is_precise,
                     .row_bytes = act_row_bytes(form, w->cols) * (is_precise ? 2 : 1)};
}

size_t device_cpu_record_bytes(const device_cpu *d, const device_weight *w) {
    return job_of(d, w).row_bytes;
}

/* Two 8-bit records for a row: its codes, and the codes of what those lost. */
static void quantise_halves(const device_cpu *d, act_form form, char *high, char *low,
                            const float *x, uint32_t n) {
    enum { STEP = 2 * ACT_LONG_LEN };
    float lost[STEP];
    for (uint32_t i = 0; i < n; i += STEP) {
        const uint32_t count = n - i < STEP ? n - i : STEP;
        const size_t at = i / act_block_len(form) * act_block_bytes(form);
        d->kernels.act_quantize[form](high + at, x + i, count);
        d->kernels.act_residual[form](lost, x + i, high + at, count);
        d->kernels.act_quantize[form](low + at, lost, count);
    }
}

/* A row of ACT_Q12, block by block to where it belongs. */
static void quantise_groups(const device_cpu *d, const device_place *to, uint32_t n_places,
                            const float *x, uint32_t n) {
    for (uint32_t i = 0; i < n; i += ACT_LONG_LEN) {
        act_block_q12 block;
        d->kernels.act_quantize[ACT_Q12](&block, x + i,
                                         n - i < ACT_LONG_LEN ? n - i : ACT_LONG_LEN);
        for (uint32_t p = 0; p < n_places; p++) {
            act_group_put(to[p].group, to[p].n_rows, to[p].row, i / ACT_LONG_LEN, &block);
        }
    }
}

device_place device_cpu_place(const device_cpu *d, const device_weight *w, char *first,
                              uint32_t row, uint32_t n_rows) {
    const size_t row_bytes = device_cpu_record_bytes(d, w);
    if (d->kernels.act_form[w->dtype] != ACT_Q12) {
        return (device_place){first + row * row_bytes, 1, 0};
    }
    const uint32_t group = (uint32_t)act_group_first(row);
    return (device_place){first + group * row_bytes, (uint32_t)act_group_rows(row, n_rows),
                          row - group};
}

void device_cpu_quantise(const device_cpu *d, const device_weight *w, const device_place *to,
                         uint32_t n_places, const float *x) {
    const act_job job = job_of(d, w);
    if (job.form == ACT_Q12) {
        quantise_groups(d, to, n_places, x, w->cols);
        return;
    }
    if (job.is_precise) {
        quantise_halves(d, job.form, to->group, to->group + job.row_bytes / 2, x, w->cols);
    } else {
        d->kernels.act_quantize[job.form](to->group, x, w->cols);
    }
    for (uint32_t p = 1; p < n_places; p++) {
        memcpy(to[p].group, to->group, job.row_bytes);
    }
}

void device_cpu_place_copy(const device_cpu *d, const device_weight *w, const device_place *to,
                           const char *record) {
    if (d->kernels.act_form[w->dtype] != ACT_Q12) {
        memcpy(to->group, record, device_cpu_record_bytes(d, w));
        return;
    }
    for (uint32_t i = 0; i * ACT_LONG_LEN < w->cols; i++) {
        act_group_put(to->group, to->n_rows, to->row, i, (const act_block_q12 *)record + i);
    }
}

static void act_rows(const device_cpu *d, const void *op, uint32_t from, uint32_t to) {
    const act_job *job = op;
    for (uint32_t r = from; r < to; r++) {
        const device_place place = device_cpu_place(d, job->w, job->out, r, job->x->rows);
        device_cpu_quantise(d, job->w, &place, 1, device_cpu_row(job->x, r));
    }
}

/* Quantised rows; with is_precise each row is two records, row_bytes / 2 apart. */
typedef struct linear_input {
    const char *data;
    size_t row_bytes;
} linear_input;

/* The input rows in each form that op's weights read. */
static void quantise_inputs(device_cpu *d, const op_linear *op, linear_input inputs[INPUT_COUNT]) {
    size_t used = 0;
    inputs[ACT_F32] = (linear_input){op->x.data, op->x.stride_bytes};
    for (uint32_t i = 0; i < op->n; i++) {
        const uint32_t input = input_of(d, &op->w[i]);
        if (inputs[input].data != NULL) {
            continue;
        }
        act_job job = job_of(d, &op->w[i]);
        job.x = &op->x;
        job.out = d->workspace + used;
        used += op->x.rows * job.row_bytes;
        WEFT_ASSERT(used <= d->workspace_bytes);
        device_cpu_run_rows(d, act_rows, &job, op->x.rows, op->x.cols);
        inputs[input] = (linear_input){job.out, job.row_bytes};
    }
}

typedef struct linear_job {
    const device_cpu *d;
    const op_linear *op;
    linear_input inputs[INPUT_COUNT];
    uint32_t chunk_rows;
    size_t place_bytes; /* the largest panel */
    uint32_t panels_per_task;
    uint32_t tasks_of[OP_LINEAR_MAX]; /* tasks of each weight, for one chunk of rows */
    uint32_t tasks_per_chunk;
} linear_job;

static void add_bias(const tensor *y, const tensor *bias, uint32_t row, uint32_t n_rows,
                     uint32_t col, uint32_t n_cols) {
    const float *b = (const float *)bias->data + col;
    for (uint32_t r = row; r < row + n_rows; r++) {
        float *out = device_cpu_row(y, r) + col;
        for (uint32_t j = 0; j < n_cols; j++) {
            out[j] += b[j];
        }
    }
}

/* Panels times precise rows where the table has no linear_precise: both halves of a row go through
 * the kernel as two rows, which share the weights it loads, and are added. */
static void multiply_halves(linear_fn *product, const void *panel, const char *x, size_t x_bytes,
                            uint32_t n_rows, float *y, size_t y_stride, uint32_t n_cols,
                            uint32_t k) {
    enum { STRIDE = KERNEL_PAIR * PACK_PANEL_ROWS };
    float halves[2 * ROWS_CHUNK * STRIDE];
    WEFT_DEBUG_ASSERT(n_cols <= STRIDE);
    product(halves, STRIDE, panel, x, x_bytes / 2, 2 * (size_t)n_rows, n_cols, k);
    for (uint32_t r = 0; r < n_rows; r++) {
        const float *high = halves + (size_t)2 * r * STRIDE;
        const float *low = high + STRIDE;
        float *out = y + r * y_stride;
        for (uint32_t j = 0; j < n_cols; j++) {
            out[j] = high[j] + low[j];
        }
    }
}

uint32_t device_cpu_panels(const device_cpu *d, const device_weight *w) {
    return w->is_mapped ? 1 : d->kernels.linear_panels[w->dtype];
}

void device_cpu_multiply(const device_cpu *d, const device_weight *panels, const char *x,
                         size_t x_bytes, uint32_t n_rows, float *y, size_t y_stride) {
    linear_fn *product = d->kernels.linear[panels->dtype];
    linear_fn *precise = d->kernels.linear_precise[panels->dtype];
    if (input_of(d, panels) < INPUT_PRECISE) {
        product(y, y_stride, panels->data, x, x_bytes, n_rows, panels->rows, panels->cols);
    } else if (precise != NULL) {
        precise(y, y_stride, panels->data, x, x_bytes / 2, n_rows, panels->rows, panels->cols);
    } else {
        multiply_halves(product, panels->data, x, x_bytes, n_rows, y, y_stride, panels->rows,
                        panels->cols);
    }
}

static void linear_task(void *arg, uint32_t task, uint32_t thread) {
    const linear_job *job = arg;
    const op_linear *op = job->op;
    const uint32_t row = task / job->tasks_per_chunk * job->chunk_rows;
    const uint32_t rows_left = op->x.rows - row;
    const uint32_t n_rows = rows_left < job->chunk_rows ? rows_left : job->chunk_rows;
    uint32_t t = task % job->tasks_per_chunk;
    uint32_t i = 0;
    while (t >= job->tasks_of[i]) {
        t -= job->tasks_of[i++];
    }
    const device_weight *w = &op->w[i];
    const tensor *y = &op->y[i];
    const linear_input *in = &job->inputs[input_of(job->d, w)];
    const uint32_t n_panels = (uint32_t)pack_panel_count(w->rows);
    const uint32_t from = t * job->panels_per_task;
    const uint32_t end = from + job->panels_per_task;
    const uint32_t stop = end < n_panels ? end : n_panels;
    const uint32_t step = device_cpu_panels(job->d, w);
    for (uint32_t p = from; p < stop; p += step) {
        const uint32_t col = p * PACK_PANEL_ROWS, count = stop - p < step ? stop - p : step;
        const device_weight some =
            device_cpu_panels_of(job->d, w, p, count, job->place_bytes, thread);
        device_cpu_multiply(job->d, &some, in->data + row * in->row_bytes, in->row_bytes, n_rows,
                            device_cpu_row(y, row) + col, y->stride_bytes / sizeof(float));
        if (op->bias[i].data != NULL) {
            add_bias(y, &op->bias[i], row, n_rows, col, some.rows);
        }
    }
}

/* Rows that share a pass over the weights, by the widest input; chunks of about the same size. */
static uint32_t chunk_rows_of(const device_cpu *d, const op_linear *op,
                              const linear_input inputs[INPUT_COUNT]) {
    size_t row_bytes = 1;
    for (uint32_t i = 0; i < op->n; i++) {
        const size_t bytes = inputs[input_of(d, &op->w[i])].row_bytes;
        row_bytes = bytes > row_bytes ? bytes : row_bytes;
    }
    const size_t fit = d->chunk_bytes / row_bytes;
    const size_t most = fit < ROWS_CHUNK_MIN ? ROWS_CHUNK_MIN : fit < ROWS_CHUNK ? fit : ROWS_CHUNK;
    const uint32_t step = d->kernels.linear_rows, n_steps = (uint32_t)most / step;
    const uint32_t n_chunks = (op->x.rows - 1) / (n_steps * step) + 1;
    const uint32_t rows = (op->x.rows - 1) / n_chunks + 1;
    return (rows + step - 1) / step * step;
}

static void linear(device *dev, const op_linear *op) {
    device_cpu *d = device_cpu_of(dev);
    if (op->x.rows == 0) {
        return;
    }
    linear_job job = {.d = d, .op = op};
    quantise_inputs(d, op, job.inputs);
    job.chunk_rows = chunk_rows_of(d, op, job.inputs);
    uint32_t n_panels = 0;
    for (uint32_t i = 0; i < op->n; i++) {
        WEFT_DEBUG_ASSERT(op->w[i].cols == op->x.cols);
        WEFT_DEBUG_ASSERT(op->w[i].rows == op->y[i].cols);
        n_panels += (uint32_t)pack_panel_count(op->w[i].rows);
        const size_t panel_bytes = pack_panel_bytes(op->w[i].dtype, op->w[i].cols);
        job.place_bytes = panel_bytes > job.place_bytes ? panel_bytes : job.place_bytes;
    }
    const uint32_t n_tasks_wanted = pool_threads(d->pool) * TASKS_PER_THREAD;
    job.panels_per_task = (n_panels + n_tasks_wanted - 1) / n_tasks_wanted;
    job.panels_per_task = (job.panels_per_task + KERNEL_PAIR - 1) / KERNEL_PAIR * KERNEL_PAIR;
    for (uint32_t i = 0; i < op->n; i++) {
        const uint32_t n = (uint32_t)pack_panel_count(op->w[i].rows);
        job.tasks_of[i] = (n + job.panels_per_task - 1) / job.panels_per_task;
        job.tasks_per_chunk += job.tasks_of[i];
    }
    const uint32_t n_chunks = (op->x.rows + job.chunk_rows - 1) / job.chunk_rows;
    pool_run(d->pool, linear_task, &job, n_chunks * job.tasks_per_chunk);
}

/* ---- row by row ---- */

static void embed_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_embed *op = arg;
    const size_t panel_bytes = pack_panel_bytes(op->table.dtype, op->table.cols);
    const size_t row_bytes = dtype_row_bytes(op->table.dtype, op->table.cols);
    for (uint32_t r = from; r < to; r++) {
        const uint32_t id = (uint32_t)op->batch->token[r];
        WEFT_ASSERT(id < op->table.rows);
        float *y = device_cpu_row(&op->y, r);
        if (op->table.is_mapped) {
            quant_dequantize(op->table.dtype, y, (const char *)op->table.data + id * row_bytes,
                             op->table.cols);
        } else {
            d->kernels.panel_row[op->table.dtype](
                y, (const char *)op->table.data + id / PACK_PANEL_ROWS * panel_bytes,
                id % PACK_PANEL_ROWS, op->table.cols);
        }
        if (op->scale != 1.0f) {
            d->kernels.scale(y, y, op->scale, op->table.cols);
        }
    }
}

static void embed(device *dev, const op_embed *op) {
    device_cpu_run_rows(device_cpu_of(dev), embed_rows, op, op->y.rows, op->y.cols);
}

static void rmsnorm_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_rmsnorm *op = arg;
    const uint32_t n = op->x.cols / op->groups;
    for (uint32_t r = from; r < to; r++) {
        const float *x = device_cpu_row(&op->x, r);
        float *y = device_cpu_row(&op->y, r);
        for (uint32_t g = 0; g < op->groups; g++) {
            d->kernels.rmsnorm(y + (size_t)g * n, x + (size_t)g * n, op->w.data, n, op->eps);
        }
    }
}

static void rmsnorm(device *dev, const op_rmsnorm *op) {
    device_cpu_run_rows(device_cpu_of(dev), rmsnorm_rows, op, op->x.rows, op->x.cols);
}

static void add_rmsnorm_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_add_rmsnorm *op = arg;
    for (uint32_t r = from; r < to; r++) {
        d->kernels.add_rmsnorm(device_cpu_row(&op->y, r), device_cpu_row(&op->x, r),
                               device_cpu_row(&op->r, r), op->w.data, op->x.cols, op->eps);
    }
}

static void add_rmsnorm(device *dev, const op_add_rmsnorm *op) {
    device_cpu_run_rows(device_cpu_of(dev), add_rmsnorm_rows, op, op->x.rows, op->x.cols);
}

static void add_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_add *op = arg;
    for (uint32_t r = from; r < to; r++) {
        d->kernels.add(device_cpu_row(&op->y, r), device_cpu_row(&op->x, r), op->x.cols);
    }
}

static void add(device *dev, const op_add *op) {
    device_cpu_run_rows(device_cpu_of(dev), add_rows, op, op->x.rows, op->x.cols);
}

static void scale_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_scale *op = arg;
    for (uint32_t r = from; r < to; r++) {
        float *y = device_cpu_row(&op->y, r);
        d->kernels.scale(y, y, op->scale, op->y.cols);
    }
}

static void scale(device *dev, const op_scale *op) {
    device_cpu_run_rows(device_cpu_of(dev), scale_rows, op, op->y.rows, op->y.cols);
}

static void softcap_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_softcap *op = arg;
    for (uint32_t r = from; r < to; r++) {
        float *y = device_cpu_row(&op->y, r);
        d->kernels.softcap(y, y, op->cap, op->y.cols);
    }
}

static void softcap(device *dev, const op_softcap *op) {
    device_cpu_run_rows(device_cpu_of(dev), softcap_rows, op, op->y.rows, op->y.cols);
}

static void act_mul_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_act_mul *op = arg;
    for (uint32_t r = from; r < to; r++) {
        d->kernels.act_mul[op->kind](device_cpu_row(&op->y, r), device_cpu_row(&op->gate, r),
                                     device_cpu_row(&op->up, r), op->y.cols);
    }
}

static void act_mul(device *dev, const op_act_mul *op) {
    device_cpu_run_rows(device_cpu_of(dev), act_mul_rows, op, op->y.rows, op->y.cols);
}

static void rope_table_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_rope_table *op = arg;
    for (uint32_t r = from; r < to; r++) {
        d->kernels.rope_table(device_cpu_row(&op->cos_sin, r),
                              op->batch->position + (size_t)r * BATCH_AXES, op->inv_freq.data,
                              op->axis, op->inv_freq.cols, op->mscale);
    }
}

static void rope_table(device *dev, const op_rope_table *op) {
    device_cpu_run_rows(device_cpu_of(dev), rope_table_rows, op, op->cos_sin.rows,
                        op->cos_sin.cols * 16);
}

static void rope_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_rope *op = arg;
    for (uint32_t r = from; r < to; r++) {
        d->kernels.rope[op->pairing](device_cpu_row(&op->x, r), op->n_heads,
                                     op->x.cols / op->n_heads, device_cpu_row(&op->cos_sin, r),
                                     op->cos_sin.cols / 2);
    }
}

static void rope(device *dev, const op_rope *op) {
    device_cpu_run_rows(device_cpu_of(dev), rope_rows, op, op->x.rows, op->x.cols);
}

static void gather_rows(const device_cpu *d, const void *arg, uint32_t from, uint32_t to) {
    const op_gather *op = arg;
    (void)d;
    for (uint32_t i = from; i < to; i++) {
        memcpy(device_cpu_row(&op->y, i), device_cpu_row(&op->x, op->rows[i]),
               op->x.cols * sizeof(float));
    }
}

static void gather(device *dev, const op_gather *op) {
    device_cpu_run_rows(device_cpu_of(dev), gather_rows, op, op->n, op->x.cols);
}

/* The thread that enqueues is the host. */
static void host(device *dev, const op_host *op) {
    (void)dev;
    op->fn(op->arg, op->x.data, op->x.stride_bytes / sizeof(float), op->x.rows, op->x.cols);
}
