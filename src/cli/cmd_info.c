/* cmd_info.c - the machine as weft sees it, or what is in a model file.
 *
 * Both are built as one JSON document; without --json the same document is printed as text, so that
 * the two can never disagree.
 */
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "base/os.h"
#include "cli/cli.h"
#include "cli/limits.h"
#include "plan/geometry.h"
#include "plan/plan.h"
#include "weights/weights.h"

#define STRING_SHOWN_MAX 200u /* longer metadata strings are cut in the text form */

/* ---- the machine ---- */

static json_t *levels_json(pool *p) {
    limits_level levels[LIMITS_LEVELS_MAX];
    json_t *out = json_array();
    const uint32_t n = limits_measure_levels(levels, cpu_flags_detect(), p);
    for (uint32_t i = 0; i < n; i++) {
        char name[32];
        cpu_flags_format(levels[i].flag, name, sizeof name);
        json_array_append_new(out, json_pack("{s:s, s:f, s:f, s:f, s:f}", "instruction_set", name,
                                             "int8_gop_s", levels[i].int8_ops_s / 1e9,
                                             "bf16_gflop_s", levels[i].bf16_ops_s / 1e9,
                                             "bf16_acts_gflop_s", levels[i].bf16_acts_ops_s / 1e9,
                                             "f32_gflop_s", levels[i].f32_ops_s / 1e9));
    }
    return out;
}

static json_t *limits_json(const machine_limits *l) {
    return json_pack("{s:f, s:f, s:f, s:f, s:f, s:f, s:f}", "read_gb_s", l->read_bytes_s / 1e9,
                     "read_one_thread_gb_s", l->read_one_bytes_s / 1e9, "int8_gop_s",
                     l->int8_ops_s / 1e9, "bf16_gflop_s", l->bf16_ops_s / 1e9, "bf16_acts_gflop_s",
                     l->bf16_acts_ops_s / 1e9, "f32_gflop_s", l->f32_ops_s / 1e9,
                     "parallel_loop_us", l->loop_s * 1e6);
}

static weft_status machine_json(json_t **out, uint32_t threads, weft_error *err) {
    pool *p = NULL;
    kernels_cpu kernels;
    machine_limits limits;
    char name[128], flags[128];
    const weft_status status = pool_create(&p, threads, err);
    if (status != WEFT_OK) {
        return status;
    }
    cpu_name(name, sizeof name);
    cpu_flags_format(cpu_flags_detect(), flags, sizeof flags);
    kernels_cpu_init(&kernels, cpu_flags_detect());
    limits_measure(&limits, &kernels, p);
    json_t *root = json_pack(
        "{s:s, s:s, s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:I}", "version", weft_version(), "cpu",
        name, "instruction_sets", flags, "cores", (int)os_cores(), "threads", (int)pool_threads(p),
        "cache_l1_bytes", (json_int_t)os_cache_bytes(1), "cache_l2_bytes",
        (json_int_t)os_cache_bytes(2), "cache_l3_bytes", (json_int_t)os_cache_bytes(3),
        "memory_total_bytes", (json_int_t)os_mem_total_bytes(), "memory_available_bytes",
        (json_int_t)os_mem_available_bytes());
    json_t *measured = limits_json(&limits);
    json_object_update(root, measured);
    json_decref(measured);
    json_object_set_new(root, "devices", json_pack("[s]", "cpu"));
    json_object_set_new(root, "product_peaks", levels_json(p));
    pool_destroy(&p);
    *out = root;
    return root != NULL ? WEFT_OK : weft_fail(err, WEFT_NOMEM, "out of memory");
}

/* ---- a model ---- */

static json_t *string_json(str s) {
    json_t *text = json_stringn(s.data != NULL ? s.data : "", s.len);
    return text != NULL ? text : json_string("(not UTF-8)");
}

static json_t *meta_json(const meta_value *m) {
    int64_t i = 0;
    uint64_t u = 0;
    double d = 0;
    bool b = false;
    str s = {0};
    if (m->type == META_ARRAY) {
        return json_sprintf("[%s x %llu]", meta_type_name(m->elem_type),
                            (unsigned long long)m->count);
    }
    if (m->type == META_STRING && meta_as_str(m, &s)) {
        return string_json(s);
    }
    if (m->type == META_BOOL && meta_as_bool(m, 0, &b)) {
        return json_boolean(b);
    }
    if ((m->type == META_F32 || m->type == META_F64) && meta_as_f64(m, 0, &d)) {
        json_t *number = json_real(d); /* not for infinities and NaN */
        return number != NULL ? number : json_sprintf("%g", d);
    }
    if (meta_as_i64(m, 0, &i)) {
        return json_integer(i);
    }
    return meta_as_u64(m, 0, &u) ? json_sprintf("%llu", (unsigned long long)u) : json_null();
}

static json_t *geometry_json(const geometry *g) {
    json_t *groups = json_array();
    for (uint32_t i = 0; i < g->n_groups; i++) {
        json_array_append_new(groups,
                              json_pack("{s:i, s:i, s:f}", "layers", (int)g->groups[i].n_layers,
                                        "window", (int)g->groups[i].window, "rope_base",
                                        (double)g->groups[i].rope.base));
    }
    return json_pack("{s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:o}", "n_layers",
                     (int)g->n_layers, "n_embd", (int)g->n_embd, "n_ff", (int)g->n_ff, "n_vocab",
                     (int)g->n_vocab, "n_heads", (int)g->n_heads, "n_kv_heads", (int)g->n_kv_heads,
                     "k_dim", (int)g->k_dim, "v_dim", (int)g->v_dim, "ctx_train", (int)g->ctx_train,
                     "tied_head", g->has_tied_head, "kv_groups", groups);
}

static json_t *tensors_json(const weights *w) {
    json_t *tensors = json_array();
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        const weights_tensor *t = weights_tensor_at(w, i);
        json_t *shape = json_array();
        for (uint32_t d = 0; d < t->n_dims; d++) {
            json_array_append_new(shape, json_integer((json_int_t)t->dims[d]));
        }
        json_array_append_new(tensors,
                              json_pack("{s:o, s:s, s:o, s:I}", "name", string_json(t->name),
                                        "type", weft_dtype_info_of(t->dtype)->name, "shape", shape,
                                        "bytes", (json_int_t)t->n_bytes));
    }
    return tensors;
}

static weft_status model_json(json_t **out, const char *path, weft_error *err) {
    weights *w = NULL;
    geometry g;
    weft_error why;
    weft_status status = weights_open(&w, path, err);
    if (status != WEFT_OK) {
        return status;
    }
    uint64_t n_params = 0;
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        n_params += weights_tensor_at(w, i)->n_elements;
    }
    json_t *root = json_pack("{s:s, s:I, s:i, s:I}", "path", path, "file_bytes",
                             (json_int_t)weights_file_bytes(w), "gguf_version",
                             (int)weights_version(w), "params_total", (json_int_t)n_params);
    if (weights_tensor_count(w) > 0) {
        status = geometry_read(&g, w, &why);
        if (status == WEFT_OK) {
            json_object_set_new(root, "geometry", geometry_json(&g));
        } else {
            json_object_set_new(root, "not_runnable", json_string(why.message));
        }
    }
    json_t *meta = json_object();
    for (size_t i = 0; i < weights_meta_count(w); i++) {
        const meta_value *m = weights_meta_at(w, i);
        char key[256];
        snprintf(key, sizeof key, STR_FMT, STR_ARG(m->key));
        json_object_set_new(meta, key, meta_json(m));
    }
    json_object_set_new(root, "metadata", meta);
    json_object_set_new(root, "tensors", tensors_json(w));
    weights_release(&w);
    *out = root;
    return WEFT_OK;
}

/* ---- text form ---- */

static void print_scalar(const json_t *v) {
    if (json_is_string(v)) {
        const char *s = json_string_value(v);
        for (size_t i = 0; s[i] != 0 && i < STRING_SHOWN_MAX; i++) {
            putchar((unsigned char)s[i] < ' ' ? ' ' : s[i]);
        }
        printf("%s\n", strlen(s) > STRING_SHOWN_MAX ? " ..." : "");
    } else if (json_is_integer(v)) {
        printf("%lld\n", (long long)json_integer_value(v));
    } else if (json_is_real(v)) {
        printf("%.6g\n", json_real_value(v));
    } else {
        printf("%s\n", json_is_true(v) ? "true" : json_is_false(v) ? "false" : "null");
    }
}

static void print_row(const json_t *row) {
    const char *key = NULL;
    const json_t *v = NULL;
    void *iter = json_object_iter((json_t *)(uintptr_t)row);
    printf(" ");
    for (; iter != NULL; iter = json_object_iter_next((json_t *)(uintptr_t)row, iter)) {
        key = json_object_iter_key(iter);
        v = json_object_iter_value(iter);
        printf(" %s=", key);
        json_dumpf(v, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
    }
    printf("\n");
}

static void print_document(json_t *root) {
    const char *key;
    json_t *value;
    json_object_foreach(root, key, value) {
        if (json_is_array(value) && json_is_object(json_array_get(value, 0))) {
            printf("%s:\n", key);
            for (size_t i = 0; i < json_array_size(value); i++) {
                print_row(json_array_get(value, i));
            }
        } else if (json_is_array(value)) {
            for (size_t i = 0; i < json_array_size(value); i++) {
                printf("%-24s ", key);
                print_scalar(json_array_get(value, i));
            }
        } else if (json_is_object(value)) {
            const char *inner;
            json_t *v;
            printf("%s:\n", key);
            json_object_foreach(value, inner, v) {
                if (json_is_array(v)) {
                    for (size_t i = 0; i < json_array_size(v); i++) {
                        print_row(json_array_get(v, i));
                    }
                } else {
                    printf("  %-40s ", inner);
                    print_scalar(v);
                }
            }
        } else {
            printf("%-24s ", key);
            print_scalar(value);
        }
    }
}

int cmd_info(int argc, char **argv) {
    bool is_json = false;
    uint32_t threads = 0;
    const args_option options[] = {
        {"--threads", 't', ARGS_U32, &threads, 1, 1024, "N", "threads to measure with"},
        {"--json", 0, ARGS_FLAG, &is_json, 0, 0, NULL, "one JSON document on stdout"},
    };
    const args_command command = {
        .name = "info",
        .synopsis = "[MODEL]",
        .summary = "Without MODEL: processor, instruction sets, cores, memory, measured limits.\n"
                   "With MODEL: geometry, metadata and tensors of the file.",
        .example = "  weft info\n  weft info model.gguf --json",
        .options = options,
        .n_options = WEFT_LEN(options),
        .positionals_min = 0,
        .positionals_max = 1,
    };
    args_result args;
    weft_error err;
    json_t *root = NULL;
    int exit_code = CLI_DONE;
    if (!cli_begin(&command, argc, argv, &args, &exit_code)) {
        return exit_code;
    }
    const weft_status status = args.n_positionals == 0
                                   ? machine_json(&root, threads, &err)
                                   : model_json(&root, args.positionals[0], &err);
    if (status != WEFT_OK) {
        return cli_fail(&err);
    }
    if (is_json) {
        json_dumpf(root, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(8));
        printf("\n");
    } else {
        print_document(root);
    }
    json_decref(root);
    return CLI_DONE;
}
