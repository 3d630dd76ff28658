/* sim_disk.h - a disk for the simulation: what src/engine/keep.c asks of the page store and of the
 * executor, without files, threads or tensors, and with crashes.
 *
 *   keep_save ──► buffer ──commit──► queued ──(sim_disk_work)──► file ──► keep_recall ──► cells
 *                                       └── crash: lost, or a file whose bytes are wrong
 *
 * A page's bytes are the hashes that the fake model wrote into its cells. What is committed must be
 * a page that was run: the same in every group, each cell following from the one before it. A file
 * may go bad at any time, as may one that a crash caught being written; reading finds out, as the
 * real store does by its sums.
 *
 * A crash comes out of any call, after a drawn number of them: sim_disk_crash_in says when, and the
 * jump goes to where sim_disk_survive was set.
 */
#ifndef WEFT_TESTS_SIM_SIM_DISK_H
#define WEFT_TESTS_SIM_SIM_DISK_H

#include <setjmp.h>

#include "engine/keep.h"
#include "kv/kv_seqs.h"

#define SIM_PAGES_MAX 1024u

typedef struct sim_disk_tally {
    uint64_t n_saved, n_recalled, n_lost, n_bad, n_evicted, n_crashes;
} sim_disk_tally;

extern jmp_buf sim_disk_survive;

/* cells: [KV_GROUPS_MAX][SIM_PAGES_MAX][PAGE_TOKENS]. follows: the hash after this one and a unit.
 * An empty disk of n_files. */
typedef uint64_t sim_disk_hash(uint64_t before, kv_unit unit);
void sim_disk_format(uint32_t n_files, uint64_t (*cells)[SIM_PAGES_MAX][PAGE_TOKENS],
                     sim_disk_hash *follows, uint64_t seed);
/* The process's side: a keep over this kv, after every start and crash. */
keep sim_disk_start(kv_seqs *kv, uint32_t n_groups, uint32_t batch_rows);
void sim_disk_stop(keep *k);

/* The writer had time for at most n pages. */
void sim_disk_work(uint32_t n);
void sim_disk_crash_in(uint32_t n_calls); /* 0 = never */
void sim_disk_check(void);
sim_disk_tally sim_disk_tally_now(void);

#endif /* WEFT_TESTS_SIM_SIM_DISK_H */
