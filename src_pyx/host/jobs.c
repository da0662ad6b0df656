#define _GNU_SOURCE
#include "jobs.h"

#include <signal.h>
#include <stddef.h>

/* The usual size for a main thread. Pages that are never touched take no memory. */
#define STACK_BYTES ((size_t)8 << 20)

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t work = PTHREAD_COND_INITIALIZER;
static struct kf_job *first_job;
static struct kf_job **last_link = &first_job;
static unsigned n_queued, n_idle, n_threads;
static struct kf_job_hooks hooks;

static pthread_cond_t parking_changed = PTHREAD_COND_INITIALIZER;
static bool is_parked, is_release_wanted;

static struct kf_job *take_job(void)
{
    struct kf_job *job;

    while (first_job == NULL) {
        n_idle++;
        pthread_cond_wait(&work, &lock);
        n_idle--;
    }
    job = first_job;
    first_job = job->next;
    if (first_job == NULL)
        last_link = &first_job;
    n_queued--;
    return job;
}

static void run_hooked(struct kf_job *job, const struct kf_job_hooks *around, void **attached)
{
    if (around->enter && *attached == NULL)
        *attached = around->enter();
    if (around->begin)
        around->begin(*attached);
    job->run(job);
    if (around->end)
        around->end(*attached);
}

static void *work_forever(void *unused)
{
    void *attached = NULL;

    (void)unused;
    pthread_mutex_lock(&lock);
    for (;;) {
        struct kf_job *job = take_job();
        const struct kf_job_hooks around = hooks;

        pthread_mutex_unlock(&lock);
        run_hooked(job, &around, &attached);
        pthread_mutex_lock(&lock);
        job->is_finished = true;
        pthread_cond_signal(&job->finished);
    }
    return NULL;
}

/* The new thread blocks all signals: the host's own threads have to handle them. */
static bool start_thread(void)
{
    pthread_attr_t attributes;
    pthread_t thread;
    sigset_t all, before;
    int failed;

    if (pthread_attr_init(&attributes) != 0)
        return false;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    failed = pthread_create(&thread, &attributes, work_forever, NULL);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
    if (!failed)
        n_threads++;
    return !failed;
}

/* The caller holds the lock. If no thread is idle, starts one; if that fails, the job waits for a
 * running thread. */
static bool enqueue(struct kf_job *job)
{
    if (n_queued >= n_idle && !start_thread() && n_threads == 0)
        return false;
    job->next = NULL;
    job->is_finished = false;
    *last_link = job;
    last_link = &job->next;
    n_queued++;
    pthread_cond_signal(&work);
    return true;
}

bool kf_run_job(struct kf_job *job)
{
    bool accepted;

    pthread_cond_init(&job->finished, NULL);
    pthread_mutex_lock(&lock);
    accepted = enqueue(job);
    while (accepted && !job->is_finished)
        pthread_cond_wait(&job->finished, &lock);
    pthread_mutex_unlock(&lock);
    pthread_cond_destroy(&job->finished);
    return accepted;
}

void kf_jobs_hooks(const struct kf_job_hooks *wanted)
{
    pthread_mutex_lock(&lock);
    hooks = *wanted;
    pthread_mutex_unlock(&lock);
}

/* The hooks run around this job too, so this thread holds Python while it waits. */
static void stay_parked(struct kf_job *job)
{
    (void)job;
    pthread_mutex_lock(&lock);
    is_parked = true;
    pthread_cond_broadcast(&parking_changed);
    while (!is_release_wanted)
        pthread_cond_wait(&parking_changed, &lock);
    is_parked = is_release_wanted = false;
    pthread_cond_broadcast(&parking_changed);
    pthread_mutex_unlock(&lock);
}

bool kf_jobs_park(void)
{
    static struct kf_job parking = {.run = stay_parked, .finished = PTHREAD_COND_INITIALIZER};
    bool accepted = true;

    pthread_mutex_lock(&lock);
    if (!is_parked)
        accepted = enqueue(&parking);
    while (accepted && !is_parked)
        pthread_cond_wait(&parking_changed, &lock);
    pthread_mutex_unlock(&lock);
    return accepted;
}

void kf_jobs_release(void)
{
    pthread_mutex_lock(&lock);
    is_release_wanted = is_parked;
    pthread_cond_broadcast(&parking_changed);
    while (is_parked)
        pthread_cond_wait(&parking_changed, &lock);
    pthread_mutex_unlock(&lock);
}
