/* device.c - what all devices share: the thin public face, sizes, and the scratch region.
 *
 * Scratch is a bump allocator over one device allocation. A forward marks, takes tensors in the
 * order its steps need them and releases back to the mark, so that the peak is a function of the
 * model's shape alone and the planner can compute it (plan_scratch_bytes). Rows are padded to 64
 * bytes: kernels may then use aligned tiles, and neighbouring rows never share a cache line between
 * threads.
 */
#include "device/device.h"

#include "base/check.h"

void device_destroy(device **d) {
    if (*d != NULL) {
        (*d)->ops->destroy(*d);
        *d = NULL;
    }
}

weft_status device_alloc(device *d, void **out, size_t bytes, weft_error *err) {
    return d->ops->alloc(d, out, bytes, err);
}

void device_free(device *d, void *p, size_t bytes) {
    if (p != NULL) {
        d->ops->free(d, p, bytes);
    }
}

weft_status device_reserve(device *d, size_t bytes, weft_error *err) {
    return d->ops->reserve(d, bytes, err);
}

device_weight device_pack(device *d, void *dst, tensor src) {
    WEFT_ASSERT(pack_is_supported(src.dtype));
    d->ops->pack(d, dst, src);
    return (device_weight){.data = dst, .rows = src.rows, .cols = src.cols, .dtype = src.dtype};
}

device_stack device_pack_stack(device *d, void *dst, const tensor *first, uint32_t n) {
    tensor src = *first;
    device_stack s = {.w = device_pack(d, dst, src), .n = n};
    for (uint32_t i = 1; i < n; i++) {
        src.data = (char *)src.data + src.rows * src.stride_bytes;
        (void)device_pack(d, device_stack_at(&s, i).data, src);
    }
    return s;
}

device_weight device_stack_at(const device_stack *s, uint32_t i) {
    device_weight w = s->w;
    const size_t bytes = w.is_mapped ? w.rows * dtype_row_bytes(w.dtype, w.cols)
                                     : pack_weight_bytes(w.dtype, w.rows, w.cols);
    w.data = (char *)w.data + i * bytes;
    return w;
}

device_weight device_map(tensor src) {
    WEFT_ASSERT(pack_is_supported(src.dtype));
    WEFT_ASSERT(src.stride_bytes == dtype_row_bytes(src.dtype, src.cols));
    return (device_weight){.data = src.data,
                           .rows = src.rows,
                           .cols = src.cols,
                           .dtype = src.dtype,
                           .is_mapped = true};
}

void device_unpack(device *d, void *dst, device_weight w) { d->ops->unpack(d, dst, w); }

void device_write(device *d, tensor dst, const void *src) { d->ops->write(d, dst, src); }

void *device_read(device *d, tensor src, void *staging, size_t *stride_bytes) {
    void *p = d->ops->read(d, src, staging);
    *stride_bytes = p == src.data ? src.stride_bytes : dtype_row_bytes(src.dtype, src.cols);
    return p;
}

weft_status device_sync(device *d, weft_error *err) { return d->ops->sync(d, err); }

weft_status device_scratch_init(device_scratch *s, device *dev, size_t bytes, weft_error *err) {
    *s = (device_scratch){.dev = dev, .bytes = bytes};
    return device_alloc(dev, &s->base, bytes, err);
}

void device_scratch_deinit(device_scratch *s) {
    if (s->dev != NULL) {
        device_free(s->dev, s->base, s->bytes);
    }
    *s = (device_scratch){0};
}

static size_t padded_row_bytes(weft_dtype dtype, uint32_t cols) {
    const size_t bytes = dtype_row_bytes(dtype, cols);
    const size_t lines = (bytes + DEVICE_SCRATCH_ALIGN - 1) / DEVICE_SCRATCH_ALIGN;
    return (lines | 1u) * DEVICE_SCRATCH_ALIGN;
}

size_t device_scratch_tensor_bytes(weft_dtype dtype, uint32_t rows, uint32_t cols) {
    return padded_row_bytes(dtype, cols) * rows;
}

tensor device_scratch_take(device_scratch *s, weft_dtype dtype, uint32_t rows, uint32_t cols) {
    const size_t bytes = device_scratch_tensor_bytes(dtype, rows, cols);
    WEFT_ASSERT(bytes <= s->bytes - s->used_bytes);
    tensor t = {.data = (char *)s->base + s->used_bytes,
                .stride_bytes = padded_row_bytes(dtype, cols),
                .rows = rows,
                .cols = cols,
                .dtype = dtype};
    s->used_bytes += bytes;
    if (s->used_bytes > s->peak_bytes) {
        s->peak_bytes = s->used_bytes;
    }
    return t;
}

size_t device_scratch_mark(const device_scratch *s) { return s->used_bytes; }

void device_scratch_release(device_scratch *s, size_t mark) {
    WEFT_ASSERT(mark <= s->used_bytes);
    s->dev->ops->poison(s->dev, (char *)s->base + mark, s->used_bytes - mark);
    s->used_bytes = mark;
}
