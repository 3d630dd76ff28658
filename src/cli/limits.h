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
    double bf16_ops_s;       /* the same of the bfloat16 product kernel */
    double bf16_acts_ops_s;  /* and of that with bfloat16 activations; 0: there is none */
    double f32_ops_s;        /* all threads: the float32 product kernel, a multiply-add is two */
    double loop_s;           /* what an empty parallel loop costs */
} machine_limits;

/* The product kernels that an instruction set brings, with all below it. */
#define LIMITS_LEVELS_MAX 32u
typedef struct limits_level {
    uint32_t flag; /* the cpu_flag that makes the difference */
    double int8_ops_s, bf16_ops_s, bf16_acts_ops_s, f32_ops_s;
} limits_level;

/* k: the kernels whose peak counts. */
void limits_measure(machine_limits *out, const kernels_cpu *k, pool *p);

/* Each instruction set of cpu_flags that changes one of the products that are measured; how
 * many. */
uint32_t limits_measure_levels(limits_level out[LIMITS_LEVELS_MAX], uint32_t cpu_flags, pool *p);

#endif /* WEFT_CLI_LIMITS_H */
