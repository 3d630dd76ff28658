/* device_cpu_impl.h - the cpu device's insides, shared by its own files only.
 */
#ifndef WEFT_DEVICE_DEVICE_CPU_IMPL_H
#define WEFT_DEVICE_DEVICE_CPU_IMPL_H

#include <string.h>

#include "base/pool.h"
#include "device/device.h"

typedef struct device_cpu {
    device base;
    pool *pool;
    kernels_cpu kernels;
    uint32_t cpu_flags; /* that chose them */
    size_t chunk_bytes; /* of quantised rows that pass over the weights together */
    char *workspace;    /* of the operation being run */
    size_t workspace_bytes;
} device_cpu;

static inline device_cpu *device_cpu_of(device *d) { return (device_cpu *)d; }

/* Row r of an F32 tensor. */
static inline float *device_cpu_row(const tensor *t, uint32_t r) {
    return (float *)((char *)t->data + r * t->stride_bytes);
}

/* fn over rows [0, n_rows), in parallel when n_cols elements a row are worth it. */
typedef void device_cpu_rows_fn(const device_cpu *d, const void *op, uint32_t from, uint32_t to);
void device_cpu_run_rows(device_cpu *d, device_cpu_rows_fn *fn, const void *op, uint32_t n_rows,
                         uint32_t n_cols);

/* A record is one row of x as products with w read it; a precise weight's is two in a row. Records
 * of ACT_Q12 lie in groups (layout/act.h): a place is a row of a group of n_rows. */
typedef struct device_place {
    char *group;
    uint32_t n_rows, row;
} device_place;

size_t device_cpu_record_bytes(const device_cpu *d, const device_weight *w);
/* Of row `row` among n_rows whose records begin at first. */
device_place device_cpu_place(const device_cpu *d, const device_weight *w, char *first,
                              uint32_t row, uint32_t n_rows);
/* x into n_places, at least one. */
void device_cpu_quantise(const device_cpu *d, const device_weight *w, const device_place *to,
                         uint32_t n_places, const float *x);

/* A row's record that is a group of its own, to another place. */
void device_cpu_place_copy(const device_cpu *d, const device_weight *w, const device_place *to,
                           const char *record);

/* How many panels of w are best multiplied at once. */
uint32_t device_cpu_panels(const device_cpu *d, const device_weight *w);

/* n panels of w (at most device_cpu_panels) from panel p on, as a weight. One of a mapped weight is
 * packed into the thread's own place of place_bytes (the largest panel of the operation) at the end
 * of the workspace, where it stays until the thread asks for another. */
device_weight device_cpu_panels_of(const device_cpu *d, const device_weight *w, uint32_t p,
                                   uint32_t n, size_t place_bytes, uint32_t thread);

/* y[r][0..] <- the panels times records x, x_bytes apart, the first of a group; y rows are y_stride
 * floats apart, and columns beyond the panels' rows are not written. n_rows is at most
 * ACT_CHUNK_ROWS. */
void device_cpu_multiply(const device_cpu *d, const device_weight *panels, const char *x,
                         size_t x_bytes, uint32_t n_rows, float *y, size_t y_stride);

void device_cpu_experts(device *dev, const op_experts *op);
void device_cpu_kv_store(device *dev, const op_kv_store *op);
void device_cpu_attention(device *dev, const op_attention *op);

#endif /* WEFT_DEVICE_DEVICE_CPU_IMPL_H */
