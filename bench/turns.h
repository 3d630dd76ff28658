/* turns.h - how many tokens a program of turns.py has made, where turns.py reads it.
 */
#ifndef WEFT_BENCH_TURNS_H
#define WEFT_BENCH_TURNS_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

typedef struct turns_count {
    volatile uint64_t tokens;
    volatile uint64_t last_ns; /* when the last of them was made, on the monotonic clock */
} turns_count;

static turns_count *turns_open(const char *path) {
    const int fd = open(path, O_RDWR | O_CREAT, 0600);
    void *p = MAP_FAILED;
    if (fd >= 0 && ftruncate(fd, sizeof(turns_count)) == 0) {
        p = mmap(NULL, sizeof(turns_count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    if (p == MAP_FAILED) {
        perror(path);
        exit(1);
    }
    return (turns_count *)p;
}

static void turns_made(turns_count *c, uint64_t tokens) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    c->last_ns = (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
    c->tokens = tokens;
}

#endif /* WEFT_BENCH_TURNS_H */
