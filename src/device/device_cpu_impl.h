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
    char *workspace; /* of the operation being run */
    size_t workspace_bytes;
} device_cpu;

static inline device_cpu *device_cpu_of(device *d) { return (device_cpu *)d; }

/* Row r of an F32 tensor. */
static inline float *device_cpu_row(const tensor *t, uint32_t r) {
    return (float *)((char *)t->data + r * t->stride_bytes);
}

void device_cpu_kv_store(device *dev, const op_kv_store *op);
void device_cpu_attention(device *dev, const op_attention *op);

#endif /* WEFT_DEVICE_DEVICE_CPU_IMPL_H */
