/* Work shared among PyTorch's own threads: its OpenMP library is there already, and these names find it. Where they find
   nothing, one thread does all. */

#pragma once

#include <stdint.h>

#ifdef __ELF__
#define WEAK __attribute__((weak))
extern void GOMP_parallel(void (*)(void *), void *, unsigned, unsigned) WEAK;
extern int omp_get_thread_num(void) WEAK;
extern int omp_get_num_threads(void) WEAK;
#endif

/* Which of how many threads this is. */
struct share {
    int64_t index, of;
};

static inline struct share own_share(void)
{
#ifdef __ELF__
    if (GOMP_parallel && omp_get_thread_num && omp_get_num_threads)
        return (struct share){omp_get_thread_num(), omp_get_num_threads()};
#endif
    return (struct share){0, 1};
}

/* Where the part of a thread begins when n things are shared out in blocks; the next thread's is where it ends. */
static inline int64_t begin(struct share s, int64_t n)
{
    return n * s.index / s.of;
}

static inline int64_t end(struct share s, int64_t n)
{
    return n * (s.index + 1) / s.of;
}

/* work(data) in every thread, each of which finds its own_share; in this one alone where that is not `worth` it. */
static inline void share_out(void (*work)(void *), void *data, int worth)
{
#ifdef __ELF__
    if (worth && GOMP_parallel && omp_get_thread_num && omp_get_num_threads) {
        GOMP_parallel(work, data, 0, 0);
        return;
    }
#endif
    work(data);
}
