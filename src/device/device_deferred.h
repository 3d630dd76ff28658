/* device_deferred.h - the test twin: records operations and runs them at device_sync.
 *
 * It keeps the model code honest for devices that work asynchronously: a model that reads a
 * result before device_sync, or uses scratch after giving it back, gets poison instead of numbers.
 * Runs on a cpu device with reference kernels.
 */
#ifndef WEFT_DEVICE_DEVICE_DEFERRED_H
#define WEFT_DEVICE_DEVICE_DEFERRED_H

#include "base/pool.h"
#include "device/device.h"

weft_status device_deferred_create(device **out, pool *p, weft_error *err) WEFT_NODISCARD;

#endif /* WEFT_DEVICE_DEVICE_DEFERRED_H */
