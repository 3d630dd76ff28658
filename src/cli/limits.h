/* limits.h - what this machine can do at best, measured in about a second: `weft info` prints it,
 * `weft bench` holds speeds against it.
 */
#ifndef WEFT_CLI_LIMITS_H
#define WEFT_CLI_LIMITS_H

#include "base/pool.h"
#include "kernels/kernels.h"

typedef struct machine_limits {
    double read_bytes_s;     /* all threads, from memory */
    double read_one_bytes_s; /* one thread */
    double int8_ops_s;       /* all threads: multiplies and adds of the best int8 product kernel */
    double f32_ops_s;        /* all threads: the float32 product kernel, a multiply-add is two */
} machine_limits;

/* k: the kernels whose peak counts. */
void limits_measure(machine_limits *out, const kernels_cpu *k, pool *p);

#endif /* WEFT_CLI_LIMITS_H */
