/*
 * Runs jobs on threads of this library while their callers wait. The threads have full-size stacks
 * and are reused. Any number of callers may wait at the same time.
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

/* What each thread does around its jobs; all are NULL until kf_jobs_hooks() is called. */
struct kf_job_hooks {
    void *(*enter)(void);           /* before a thread's first job: attach to Python, then release it */
    void (*begin)(void *attached);  /* before each job */
    void (*end)(void *attached);    /* after each job */
};

/* Runs the job on another thread and returns when it is done. The job may live on the caller's
 * stack. Returns false, without running the job, if there is no thread to run it. */
bool kf_run_job(struct kf_job *job);

/* From now on, these hooks run around each job. Call this from within a job. */
void kf_jobs_hooks(const struct kf_job_hooks *hooks);

/* Makes a library thread enter Python and hold it, so that no other thread can run Python until
 * kf_jobs_release(). Repeated calls of either function are harmless. */
bool kf_jobs_park(void);
void kf_jobs_release(void);

#endif
