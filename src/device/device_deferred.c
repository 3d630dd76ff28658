/* device_deferred.c - a list of recorded operations and a cpu device that runs them at sync.
 *
 * Each operation's argument struct is copied into a record; sync plays the records in order.
 * Memory is ordinary, but fresh memory and freed scratch are filled with a byte that reads as NaN
 * in F32, so that a result read too early, or from scratch already given back, shows at once.
 */
#include "device/device_deferred.h"

#include "base/cpu.h"
#include "base/mem.h"
#include "device/device_cpu.h"

#include <string.h>

#define POISON_BYTE 0xFF
#define RECORDS_MAX (1u << 20)

/* One line an operation: struct op_<name>, member ops-><name>. */
#define OP_LIST(X) \
    X(embed)       \
    X(linear)      \
    X(rmsnorm)     \
    X(add_rmsnorm) \
    X(add)         \
    X(scale)       \
    X(softcap)     \
    X(act_mul) X(experts) X(rope_table) X(rope) X(kv_store) X(attention) X(gather) X(host)

typedef struct op_poison {
    void *p;
    size_t bytes;
} op_poison;

typedef enum record_kind {
#define X(name) RECORD_##name,
    OP_LIST(X)
#undef X
        RECORD_poison,
} record_kind;

typedef struct record {
    record_kind kind;
    union {
#define X(name) op_##name name;
        OP_LIST(X)
#undef X
        op_poison poison;
    } op;
} record;

typedef struct device_deferred {
    device base;
    device *inner;
    record *records;
    size_t n_records, capacity;
    bool is_out_of_memory; /* sticky until sync */
} device_deferred;

static device_deferred *deferred_of(device *d) { return (device_deferred *)d; }

static void push(device *dev, const record *r) {
    device_deferred *d = deferred_of(dev);
    if (d->is_out_of_memory) {
        return; /* no operation may run from here to the next sync */
    }
    if (d->n_records == d->capacity) {
        const size_t capacity = d->capacity == 0 ? 1024 : d->capacity * 2;
        record *grown = capacity > RECORDS_MAX
                            ? NULL
                            : mem_realloc(MEM_DEVICE, d->records, capacity, sizeof *grown);
        if (grown == NULL) {
            d->is_out_of_memory = true;
            return;
        }
        d->records = grown;
        d->capacity = capacity;
    }
    d->records[d->n_records++] = *r;
}

#define X(name)                                                   \
    static void record_##name(device *dev, const op_##name *op) { \
        record r = {.kind = RECORD_##name};                       \
        r.op.name = *op;                                          \
        push(dev, &r);                                            \
    }
OP_LIST(X)
#undef X

static void record_poisoning(device *dev, void *p, size_t bytes) {
    record r = {.kind = RECORD_poison};
    r.op.poison = (op_poison){p, bytes};
    push(dev, &r);
}

static void play(device *inner, const record *r) {
    switch (r->kind) {
#define X(name) \
    case RECORD_##name: inner->ops->name(inner, &r->op.name); break;
        OP_LIST(X)
#undef X
    case RECORD_poison: memset(r->op.poison.p, POISON_BYTE, r->op.poison.bytes); break;
    }
}

/* What the host does to memory comes after everything that was queued before. */
static void play_all(device_deferred *d) {
    for (size_t i = 0; i < d->n_records; i++) {
        play(d->inner, &d->records[i]);
    }
    d->n_records = 0;
}

static weft_status sync_records(device *dev, weft_error *err) {
    device_deferred *d = deferred_of(dev);
    play_all(d);
    if (d->is_out_of_memory) {
        d->is_out_of_memory = false;
        return weft_fail(err, WEFT_DEVICE, "deferred device: out of memory for its records");
    }
    return device_sync(d->inner, err);
}

static void *read_synced(device *dev, tensor src, void *staging) {
    const size_t bytes = dtype_row_bytes(src.dtype, src.cols);
    if (sync_records(dev, NULL) != WEFT_OK) {
        memset(staging, POISON_BYTE, bytes * src.rows);
        return staging;
    }
    for (uint32_t r = 0; r < src.rows; r++) {
        memcpy((char *)staging + r * bytes, (const char *)src.data + r * src.stride_bytes, bytes);
    }
    return staging;
}

static weft_status alloc_poisoned(device *dev, void **out, size_t bytes, weft_error *err) {
    const weft_status status = device_alloc(deferred_of(dev)->inner, out, bytes, err);
    if (status == WEFT_OK) {
        memset(*out, POISON_BYTE, bytes);
    }
    return status;
}

static void free_inner(device *dev, void *p, size_t bytes) {
    play_all(deferred_of(dev));
    device_free(deferred_of(dev)->inner, p, bytes);
}

static weft_status reserve_inner(device *dev, size_t bytes, weft_error *err) {
    play_all(deferred_of(dev));
    return device_reserve(deferred_of(dev)->inner, bytes, err);
}

static void pack_inner(device *dev, void *dst, tensor src) {
    deferred_of(dev)->inner->ops->pack(deferred_of(dev)->inner, dst, src);
}

static void unpack_inner(device *dev, void *dst, device_weight w) {
    device_unpack(deferred_of(dev)->inner, dst, w);
}

static void write_inner(device *dev, tensor dst, const void *src) {
    play_all(deferred_of(dev));
    device_write(deferred_of(dev)->inner, dst, src);
}

static void destroy_deferred(device *dev) {
    device_deferred *d = deferred_of(dev);
    device_destroy(&d->inner);
    mem_free(d->records);
    mem_free(d);
}

static const device_ops deferred_ops = {.destroy = destroy_deferred,
                                        .alloc = alloc_poisoned,
                                        .free = free_inner,
                                        .reserve = reserve_inner,
                                        .pack = pack_inner,
                                        .unpack = unpack_inner,
                                        .write = write_inner,
                                        .read = read_synced,
                                        .sync = sync_records,
                                        .poison = record_poisoning,
#define X(name) .name = record_##name,
                                        OP_LIST(X)
#undef X
};

weft_status device_deferred_create(device **out, pool *p, weft_error *err) {
    device_deferred *d = mem_zalloc(MEM_DEVICE, 1, sizeof *d);
    if (d == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the deferred device");
    }
    d->base = (device){.ops = &deferred_ops, .name = "deferred"};
    const weft_status status = device_cpu_create(&d->inner, p, 0, err);
    if (status != WEFT_OK) {
        mem_free(d);
        return status;
    }
    *out = &d->base;
    return WEFT_OK;
}
