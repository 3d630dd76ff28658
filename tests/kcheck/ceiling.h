/* ceiling.h - what this machine can do at most, for kernels' rates to be fractions of.
 *
 * Two kinds of limit. Multiplying: a loop that touches registers alone and does nothing but what a
 * level of instruction set multiplies and adds with, on enough independent sums to hide how long
 * an instruction takes. Where sums of products of bytes have 16 bits (AVX2) they are also widened,
 * as often as a format's codes fill them. A multiplication and its addition count as two
 * operations, as in the rates of products. Whatever else a kernel must do (apply scales, load, open
 * codes, multiply in several pieces) is not in it: a kernel's fraction says how much of its time
 * that takes, and a format that needs two such instructions an operation cannot exceed a half.
 *
 * Reading: one word of each cache line of as much memory as a product's weights take here. What
 * stays in the caches may well be faster than that.
 */
#ifndef WEFT_TESTS_CEILING_H
#define WEFT_TESTS_CEILING_H

#include <stddef.h>
#include <stdint.h>

struct pool;

#define CEILING_LOOPS_MAX 16

typedef enum ceiling_kind {
    CEILING_NONE,
    CEILING_READ,  /* bytes a second */
    CEILING_BYTES, /* operations a second on 8-bit codes */
    CEILING_WORDS, /* on 16-bit ones; bytes where the level has nothing better */
    CEILING_FLOAT, /* on floats */
    CEILING_BF16,  /* on pairs of bf16; floats where the level has no such instruction */
} ceiling_kind;

typedef struct ceiling_loop {
    uint32_t flag; /* of the level: cpu_flag */
    ceiling_kind kind;
    uint32_t widened; /* times that sums of 32 columns are widened; 0: no matter how often */
    const char *instructions;
    double ops; /* of one turn */
    void (*run)(uint64_t n_turns);
} ceiling_loop;

/* In ascending order of levels; at most CEILING_LOOPS_MAX. */
const ceiling_loop *ceiling_loops(size_t *count);

typedef struct ceilings {
    double ops_s[CEILING_LOOPS_MAX]; /* of a thread alone; 0 where the machine lacks the level */
    double read_bytes_s;             /* of all threads together */
    uint32_t n_threads;
} ceilings;

/* Takes a fraction of a second, and prints what it finds. */
void ceilings_measure(ceilings *c, uint32_t cpu_flags, struct pool *threads);
/* What all threads could do at a level if each were alone, widening sums so often; 0 where nothing
 * is known. */
double ceilings_of(const ceilings *c, uint32_t level_flags, ceiling_kind kind, uint32_t widened);

/* Bytes a second that the pool's threads read from memory together. */
double ceiling_read(struct pool *threads);

/* The time that rates are taken by: processor time of a thread that runs alone, so that a busy
 * machine does not pass for a slow kernel; else the wall clock. */
uint64_t ceiling_now_ns(uint32_t n_threads);

#endif /* WEFT_TESTS_CEILING_H */
