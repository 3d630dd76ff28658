/* cmd_logits.c - the model's raw output for given tokens, for tests and research.
 *
 * Tokens come as a JSON array, logits go to a .npy file (NumPy format 1.0: magic, header text
 * padded to 64 bytes, then float32 rows). The prompt is run in chunks; whatever the chunk, the bits
 * are the same (docs/numerics.md).
 */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "cli/cli_model.h"

#define CHUNK_DEFAULT 128u
#define TOKENS_FILE_BYTES_MAX (64u << 20)

typedef struct logits_options {
    cli_model_options model;
    const char *tokens_path, *out_path, *device_name;
    bool is_deferred; /* device_name, judged */
    uint32_t chunk;
} logits_options;

static weft_status bad_token(const char *path, size_t i, const json_t *id, weft_error *err) {
    if (json_is_integer(id)) {
        return weft_fail(err, WEFT_INVALID, "%s: element %zu is %lld, wanted a token id", path, i,
                         (long long)json_integer_value(id));
    }
    return weft_fail(err, WEFT_INVALID, "%s: element %zu is no integer, wanted a token id", path,
                     i);
}

static weft_status parse_tokens(const char *path, int32_t **out, uint32_t *n, weft_error *err) {
    json_error_t where;
    char *text = NULL;
    size_t len = 0;
    weft_status status = os_read_file(&text, &len, path, TOKENS_FILE_BYTES_MAX, err);
    if (status != WEFT_OK) {
        return status;
    }
    json_t *root = json_loadb(text, len, 0, &where);
    mem_free(text);
    if (root == NULL) {
        return weft_fail(err, WEFT_FORMAT, "%s: line %d: %s", path, where.line, where.text);
    }
    const size_t count = json_array_size(root);
    int32_t *ids = NULL;
    if (!json_is_array(root) || count == 0) {
        status =
            weft_fail(err, WEFT_INVALID, "%s: wanted a non-empty JSON array of token ids", path);
    } else {
        ids = mem_array(MEM_CLI, count, sizeof *ids);
        status = ids != NULL ? WEFT_OK : weft_fail(err, WEFT_NOMEM, "out of memory for tokens");
    }
    for (size_t i = 0; i < count && status == WEFT_OK; i++) {
        const json_t *id = json_array_get(root, i);
        if (!json_is_integer(id) || json_integer_value(id) < 0 ||
            json_integer_value(id) > INT32_MAX) {
            status = bad_token(path, i, id, err);
        } else {
            ids[i] = (int32_t)json_integer_value(id);
        }
    }
    json_decref(root);
    if (status != WEFT_OK) {
        mem_free(ids);
        return status;
    }
    *out = ids;
    *n = (uint32_t)count;
    return WEFT_OK;
}

static weft_status io_error(const char *path, weft_error *err) {
    return weft_fail(err, WEFT_IO, "%s: %s", path, strerror(errno));
}

static weft_status write_header(FILE *f, const char *path, uint32_t rows, uint32_t cols,
                                weft_error *err) {
    char header[128];
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* 118 bytes of text follow */
    const int n =
        snprintf(header + 10, sizeof header - 10,
                 "{'descr': '<f4', 'fortran_order': False, 'shape': (%u, %u), }", rows, cols);
    header[10 + n] = ' ';
    header[sizeof header - 1] = '\n';
    return fwrite(header, 1, sizeof header, f) == sizeof header ? WEFT_OK : io_error(path, err);
}

static weft_status write_logits(cli_model *m, FILE *f, const char *path, const int32_t *ids,
                                uint32_t n, uint32_t chunk, weft_error *err) {
    const uint32_t n_vocab = executor_geometry(m->exec)->n_vocab;
    kv_seqs *kv = executor_kv(m->exec);
    const kv_seq seq = kv_seq_try_open(kv, n);
    weft_status status = write_header(f, path, n, n_vocab, err);
    for (uint32_t from = 0; from < n && status == WEFT_OK; from += chunk) {
        const uint32_t count = n - from < chunk ? n - from : chunk;
        const executor_item item = {
            .seq = seq, .from = from, .n_tokens = count, .tokens = ids + from, .n_out = count};
        kv_seq_grow(kv, seq, from, from + count);
        status = executor_run(m->exec, &item, 1, err);
        for (uint32_t i = 0; i < count && status == WEFT_OK; i++) {
            if (fwrite(executor_logits(m->exec, i), sizeof(float), n_vocab, f) != n_vocab) {
                status = io_error(path, err);
            }
        }
    }
    kv_seq_close(kv, seq);
    return status;
}

static weft_status run(const char *model_path, const logits_options *o, weft_error *err) {
    cli_model m = {0};
    int32_t *ids = NULL;
    uint32_t n = 0;
    FILE *f = NULL;
    weft_status status = parse_tokens(o->tokens_path, &ids, &n, err);
    if (status != WEFT_OK) {
        return status;
    }
    const uint32_t chunk = o->chunk < n ? o->chunk : n;
    plan_request request = {.ctx = n, .seqs = 1, .batch_rows = chunk, .out_rows = chunk};
    status = cli_kv_type(o->model.kv_type, &request.kv_type, err);
    if (status == WEFT_OK) {
        status = cli_model_start(&m, &o->model, o->is_deferred, err);
    }
    if (status == WEFT_OK) {
        status = cli_model_load(&m, model_path, &o->model, &request, err);
    }
    if (status == WEFT_OK) {
        f = fopen(o->out_path, "wb");
        status = f != NULL ? write_logits(&m, f, o->out_path, ids, n, chunk, err)
                           : io_error(o->out_path, err);
    }
    if (f != NULL && fclose(f) != 0 && status == WEFT_OK) {
        status = io_error(o->out_path, err);
    }
    cli_model_close(&m);
    mem_free(ids);
    return status;
}

int cmd_logits(int argc, char **argv) {
    logits_options o = {.model = {.kv_type = "f16"}, .device_name = "cpu", .chunk = CHUNK_DEFAULT};
    const args_option options[] = {
        {"--tokens", 0, ARGS_STRING, &o.tokens_path, 0, 0, "FILE", "JSON array of token ids"},
        {"--out", 'o', ARGS_STRING, &o.out_path, 0, 0, "FILE", "float32 [n_tokens, n_vocab], .npy"},
        {"--chunk", 0, ARGS_U32, &o.chunk, 1, 65536, "N", "tokens run at a time (128)"},
        {"--kv-type", 0, ARGS_STRING, &o.model.kv_type, 0, 0, "T", "f16, f32, q8_0 or q4_0 (f16)"},
        {"--weights", 0, ARGS_STRING, &o.model.weights, 0, 0, "FORM",
         "packed, or mapped: from the file, slow, for little memory (packed)"},
        {"--threads", 't', ARGS_U32, &o.model.threads, 1, 1024, "N", "threads (physical cores)"},
        {"--act-type", 0, ARGS_STRING, &o.model.act_type, 0, 0, "T",
         "what BF16 weights multiply: f32, or bf16: faster, less exact (f32)"},
        {"--cpu-mask", 0, ARGS_STRING, &o.model.cpu_mask, 0, 0, "SETS", "instruction sets to use"},
        {"--device", 0, ARGS_STRING, &o.device_name, 0, 0, "NAME",
         "cpu or deferred, its test twin"},
    };
    const args_command command = {
        .name = "logits",
        .synopsis = "MODEL --tokens IDS.json --out OUT.npy",
        .summary = "Runs token ids through a model and writes the logits of every position.",
        .example = "  echo '[1, 2, 3]' > ids.json\n"
                   "  weft logits model.gguf --tokens ids.json --out logits.npy",
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
    o.is_deferred = strcmp(o.device_name, "deferred") == 0;
    if (!o.is_deferred && strcmp(o.device_name, "cpu") != 0) {
        (void)weft_fail(&err, WEFT_INVALID, "option --device is '%s', wanted cpu or deferred",
                        o.device_name);
        return cli_usage(&err);
    }
    if (o.tokens_path == NULL || o.out_path == NULL) {
        (void)weft_fail(&err, WEFT_INVALID, "options --tokens and --out are both needed");
        return cli_usage(&err);
    }
    return run(args.positionals[0], &o, &err) == WEFT_OK ? CLI_DONE : cli_fail(&err);
}
