/* clerk.c - a row of jobs and the thread that takes them in their order.
 *
 * The lock says whose a job is. It is held while done is called, so that a job is either withdrawn
 * before, and then dropped here, or handed back and not touched here any more: its owner may free
 * it while done has yet to return. A job whose done finds no memory keeps its place until it does.
 */
#include "api/clerk.h"

#include <pthread.h>
#include <time.h>

#include "base/check.h"
#include "base/mem.h"
#include "base/os.h"

#define RETRY_NS 10000000L

struct clerk {
    size_t bytes_max;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    clerk_job *first, *last; /* guarded by lock: not begun */
    clerk_load load;         /* guarded by lock */
    bool is_closing;         /* guarded by lock */
};

static void *clerk_main(void *arg);

weft_status clerk_create(clerk **out, size_t bytes_max, weft_error *err) {
    clerk *k = mem_zalloc(MEM_API, 1, sizeof *k);
    if (k == NULL) {
        return weft_fail(err, WEFT_NOMEM, "out of memory for the API's clerk");
    }
    k->bytes_max = bytes_max;
    (void)pthread_mutex_init(&k->lock, NULL); /* cannot fail without attributes */
    (void)pthread_cond_init(&k->changed, NULL);
    k->has_thread = os_thread_start(&k->thread, clerk_main, k) == 0;
    if (!k->has_thread) {
        clerk_destroy(&k);
        return weft_fail(err, WEFT_NOMEM, "cannot start the API's clerk");
    }
    *out = k;
    return WEFT_OK;
}

void clerk_destroy(clerk **out) {
    clerk *k = *out;
    *out = NULL;
    if (k == NULL) {
        return;
    }
    (void)pthread_mutex_lock(&k->lock);
    WEFT_ASSERT(k->first == NULL);
    k->is_closing = true;
    (void)pthread_cond_signal(&k->changed);
    (void)pthread_mutex_unlock(&k->lock);
    if (k->has_thread) {
        (void)pthread_join(k->thread, NULL);
    }
    WEFT_ASSERT(k->load.jobs == 0);
    WEFT_ASSERT(k->load.bytes == 0);
    (void)pthread_cond_destroy(&k->changed);
    (void)pthread_mutex_destroy(&k->lock);
    mem_free(k);
}

bool clerk_try_give(clerk *k, clerk_job *job) {
    (void)pthread_mutex_lock(&k->lock);
    WEFT_ASSERT(!k->is_closing);
    const bool is_taken = k->load.jobs == 0 || (k->load.bytes <= k->bytes_max &&
                                                job->bytes <= k->bytes_max - k->load.bytes);
    if (is_taken) {
        job->next = NULL;
        job->is_begun = job->is_withdrawn = false;
        *(k->last != NULL ? &k->last->next : &k->first) = job;
        k->last = job;
        k->load.jobs++;
        k->load.bytes += job->bytes;
        (void)pthread_cond_signal(&k->changed);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return is_taken;
}

/* The lock is held. */
static void count_out(clerk *k, const clerk_job *job) {
    k->load.jobs--;
    k->load.bytes -= job->bytes;
}

/* Takes it out of the row, wherever it stands; the lock is held. */
static void unlink_job(clerk *k, clerk_job *job) {
    clerk_job **at = &k->first;
    clerk_job *before = NULL;
    while (*at != job) {
        before = *at;
        at = &before->next;
    }
    *at = job->next;
    if (k->last == job) {
        k->last = before;
    }
}

bool clerk_withdraw(clerk *k, clerk_job *job) {
    (void)pthread_mutex_lock(&k->lock);
    const bool is_waiting = !job->is_begun;
    if (is_waiting) {
        unlink_job(k, job);
        count_out(k, job);
    }
    job->is_withdrawn = true;
    (void)pthread_mutex_unlock(&k->lock);
    return is_waiting;
}

clerk_load clerk_load_now(clerk *k) {
    (void)pthread_mutex_lock(&k->lock);
    const clerk_load load = k->load;
    (void)pthread_mutex_unlock(&k->lock);
    return load;
}

/* ---- the thread ---- */

/* Gives the job back; the lock is held, but for the pauses of a retry and for drop. */
static void give_back(clerk *k, clerk_job *job) {
    const struct timespec pause = {.tv_nsec = RETRY_NS};
    bool is_given = false;
    count_out(k, job);
    while (!job->is_withdrawn && !(is_given = job->done(job->owner))) {
        (void)pthread_mutex_unlock(&k->lock);
        (void)nanosleep(&pause, NULL);
        (void)pthread_mutex_lock(&k->lock);
    }
    if (!is_given) {
        (void)pthread_mutex_unlock(&k->lock);
        job->drop(job->owner);
        (void)pthread_mutex_lock(&k->lock);
    }
}

static void *clerk_main(void *arg) {
    clerk *k = arg;
    os_thread_name("weft-clerk");
    (void)pthread_mutex_lock(&k->lock);
    for (;;) {
        while (k->first == NULL && !k->is_closing) {
            (void)pthread_cond_wait(&k->changed, &k->lock);
        }
        clerk_job *job = k->first;
        if (job == NULL) {
            break;
        }
        unlink_job(k, job);
        job->is_begun = true;
        (void)pthread_mutex_unlock(&k->lock);
        job->run(job->owner);
        (void)pthread_mutex_lock(&k->lock);
        give_back(k, job);
    }
    (void)pthread_mutex_unlock(&k->lock);
    return NULL;
}
