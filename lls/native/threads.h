/* Work shared among PyTorch's own threads: its OpenMP library is there already, and these names find it. Where they find
   nothing, one thread does all. */

#pragma once

#include <stdint.h>

enum { WORTH = 8192 }; /* numbers, from which on threads are worth being woken */

/* Which of how many threads has a part of the work. */
struct share {
    int64_t index, of;
};

/* Where that part begins when n things are shared out in blocks; the next thread's is where it ends. */
static inline int64_t begin(struct share s, int64_t n)
{
    return n * s.index / s.of;
}

static inline int64_t end(struct share s, int64_t n)
{
    return n * (s.index + 1) / s.of;
}

typedef void work_of(void *data, struct share own);

#ifdef __ELF__
#define WEAK __attribute__((weak))
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) WEAK;
extern int omp_get_thread_num(void) WEAK;
extern int omp_get_num_threads(void) WEAK;

struct job {
    work_of *work;
    void *data;
};

static void do_share(void *data)
{
    struct job *job = data;
    job->work(job->data, (struct share){omp_get_thread_num(), omp_get_num_threads()});
}
#endif

/* work(data, share) in as many threads as OpenMP has for this one; in this one alone where so few `numbers` are not worth
   it. */
static inline void share_out(work_of *work, void *data, int64_t numbers)
{
#ifdef __ELF__
    if (numbers > WORTH && GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
        struct job job = {work, data};
        GOMP_parallel(do_share, &job, 0, 0);
        return;
    }
#endif
    work(data, (struct share){0, 1});
}
