/* pack_cache.h - packed weights kept in files, so that the next start maps what this one packed.
 *
 *   <dir>/<key>.pack     the packed image of a whole model | footer
 *
 * A file is used only if it is whole: its name, key, size and checksum must fit. Anything else is
 * logged, left unused and replaced by the next writer. Files are written beside their place,
 * forced to disk and renamed, so that readers and several writers never see half of one. Together
 * they stay below bytes_max: those not used for longest go first.
 *
 * What an image holds is the caller's; the key must change with everything that it depends on.
 *
 * Threads: try_map and write_start from one thread; the writer has one of its own.
 */
#ifndef WEFT_WEIGHTS_PACK_CACHE_H
#define WEFT_WEIGHTS_PACK_CACHE_H

#include "base/os.h"
#include "base/pool.h"
#include "base/status.h"

typedef struct pack_cache {
    const char *dir;    /* made when missing */
    uint64_t bytes_max; /* of all files together */
    uint64_t bytes_min; /* smaller images are not worth a file */
    pool *pool;         /* checks a file on all threads */
} pack_cache;

typedef struct pack_cache_key {
    uint64_t model;  /* weights_identity */
    uint64_t layout; /* how the image is laid out */
} pack_cache_key;

/* An image as found: read-only, shared with every process that maps it. */
typedef struct pack_cache_image {
    os_mapping map;      /* empty when there is none */
    const uint8_t *data; /* [bytes], starts on a page */
    uint64_t bytes;
    uint64_t order; /* as given to write_start */
} pack_cache_image;

/* False, and *out empty, when no whole file of this key with an image of `bytes` is there. */
bool pack_cache_try_map(pack_cache_image *out, const pack_cache *c, pack_cache_key key,
                        uint64_t bytes);
void pack_cache_unmap(pack_cache_image *image); /* accepts an empty one */

typedef struct pack_cache_writer pack_cache_writer;

/* Begins to write data [bytes], which must stay as it is until write_end. Whatever goes wrong from
 * here on is logged and leaves no file. *out may be NULL afterwards: nothing to write. */
void pack_cache_write_start(pack_cache_writer **out, const pack_cache *c, pack_cache_key key,
                            uint64_t order, const void *data, uint64_t bytes);
/* Waits until the file is there; clears *w. Accepts NULL. */
void pack_cache_write_end(pack_cache_writer **w);

/* The file of a key, to be freed with mem_free; NULL when memory is short. */
char *pack_cache_path(const pack_cache *c, pack_cache_key key);

#endif /* WEFT_WEIGHTS_PACK_CACHE_H */
