/* device_cpu.h - the processor as a device: kernels over the thread pool, memory is host memory.
 */
#ifndef WEFT_DEVICE_DEVICE_CPU_H
#define WEFT_DEVICE_DEVICE_CPU_H

#include "base/pool.h"
#include "device/device.h"

/* The pool is borrowed and must outlive the device. */
weft_status device_cpu_create(device **out, pool *p, uint32_t cpu_flags,
                              weft_error *err) WEFT_NODISCARD;

/* What BF16 weights multiply from now on: WEFT_DTYPE_F32 (as created) or WEFT_DTYPE_BF16, which the
 * processor must be able to. Before any operation. */
weft_status device_cpu_set_acts(device *dev, weft_dtype act_type, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_DEVICE_DEVICE_CPU_H */
