/* cmd_bench.c - how fast the engine runs here, and which share of the machine's limit that is.
 *
 * Prefill: one sequence, --prompt tokens in chunks, at --depth. Decode: each batch size in turn,
 * --gen steps of one row a sequence, starting at --depth. Loading, packing and one warm-up are not
 * timed; each figure is the median over --reps.
 *
 * The limit that binds: bytes for few rows (a step reads the weights, of experts those that its
 * rows chose, and each sequence's cache, against the measured read bandwidth), operations for many
 * (2 a weight and row, against the peak of this build's product kernels for the types of weights;
 * attention's against that of float32).
 */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/os.h"
#include "cli/cli_model.h"
#include "cli/limits.h"
#include "layout/page.h"

#define REPS_MAX 1000u
#define BATCH_MAX 1024u

typedef struct bench_options {
    cli_model_options model;
    uint32_t prompt, gen, depth, reps;
    args_list batch;
    bool is_json;
} bench_options;

typedef struct bench_result {
    const char *test;
    uint32_t n_tokens, depth, batch;
    double tok_s;
    bool is_bytes; /* the limit that binds */
    double fraction;
} bench_result;

typedef struct bench {
    const bench_options *o;
    cli_model m;
    machine_limits limits;
    double ops_s;    /* of products of this model, from those */
    int32_t *tokens; /* any, not all alike: experts' rows choose by them. Sequence i begins at i */
    kv_seq seqs[BATCH_MAX];
    executor_item *items;
    uint32_t chunk;
} bench;

static int compare_doubles(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, uint32_t n) {
    qsort(values, n, sizeof *values, compare_doubles);
    return n % 2 == 1 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

/* Runs positions [from, to) of one sequence in chunks. */
static weft_status prefill(bench *b, kv_seq seq, const int32_t *tokens, uint32_t from, uint32_t to,
                           weft_error *err) {
    weft_status status = WEFT_OK;
    for (uint32_t at = from; at < to && status == WEFT_OK; at += b->chunk) {
        const uint32_t n = to - at < b->chunk ? to - at : b->chunk;
        const executor_item item = {.seq = seq,
                                    .from = at,
                                    .n_tokens = n,
                                    .tokens = tokens + at,
                                    .n_out = at + n == to ? 1 : 0};
        kv_seq_grow(executor_kv(b->m.exec), seq, at, at + n);
        status = executor_run(b->m.exec, &item, 1, err);
    }
    return status;
}

/* Operations that a row costs. */
typedef struct row_cost {
    double products, attention;
} row_cost;

/* All of a layer but keys and values, where a row sees `seen` positions. */
static row_cost layer_cost(const geometry *g, double seen) {
    const double heads = g->n_heads * (double)(g->k_dim + g->v_dim);
    const double ffn = g->routing.n_experts > 0
                           ? g->routing.n_experts + 3.0 * g->routing.n_used * g->n_ff_expert
                           : 3.0 * g->n_ff;
    return (row_cost){2.0 * g->n_embd * (heads + ffn), 2.0 * seen * heads};
}

static double seen_of(const geometry_group *gg, double depth) {
    return gg->window != 0 && gg->window < depth ? gg->window : depth;
}

/* What every row costs, and what one with logits costs beside: only those go on in the last layer
 * once it has keys and values, and through the head. */
static void count_ops(const geometry *g, double depth, row_cost *all, row_cost *out) {
    *all = *out = (row_cost){0};
    for (uint32_t i = 0; i < g->n_layers; i++) {
        const row_cost c = layer_cost(g, seen_of(&g->groups[g->layer_group[i]], depth));
        const bool is_last = i + 1 == g->n_layers;
        all->products +=
            2.0 * g->n_embd * g->n_kv_heads * (g->k_dim + g->v_dim) + (is_last ? 0 : c.products);
        all->attention += is_last ? 0 : c.attention;
        *out = c;
    }
    out->products += 2.0 * g->n_vocab * g->n_embd;
}

/* Weights of experts that n_rows rows, each with its own choice, leave aside on average. */
static double idle_params(const geometry *g, double n_rows) {
    if (g->routing.n_experts == 0) {
        return 0;
    }
    const double idle = 1.0 - (double)g->routing.n_used / g->routing.n_experts;
    return 3.0 * g->n_layers * g->routing.n_experts * g->n_ff_expert * g->n_embd *
           pow(idle, n_rows);
}

/* Bytes of weights and cache that a step of n_rows rows reads. The embedding look-up is none. */
static double step_bytes(const bench *b, double depth, uint32_t n_seqs, double n_rows) {
    const plan *p = executor_plan(b->m.exec);
    const geometry *g = executor_geometry(b->m.exec);
    double kv = 0;
    for (uint32_t i = 0; i < g->n_groups; i++) {
        const geometry_group *gg = &g->groups[i];
        kv += seen_of(gg, depth) * gg->n_layers * gg->n_kv_heads *
              (double)page_row_bytes(p->kv_type, gg->k_dim, gg->v_dim, gg->v_in_k);
    }
    const double lookup = g->has_tied_head ? 0 : (double)g->n_vocab * g->n_embd;
    const double params = (double)p->params_total - lookup - idle_params(g, n_rows);
    return (double)(p->packed_bytes + p->mapped_bytes) * params / (double)p->params_total +
           kv * n_seqs;
}

/* n_out: rows with logits, of r->batch sequences in n_steps steps. */
static void set_limit(bench *b, bench_result *r, double n_steps, double n_out) {
    const double n_rows = (double)r->n_tokens * r->batch;
    const double depth = r->depth + r->n_tokens / 2.0; /* on average */
    row_cost all, out;
    count_ops(executor_geometry(b->m.exec), depth, &all, &out);
    const double bytes_s =
        n_steps * step_bytes(b, depth, r->batch, n_rows / n_steps) / b->limits.read_bytes_s;
    const double ops_s = (n_rows * all.products + n_out * out.products) / b->ops_s +
                         (n_rows * all.attention + n_out * out.attention) / b->limits.f32_ops_s;
    r->is_bytes = bytes_s > ops_s;
    r->fraction = (r->is_bytes ? bytes_s : ops_s) / (n_rows / r->tok_s);
}

static weft_status bench_prefill(bench *b, bench_result *r, weft_error *err) {
    const bench_options *o = b->o;
    double tok_s[REPS_MAX];
    kv_seqs *kv = executor_kv(b->m.exec);
    kv_seq seq = kv_seq_try_open(kv, o->depth + o->prompt);
    weft_status status = prefill(b, seq, b->tokens, 0, o->depth, err);
    for (uint32_t rep = 0; rep <= o->reps && status == WEFT_OK; rep++) { /* 0 warms up */
        if (kv_seq_cut_min(kv, seq) > o->depth) {
            kv_seq_close(kv, seq); /* the window has moved on: fill it again */
            seq = kv_seq_try_open(kv, o->depth + o->prompt);
            status = prefill(b, seq, b->tokens, 0, o->depth, err);
        } else {
            kv_seq_cut(kv, seq, o->depth);
        }
        const uint64_t start = clock_now_ns();
        if (status == WEFT_OK) {
            status = prefill(b, seq, b->tokens, o->depth, o->depth + o->prompt, err);
        }
        if (rep > 0) {
            tok_s[rep - 1] = o->prompt / clock_seconds(clock_now_ns() - start);
        }
    }
    kv_seq_close(kv, seq);
    if (status == WEFT_OK) {
        *r = (bench_result){"prefill", o->prompt, o->depth, 1, median(tok_s, o->reps), false, 0};
        set_limit(b, r, (o->prompt + b->chunk - 1) / b->chunk, 1);
    }
    return status;
}

static weft_status decode_steps(bench *b, uint32_t n_seqs, uint32_t from, weft_error *err) {
    kv_seqs *kv = executor_kv(b->m.exec);
    weft_status status = WEFT_OK;
    for (uint32_t step = 0; step < b->o->gen && status == WEFT_OK; step++) {
        for (uint32_t i = 0; i < n_seqs; i++) {
            kv_seq_grow(kv, b->seqs[i], from + step, from + step + 1);
            b->items[i] = (executor_item){.seq = b->seqs[i],
                                          .from = from + step,
                                          .n_tokens = 1,
                                          .tokens = b->tokens + i + from + step,
                                          .n_out = 1};
        }
        status = executor_run(b->m.exec, b->items, n_seqs, err);
    }
    return status;
}

/* One repetition: fresh sequences filled to the depth, then the timed steps. */
static weft_status decode_once(bench *b, uint32_t n_seqs, double *tok_s, weft_error *err) {
    kv_seqs *kv = executor_kv(b->m.exec);
    weft_status status = WEFT_OK;
    for (uint32_t i = 0; i < n_seqs; i++) {
        b->seqs[i] = kv_seq_try_open(kv, b->o->depth + b->o->gen);
    }
    for (uint32_t i = 0; i < n_seqs && status == WEFT_OK; i++) {
        status = prefill(b, b->seqs[i], b->tokens + i, 0, b->o->depth, err);
    }
    const uint64_t start = clock_now_ns();
    if (status == WEFT_OK) {
        status = decode_steps(b, n_seqs, b->o->depth, err);
    }
    *tok_s = (double)b->o->gen * n_seqs / clock_seconds(clock_now_ns() - start);
    for (uint32_t i = 0; i < n_seqs; i++) {
        kv_seq_close(kv, b->seqs[i]);
    }
    return status;
}

static weft_status bench_decode(bench *b, uint32_t n_seqs, bench_result *r, weft_error *err) {
    double tok_s[REPS_MAX], warm_up = 0;
    weft_status status = decode_once(b, n_seqs, &warm_up, err);
    for (uint32_t rep = 0; rep < b->o->reps && status == WEFT_OK; rep++) {
        status = decode_once(b, n_seqs, &tok_s[rep], err);
    }
    if (status == WEFT_OK) {
        *r = (bench_result){"decode", b->o->gen, b->o->depth, n_seqs, median(tok_s, b->o->reps),
                            false,    0};
        set_limit(b, r, b->o->gen, (double)b->o->gen * n_seqs);
    }
    return status;
}

static void print_result(const bench_result *r) {
    printf("%-8s %6u tokens  depth %-6u batch %-3u %10.1f tok/s  %3.0f %% of the %s limit\n",
           r->test, r->n_tokens, r->depth, r->batch, r->tok_s, r->fraction * 100,
           r->is_bytes ? "bytes" : "ops");
    fflush(stdout);
}

static json_t *result_json(const bench *b, const bench_result *r) {
    return json_pack("{s:s, s:i, s:i, s:i, s:i, s:f, s:s, s:f}", "test", r->test, "n_tokens",
                     (int)r->n_tokens, "depth", (int)r->depth, "batch", (int)r->batch, "threads",
                     (int)pool_threads(b->m.pool), "tok_s", r->tok_s, "limit",
                     r->is_bytes ? "bytes" : "ops", "fraction", r->fraction);
}

static weft_status run_all(bench *b, json_t *results, weft_error *err) {
    weft_status status = WEFT_OK;
    bench_result r;
    if (b->o->prompt > 0) {
        status = bench_prefill(b, &r, err);
        if (status == WEFT_OK) {
            json_array_append_new(results, result_json(b, &r));
            if (!b->o->is_json) {
                print_result(&r);
            }
        }
    }
    for (uint32_t i = 0; i < b->o->batch.count && status == WEFT_OK && b->o->gen > 0; i++) {
        status = bench_decode(b, b->o->batch.values[i], &r, err);
        if (status == WEFT_OK) {
            json_array_append_new(results, result_json(b, &r));
            if (!b->o->is_json) {
                print_result(&r);
            }
        }
    }
    return status;
}

/* Peak of a type's products. */
static double peak_of(const bench *b, weft_dtype dtype) {
    const machine_limits *l = &b->limits;
    switch (dtype) {
    case WEFT_DTYPE_F32:
    case WEFT_DTYPE_F16: return l->f32_ops_s;
    case WEFT_DTYPE_BF16:
        return b->m.kernels.act_form[dtype] == ACT_BF16 ? l->bf16_acts_ops_s : l->bf16_ops_s;
    default: return l->int8_ops_s;
    }
}

/* Of this model's, each type of weights having its part of the operations. */
static double product_peak(const bench *b) {
    double n = 0, seconds = 0;
    for (uint32_t i = 0; i < WEFT_DTYPE_COUNT; i++) {
        const double params = (double)b->m.matrix_params[i];
        n += params;
        seconds += params > 0 ? params / peak_of(b, (weft_dtype)i) : 0;
    }
    return n / seconds;
}

static weft_status open_all(bench *b, const char *path, weft_error *err) {
    const bench_options *o = b->o;
    const uint32_t longest = o->depth + (o->prompt > o->gen ? o->prompt : o->gen);
    uint32_t batch_max = 1;
    for (uint32_t i = 0; i < o->batch.count; i++) {
        batch_max = o->batch.values[i] > batch_max ? o->batch.values[i] : batch_max;
    }
    plan_request request = {.ctx = longest, .seqs = batch_max, .out_rows = batch_max};
    weft_status status = cli_kv_type(o->model.kv_type, &request.kv_type, err);
    if (status == WEFT_OK) {
        status = cli_model_start(&b->m, &o->model, false, err);
    }
    if (status == WEFT_OK) {
        const uint32_t rows = plan_batch_rows_default(pool_threads(b->m.pool));
        b->chunk = longest < rows ? longest : rows;
        b->chunk = b->chunk < batch_max ? batch_max : b->chunk;
        request.batch_rows = b->chunk;
        limits_measure(&b->limits, &b->m.kernels, b->m.pool);
        os_rss_peak_forget(); /* its memory is free again, and is not the model's */
        status = cli_model_load(&b->m, path, &o->model, &request, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    b->ops_s = product_peak(b);
    const uint32_t n_tokens = longest + batch_max;
    b->tokens = mem_array(MEM_CLI, n_tokens, sizeof *b->tokens);
    b->items = mem_array(MEM_CLI, batch_max, sizeof *b->items);
    if (b->tokens == NULL || b->items == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for %u tokens", n_tokens);
    }
    for (uint32_t i = 0; i < n_tokens; i++) {
        const uint32_t mixed = (i + 1) * 2654435761u; /* Knuth, section 6.4: a golden ratio's */
        b->tokens[i] = (int32_t)((mixed >> 8) % executor_geometry(b->m.exec)->n_vocab);
    }
    return WEFT_OK;
}

static weft_status run(const char *path, const bench_options *o, weft_error *err) {
    bench *b = mem_zalloc(MEM_CLI, 1, sizeof *b);
    if (b == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for a benchmark");
    }
    b->o = o;
    json_t *results = json_array();
    weft_status status = open_all(b, path, err);
    if (status == WEFT_OK) {
        status = run_all(b, results, err);
    }
    if (status == WEFT_OK && o->is_json) {
        json_t *root =
            json_pack("{s:s, s:s, s:O}", "model", path, "act_type",
                      o->model.act_type != NULL ? o->model.act_type : "f32", "results", results);
        json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
        printf("\n");
        json_decref(root);
    }
    json_decref(results);
    mem_free(b->tokens);
    mem_free(b->items);
    cli_model_close(&b->m);
    mem_free(b);
    return status;
}

int cmd_bench(int argc, char **argv) {
    bench_options o = {.model = {.kv_type = "f16"},
                       .prompt = 512,
                       .gen = 128,
                       .reps = 5,
                       .batch = {.values = {1}, .count = 1}};
    const args_option options[] = {
        {"--prompt", 'p', ARGS_U32, &o.prompt, 0, 1048576, "N", "prefill tokens, 0 = none (512)"},
        {"--gen", 'n', ARGS_U32, &o.gen, 0, 1048576, "N", "decode steps, 0 = none (128)"},
        {"--depth", 'd', ARGS_U32, &o.depth, 0, 1048576, "N", "context already there (0)"},
        {"--batch", 'b', ARGS_LIST, &o.batch, 1, BATCH_MAX, "LIST",
         "sequences decoded together (1)"},
        {"--reps", 'r', ARGS_U32, &o.reps, 1, REPS_MAX, "N", "repetitions; the median counts (5)"},
        {"--weights", 0, ARGS_STRING, &o.model.weights, 0, 0, "FORM",
         "packed, or mapped: from the file, slow, for little memory (packed)"},
        {"--threads", 't', ARGS_U32, &o.model.threads, 1, 1024, "N", "threads (physical cores)"},
        {"--kv-type", 0, ARGS_STRING, &o.model.kv_type, 0, 0, "T", "f16, f32, q8_0 or q4_0 (f16)"},
        {"--unpinned", 0, ARGS_FLAG, &o.model.is_unpinned, 0, 0, NULL,
         "let the system move threads from core to core"},
        {"--act-type", 0, ARGS_STRING, &o.model.act_type, 0, 0, "T",
         "what BF16 weights multiply: f32, or bf16: faster, less exact (f32)"},
        {"--cpu-mask", 0, ARGS_STRING, &o.model.cpu_mask, 0, 0, "SETS", "instruction sets to use"},
        {"--json", 0, ARGS_FLAG, &o.is_json, 0, 0, NULL, "one JSON document on stdout"},
    };
    const args_command command = {
        .name = "bench",
        .synopsis = "MODEL",
        .summary = "Measures prefill and decode speed in process, and the share of the machine's "
                   "limit.",
        .example = "  weft bench model.gguf --prompt 512 --gen 128 --batch 1,8,32",
        .options = options,
        .n_options = WEFT_LEN(options),
        .positionals_min = 1,
        .positionals_max = 1,
    };
    args_result args;
    weft_error err;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    if (cli_model_options_check(&o.model, &err) != WEFT_OK) {
        return cli_usage(&err);
    }
    return run(args.positionals[0], &o, &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
