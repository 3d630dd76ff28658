/* cli_model.h - a model without an engine, for the commands that drive the executor themselves:
 * logits and bench. They never load the tokeniser.
 */
#ifndef WEFT_CLI_CLI_MODEL_H
#define WEFT_CLI_CLI_MODEL_H

#include "base/pool.h"
#include "cli/cli.h"
#include "engine/executor.h"

typedef struct cli_model {
    pool *pool;
    device *dev;
    kernels_cpu kernels; /* those of the device */
    executor *exec;
    uint64_t file_bytes;
    uint64_t matrix_params[WEFT_DTYPE_COUNT]; /* by type */
} cli_model;

/* Threads and device: cpu, or its deferred twin. On failure too, close what there is. */
weft_status cli_model_start(cli_model *m, const cli_model_options *o, bool is_deferred,
                            weft_error *err) WEFT_NODISCARD;

/* The model itself; request->n_threads and mem_bytes are filled in. */
weft_status cli_model_load(cli_model *m, const char *path, const cli_model_options *o,
                           plan_request *request, weft_error *err) WEFT_NODISCARD;
void cli_model_close(cli_model *m); /* accepts a zeroed one */

#endif /* WEFT_CLI_CLI_MODEL_H */
