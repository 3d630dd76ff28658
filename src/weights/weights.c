/* weights.c - opens a model file, or all files of a split, as one set of tensors.
 *
 *   weights ─┬─ parts[0] ─ mapping, gguf   its metadata is the model's
 *            ├─ parts[1] ─ mapping, gguf
 *            └─ tensors[], names           those of all parts, in order of part and file
 *
 * Each part is parsed by itself (gguf.c). Then the tensor lists are joined, which is also where
 * two tensors of one name are found, and the parts give up their own lists. What the parts claim
 * about the whole (number, count, tensors in all) must agree with what is there.
 *
 * A file image given by the caller is a part without a mapping.
 */
#include "weights/weights.h"

#include <inttypes.h>
#include <stdatomic.h>

#include "base/check.h"
#include "base/checksum.h"
#include "base/mem.h"
#include "base/os.h"
#include "base/strmap.h"
#include "weights/gguf.h"
#include "weights/split.h"

typedef struct weights_part {
    char *path;
    os_mapping map; /* empty when the image belongs to the caller */
    gguf g;         /* tensors are NULL once joined */
    uint64_t n_bytes;
} weights_part;

struct weights {
    atomic_uint n_holders;
    char *path; /* as given */
    weights_part *parts;
    uint32_t n_parts;
    weights_tensor *tensors;
    size_t n_tensors;
    strmap names; /* tensor name -> index in tensors */
    uint64_t n_bytes;
};

static weft_status weights_new(weights **out, const char *path, weft_error *err);
static weft_status open_part(weights_part *p, const char *path, weft_error *err);
static weft_status open_siblings(weights *w, const split *s, weft_error *err);
static weft_status join_tensors(weights *w, weft_error *err);

weft_status weights_open(weights **out, const char *path, weft_error *err) {
    weights *w = NULL;
    split s = {0};
    weft_status status = weights_new(&w, path, err);
    if (status == WEFT_OK) {
        status = open_part(&w->parts[0], path, err);
    }
    if (status == WEFT_OK) {
        status = split_read(&s, &w->parts[0].g, path, err);
    }
    if (status == WEFT_OK && s.count > 1) {
        status = open_siblings(w, &s, err);
    }
    if (status == WEFT_OK) {
        status = join_tensors(w, err);
    }
    if (status != WEFT_OK) {
        weights_release(&w);
        return status;
    }
    *out = w;
    return WEFT_OK;
}

weft_status weights_open_memory(weights **out, const void *data, size_t len, const char *name,
                                weft_error *err) {
    weights *w = NULL;
    split s = {0};
    weft_status status = weights_new(&w, name, err);
    if (status == WEFT_OK) {
        w->parts[0].n_bytes = len;
        status = gguf_parse(&w->parts[0].g, data, len, name, err);
    }
    if (status == WEFT_OK) {
        status = split_read(&s, &w->parts[0].g, name, err);
    }
    if (status == WEFT_OK && s.count > 1) {
        status = weft_fail(err, WEFT_UNSUPPORTED,
                           "%s: part %" PRIu32 " of %" PRIu32 "; a split model is opened by path",
                           name, s.no + 1, s.count);
    }
    if (status == WEFT_OK) {
        status = join_tensors(w, err);
    }
    if (status != WEFT_OK) {
        weights_release(&w);
        return status;
    }
    *out = w;
    return WEFT_OK;
}

weights *weights_retain(weights *w) {
    const unsigned before = atomic_fetch_add_explicit(&w->n_holders, 1, memory_order_relaxed);
    WEFT_ASSERT(before >= 1);
    return w;
}

void weights_release(weights **w) {
    weights *const gone = *w;
    *w = NULL;
    if (gone == NULL) {
        return;
    }
    const unsigned before = atomic_fetch_sub_explicit(&gone->n_holders, 1, memory_order_acq_rel);
    WEFT_ASSERT(before >= 1);
    if (before > 1) {
        return;
    }
    strmap_deinit(&gone->names);
    mem_free(gone->tensors);
    for (uint32_t i = 0; i < gone->n_parts; i++) {
        gguf_deinit(&gone->parts[i].g);
        os_unmap_file(&gone->parts[i].map);
        mem_free(gone->parts[i].path);
    }
    mem_free(gone->parts);
    mem_free(gone->path);
    mem_free(gone);
}

const char *weights_path(const weights *w) { return w->path; }

uint32_t weights_version(const weights *w) { return w->parts[0].g.version; }

uint64_t weights_file_bytes(const weights *w) { return w->n_bytes; }

/* Metadata and tensor list of a part: all that stands before the first tensor's data. */
static size_t header_bytes(const weights *w, uint32_t part) {
    const os_mapping *map = &w->parts[part].map;
    size_t end = map->len;
    for (size_t i = 0; i < w->n_tensors; i++) {
        const weights_tensor *t = &w->tensors[i];
        if (t->part == part && t->data != NULL && (size_t)(t->data - map->data) < end) {
            end = (size_t)(t->data - map->data);
        }
    }
    return end;
}

uint64_t weights_identity(const weights *w) {
    uint64_t sum = 1;
    for (uint32_t i = 0; i < w->n_parts; i++) {
        const os_mapping *map = &w->parts[i].map;
        if (map->data == NULL) {
            return 0;
        }
        const uint64_t place[] = {map->len, map->device, map->inode, (uint64_t)map->modified_ns};
        sum = checksum(place, sizeof place, sum);
        sum = checksum(map->data, header_bytes(w, i), sum);
    }
    return sum != 0 ? sum : 1;
}

size_t weights_tensor_count(const weights *w) { return w->n_tensors; }

const weights_tensor *weights_tensor_at(const weights *w, size_t i) {
    WEFT_ASSERT(i < w->n_tensors);
    return &w->tensors[i];
}

const weights_tensor *weights_find(const weights *w, const char *name) {
    uint32_t i = 0;
    if (!strmap_get(&w->names, str_from_cstr(name), &i)) {
        return NULL;
    }
    return weights_tensor_at(w, i);
}

void weights_drop_pages(const weights *w, const weights_tensor *t) {
    weights_drop_bytes(w, t, 0, t->n_bytes);
}

void weights_drop_bytes(const weights *w, const weights_tensor *t, uint64_t from, uint64_t bytes) {
    WEFT_ASSERT(t->part < w->n_parts);
    WEFT_ASSERT(from <= t->n_bytes);
    WEFT_ASSERT(bytes <= t->n_bytes - from);
    const os_mapping *map = &w->parts[t->part].map;
    if (map->data != NULL) {
        os_mapping_drop(map, (size_t)(t->data - map->data) + (size_t)from, (size_t)bytes);
    }
}

void weights_want_pages(const weights *w, const weights_tensor *t) {
    WEFT_ASSERT(t->part < w->n_parts);
    const os_mapping *map = &w->parts[t->part].map;
    if (map->data != NULL) {
        os_mapping_want(map, (size_t)(t->data - map->data), (size_t)t->n_bytes);
    }
}

size_t weights_meta_count(const weights *w) { return w->parts[0].g.n_meta; }

const meta_value *weights_meta_at(const weights *w, size_t i) {
    WEFT_ASSERT(i < w->parts[0].g.n_meta);
    return &w->parts[0].g.meta[i];
}

const meta_value *weights_meta(const weights *w, const char *key) {
    return gguf_find(&w->parts[0].g, key);
}

/* One holder, one empty part. */
static weft_status weights_new(weights **out, const char *path, weft_error *err) {
    weights *w = mem_zalloc(MEM_WEIGHTS, 1, sizeof(*w));
    if (w == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory", path);
    }
    atomic_init(&w->n_holders, 1);
    strmap_init(&w->names, MEM_WEIGHTS);
    w->path = mem_strndup(MEM_WEIGHTS, path, strlen(path));
    w->parts = mem_zalloc(MEM_WEIGHTS, 1, sizeof(*w->parts));
    w->n_parts = w->parts != NULL ? 1 : 0;
    if (w->path == NULL || w->parts == NULL) {
        weights_release(&w);
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory", path);
    }
    *out = w;
    return WEFT_OK;
}

/* What it has taken before a failure stays in *p, which belongs to a weights. */
static weft_status open_part(weights_part *p, const char *path, weft_error *err) {
    p->path = mem_strndup(MEM_WEIGHTS, path, strlen(path));
    if (p->path == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory", path);
    }
    const weft_status status = os_map_file(&p->map, path, err);
    if (status != WEFT_OK) {
        return status;
    }
    p->n_bytes = p->map.len;
    return gguf_parse(&p->g, p->map.data, p->map.len, path, err);
}

static weft_status check_sibling(const weights_part *p, const split *want, const char *whole,
                                 weft_error *err) {
    split s = {0};
    const weft_status status = split_read(&s, &p->g, p->path, err);
    if (status != WEFT_OK) {
        return status;
    }
    if (s.no != want->no || s.count != want->count) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: says it is part %" PRIu32 " of %" PRIu32 "; want part %" PRIu32
                         " of %" PRIu32 " of %s",
                         p->path, s.no + 1, s.count, want->no + 1, want->count, whole);
    }
    if (s.n_tensors != want->n_tensors) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: key 'split.tensors.count' is %" PRIu64 "; %s has %" PRIu64, p->path,
                         s.n_tensors, whole, want->n_tensors);
    }
    return WEFT_OK;
}

static weft_status open_sibling(weights *w, const split *given, uint32_t no, weft_error *err) {
    char *path = NULL;
    weft_status status = split_path(&path, given, w->path, no, err);
    if (status != WEFT_OK) {
        return status;
    }
    if (!os_is_file(path)) {
        status = weft_fail(err, WEFT_NOTFOUND,
                           "%s: no such file; it is part %" PRIu32 " of %" PRIu32 " of %s", path,
                           no + 1, given->count, w->path);
    } else {
        status = open_part(&w->parts[no], path, err);
    }
    if (status == WEFT_OK) {
        split want = *given;
        want.no = no;
        status = check_sibling(&w->parts[no], &want, w->path, err);
    }
    mem_free(path);
    return status;
}

/* The part that was given is open as parts[0] and moves to its own place. */
static weft_status open_siblings(weights *w, const split *s, weft_error *err) {
    WEFT_ASSERT(w->n_parts == 1);
    WEFT_ASSERT(s->count <= WEIGHTS_PARTS_MAX);
    weights_part *parts = mem_zalloc(MEM_WEIGHTS, s->count, sizeof(*parts));
    if (parts == NULL) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for %" PRIu32 " parts", w->path,
                         s->count);
    }
    parts[s->no] = w->parts[0];
    mem_free(w->parts);
    w->parts = parts;
    w->n_parts = s->count;

    size_t n_tensors = parts[s->no].g.n_tensors;
    for (uint32_t i = 0; i < s->count; i++) {
        if (i == s->no) {
            continue;
        }
        const weft_status status = open_sibling(w, s, i, err);
        if (status != WEFT_OK) {
            return status;
        }
        n_tensors += parts[i].g.n_tensors;
    }
    if (n_tensors != s->n_tensors) {
        return weft_fail(err, WEFT_FORMAT,
                         "%s: key 'split.tensors.count' is %" PRIu64 " but the %" PRIu32
                         " parts have %zu tensors",
                         w->path, s->n_tensors, s->count, n_tensors);
    }
    return WEFT_OK;
}

static weft_status add_tensor(weights *w, const weights_tensor *t, uint32_t part, weft_error *err) {
    uint32_t earlier = 0;
    if (strmap_get(&w->names, t->name, &earlier)) {
        const weights_part *p = &w->parts[part];
        return weft_fail(err, WEFT_FORMAT, "%s: tensor '" STR_FMT "' is there twice",
                         p->path != NULL ? p->path : w->path, GGUF_NAME_ARG(t->name));
    }
    if (!strmap_put(&w->names, t->name, (uint32_t)w->n_tensors)) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for tensor names", w->path);
    }
    w->tensors[w->n_tensors] = *t;
    w->tensors[w->n_tensors].part = part;
    w->n_tensors++;
    return WEFT_OK;
}

static weft_status join_tensors(weights *w, weft_error *err) {
    size_t n_tensors = 0;
    for (uint32_t i = 0; i < w->n_parts; i++) {
        n_tensors += w->parts[i].g.n_tensors;
        w->n_bytes += w->parts[i].n_bytes;
    }
    WEFT_ASSERT(n_tensors <= WEIGHTS_TENSORS_MAX);
    w->tensors = mem_array(MEM_WEIGHTS, n_tensors, sizeof(*w->tensors));
    if (w->tensors == NULL || !strmap_reserve(&w->names, (uint32_t)n_tensors)) {
        return weft_fail(err, WEFT_NOMEM, "%s: out of memory for %zu tensors", w->path, n_tensors);
    }
    for (uint32_t i = 0; i < w->n_parts; i++) {
        gguf *g = &w->parts[i].g;
        for (size_t k = 0; k < g->n_tensors; k++) {
            const weft_status status = add_tensor(w, &g->tensors[k], i, err);
            if (status != WEFT_OK) {
                return status;
            }
        }
        mem_free(g->tensors);
        g->tensors = NULL;
        g->n_tensors = 0;
    }
    return WEFT_OK;
}
