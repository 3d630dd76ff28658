/* pace.h - how many prompt rows a step may take beside running answers. Pure.
 *
 *   time of a step  ≈  that of its decode rows alone  +  prompt rows * what one adds
 *                      ^ measured by sizes of batch      ^ measured, a moving average
 *
 * The rows are chosen so that the step stays within the target: what the operator asked for, or
 * PACE_STRETCH times the step without prompt rows. So a long prompt slows running answers by a
 * known factor and no more, on any machine, and takes the rest of the time for itself.
 *
 * Bits do not depend on it: a prompt gives the same cache in chunks of any size.
 */
#ifndef WEFT_SCHED_PACE_H
#define WEFT_SCHED_PACE_H

#include <stdint.h>

#define PACE_STRETCH 1.85 /* below 2, so that noise stays within twice */
#define PACE_ROWS_MIN 4u  /* prompts always move */
#define PACE_SIZES 13u    /* decode rows by powers of two, 1 to 4096 */
#define PACE_REFRESH 64u  /* of so many steps with prompt rows one goes without, to measure */

typedef struct pace {
    uint64_t target_ns;           /* 0 = by PACE_STRETCH */
    double decode_ns[PACE_SIZES]; /* a step of about 2^i decode rows alone; 0 = not measured */
    double row_ns;                /* what a prompt row adds; 0 = not measured */
    uint32_t rows_last;           /* prompt rows of the last step that had both kinds */
    uint32_t n_mixed;             /* such steps since the last one of decode rows alone */
} pace;

void pace_init(pace *p, uint64_t target_ns);

/* Prompt rows for a step with n_decode rows of running answers, at most room. 0 now and then, to
 * measure a step without. */
uint32_t pace_rows(const pace *p, uint32_t n_decode, uint32_t room);

/* A step took ns. */
void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, uint64_t ns);

#endif /* WEFT_SCHED_PACE_H */
