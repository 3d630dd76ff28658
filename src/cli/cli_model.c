/* cli_model.c - file, plan, device and executor, opened together.
 */
#include "cli/cli_model.h"

#include "base/cpu.h"
#include "device/device_cpu.h"
#include "device/device_deferred.h"
#include "weights/weights.h"

weft_status cli_model_start(cli_model *m, const cli_model_options *o, bool is_deferred,
                            weft_error *err) {
    *m = (cli_model){0};
    weft_runtime_options runtime;
    weft_status status = cli_runtime_options(o, &runtime, err);
    if (status == WEFT_OK) {
        status = runtime.is_unpinned ? pool_create_unpinned(&m->pool, runtime.n_threads, err)
                                     : pool_create(&m->pool, runtime.n_threads, err);
    }
    if (status != WEFT_OK) {
        return status;
    }
    const uint32_t flags = cpu_flags_detect() & runtime.cpu_mask;
    kernels_cpu_init(&m->kernels, flags);
    if (is_deferred && runtime.act_type != WEFT_DTYPE_F32) {
        return weft_fail(err, WEFT_UNSUPPORTED,
                         "--act-type %s needs --device cpu, deferred multiplies float32",
                         o->act_type);
    }
    if (is_deferred) {
        return device_deferred_create(&m->dev, m->pool, err);
    }
    status = device_cpu_create(&m->dev, m->pool, flags, err);
    if (status == WEFT_OK) {
        status = device_cpu_set_acts(m->dev, runtime.act_type, err);
    }
    if (status == WEFT_OK && runtime.act_type == WEFT_DTYPE_BF16) {
        kernels_cpu_use_bf16(&m->kernels);
    }
    return status;
}

static void count_params(cli_model *m, const weights *w) {
    for (size_t i = 0; i < weights_tensor_count(w); i++) {
        const weights_tensor *t = weights_tensor_at(w, i);
        m->matrix_params[t->dtype] += t->n_dims > 1 ? t->n_elements : 0;
    }
}

weft_status cli_model_load(cli_model *m, const char *path, const cli_model_options *o,
                           plan_request *request, weft_error *err) {
    weights *w = NULL;
    geometry geo;
    plan p;
    weft_status status = weights_open(&w, path, err);
    if (status != WEFT_OK) {
        return status;
    }
    m->file_bytes = weights_file_bytes(w);
    count_params(m, w);
    status = geometry_read(&geo, w, err);
    if (status == WEFT_OK) {
        request->n_threads = pool_threads(m->pool);
        request->mem_bytes = o->mem_bytes;
        status = cli_weights_form(o->weights, &request->maps_weights, err);
    }
    if (status == WEFT_OK) {
        status = plan_make(&p, &geo, w, request, err);
    }
    if (status == WEFT_OK) {
        cli_progress progress;
        cli_progress_init(&progress, "loading");
        const model_load_options load = {.progress = cli_progress_step, .user = &progress};
        status = executor_create(&m->exec, m->dev, w, &geo, &p, &load, NULL, err);
        cli_progress_end(&progress);
    }
    weights_release(&w);
    return status;
}

void cli_model_close(cli_model *m) {
    executor_destroy(&m->exec);
    device_destroy(&m->dev);
    pool_destroy(&m->pool);
}
