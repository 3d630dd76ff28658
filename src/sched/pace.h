/* pace.h - how many prompt rows a step may take beside running answers. Pure.
 *
 *   time of a step  ≈  that of its decode rows alone  +  prompt rows * what one adds
 *                      ^ measured by sizes of batch      ^ measured, a moving average
 *
 *   without prompts  ▓▓▓▓▓▓▓▓
 *   one waits        ▓▓▓▓▓▓▓▓░░░░░░░            each prompt that waits may add PACE_SHARE of a
 *   three wait       ▓▓▓▓▓▓▓▓░░░░░░░░░░░░░░░░░░░░░   step, so none is slower for the others
 *
 * The rows are chosen so that the step stays within the target: what the operator asked for, or
 * the step without prompt rows and PACE_SHARE of it for every prompt that waits, at least
 * PACE_EASE_NS for each of up to PACE_EASED_MAX. So a long prompt slows running answers by a known
 * factor and no more, on any machine, and takes the rest of the time for itself; and a crowd of
 * prompts is let in quickly.
 *
 * Why a floor: a step with prompt rows costs something beyond them, since it takes other kernels
 * and reads all that the prompt has in the cache. A small model's steps are so short that this
 * would be most of what a prompt is allowed.
 *
 * Why the crowd may: what its prompts cost is spent once, now or later, and delays the running
 * answers by as much in either case. Spread over many steps it would only keep more waiting for
 * longer, and those who wait fill no batch.
 *
 * Bits do not depend on it: a prompt gives the same cache in chunks of any size.
 */
#ifndef WEFT_SCHED_PACE_H
#define WEFT_SCHED_PACE_H

#include <stdint.h>

#define PACE_SHARE 0.66   /* below 1, so that noise stays within twice */
#define PACE_EASE_NS 50e6 /* a step as short as this disturbs nobody: 20 tokens a second */
#define PACE_EASED_MAX 4u /* prompts that bring it each: one reads 5 tokens a second */
#define PACE_ROWS_MIN 4u  /* prompts always move */
#define PACE_SIZES 13u    /* sizes of decode batches, by powers of two, 1 to 4096 */
#define PACE_REFRESH 64u  /* of so many steps with prompt rows one goes without, to measure */

/* Steps of 2^i decode rows and more, on average. */
typedef struct pace_size {
    double rows, ns; /* 0 = not measured */
} pace_size;

typedef struct pace {
    uint64_t target_ns; /* 0 = by PACE_SHARE */
    pace_size sizes[PACE_SIZES];
    double rows, rows_ns; /* prompt rows of late and what they added; 0 = not measured */
    double rows_each;     /* for each prompt, allowed in the last step that had both kinds */
    uint32_t n_mixed;     /* such steps since the last one of decode rows alone */
} pace;

void pace_init(pace *p, uint64_t target_ns);

/* Prompt rows for a step with n_decode rows of running answers while n_prompts prompts wait for
 * theirs, at most room. 0 now and then, to measure a step without. */
uint32_t pace_rows(pace *p, uint32_t n_decode, uint32_t n_prompts, uint32_t room);

/* A step took ns. */
void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, uint64_t ns);

#endif /* WEFT_SCHED_PACE_H */
