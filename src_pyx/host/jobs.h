/*
 * Work that a caller hands over and waits for. It runs on threads that belong to this library, have
 * a stack of their own, and are used again; so any number of callers go on side by side.
 */
#ifndef KF_JOBS_H
#define KF_JOBS_H

#include <pthread.h>
#include <stdbool.h>

struct kf_job {
    void (*run)(struct kf_job *job);
    struct kf_job *next;
    pthread_cond_t finished;
    bool is_finished;
};

/* What each thread does around its jobs; all may be NULL until kf_jobs_hooks() was called. */
struct kf_job_hooks {
    void *(*enter)(void);           /* on a thread's first job: attach to Python, keep nothing held */
    void (*begin)(void *attached);  /* before each job */
    void (*end)(void *attached);    /* after each job */
};

/* Runs the job on another thread and returns when it is done. The job lives on the caller's stack.
 * False if no thread could be had; then the job has not run. */
bool kf_run_job(struct kf_job *job);

/* From now on jobs run with these hooks around them. To be called from within a job. */
void kf_jobs_hooks(const struct kf_job_hooks *hooks);

/* One more library thread enters Python and keeps hold of it, so that no other thread can run
 * Python until kf_jobs_release(). Both may be called again and again. */
bool kf_jobs_park(void);
void kf_jobs_release(void);

#endif
