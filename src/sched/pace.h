/* pace.h - how many prompt rows a step may take beside running answers. Pure.
 *
 *   time of a step  ≈  that of its decode rows alone  +  prompt rows * what one adds at their depth
 *                      ^ measured by sizes of batch      ^ measured, a line through those of late
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
 * Why a line: a prompt row looks back at all that is before it, so it costs the more the deeper it
 * stands, in a small model three times as much at 4,000 as at first. An average is always late: it
 * lets too many rows into every step of a long prompt, and holds back the short one that follows.
 *
 * Why a floor: a step with prompt rows costs something beyond them, since it takes other kernels
 * and reads all that the prompt has in the cache. A small model's steps are so short that this
 * would be most of what a prompt is allowed.
 *
 * Why the crowd may: what its prompts cost is spent once, now or later, and delays the running
 * answers by as much in either case. Spread over many steps it would only keep more waiting for
 * longer, and those who wait fill no batch. That holds for the last of a crowd as for the first, so
 * it counts as large as it was, less a tenth with each step: else each would come in more slowly
 * than the one before, and the last, who has waited longest, the slowest.
 *
 * Bits do not depend on it: a prompt gives the same cache in chunks of any size.
 */
#ifndef WEFT_SCHED_PACE_H
#define WEFT_SCHED_PACE_H

#include <stdint.h>

#define PACE_SHARE 0.66     /* below 1, so that noise stays within twice */
#define PACE_EASE_NS 50e6   /* a step as short as this disturbs nobody: 20 tokens a second */
#define PACE_EASED_MAX 4u   /* prompts that bring it each: one reads 5 tokens a second */
#define PACE_CROWD_KEPT 0.9 /* of a crowd, at the next step */
#define PACE_ROWS_MIN 4u    /* prompts always move */
#define PACE_SIZES 13u      /* sizes of decode batches, by powers of two, 1 to 4096 */
#define PACE_REFRESH 64u    /* of so many steps with prompt rows one goes without, to measure */

/* Steps of 2^i decode rows and more, on average. */
typedef struct pace_size {
    double rows, ns; /* 0 = not measured */
} pace_size;

/* Prompt rows of late, the older the less they count: sums for the line through what they added to
 * their steps, by depth. Depth is the position where a step's rows of a prompt begin. */
typedef struct pace_line {
    double rows, depth, depth2, ns, depth_ns; /* rows: 0 = not measured */
} pace_line;

typedef struct pace {
    uint64_t target_ns; /* 0 = by PACE_SHARE */
    pace_size sizes[PACE_SIZES];
    pace_line line;
    double n_crowd;   /* prompts that wait, or more when there were more of late */
    double rows_each; /* for each of them, allowed in the last step that had both kinds */
    uint32_t n_mixed; /* such steps since the last one of decode rows alone */
} pace;

void pace_init(pace *p, uint64_t target_ns);

/* Prompt rows for a step with n_decode rows of running answers while n_prompts prompts wait for
 * theirs, at most room; depth is the average of those that would be dealt. 0 now and then, to
 * measure a step without. */
uint32_t pace_rows(pace *p, uint32_t n_decode, uint32_t n_prompts, double depth, uint32_t room);

/* A step took ns; depth is the average of its prompt rows. */
void pace_observe(pace *p, uint32_t n_decode, uint32_t n_prompt, double depth, uint64_t ns);

#endif /* WEFT_SCHED_PACE_H */
