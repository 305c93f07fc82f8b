/* What the losses share. */

#pragma once

#include <math.h>

#include "simd.h"

static inline int in_range(const int64_t *classes, int64_t n, int64_t k)
{
    for (int64_t i = 0; i < n; i++)
        if (classes[i] < 0 || classes[i] >= k)
            return 0;
    return 1;
}

/* In their order, however many threads made them. */
static inline double sum_in_order(const double *x, int64_t n)
{
    double total = 0;
    for (int64_t i = 0; i < n; i++)
        total += x[i];
    return total;
}

static inline float largest(const float *restrict x, int64_t k)
{
    float most = x[0];
    MAX(most) for (int64_t i = 0; i < k; i++) most = x[i] > most ? x[i] : most;
    return most;
}

#define LOWEST -88.0f /* what exponential() has to be given for less: of it, it is 0 */

/* exp(x) for x in LOWEST..0 and NaN, to 2 units in the last place: 2^n from its bits, and for what is left, at most
   log(2)/2, the polynomial of Cephes. From -87.7 down, where a float has no such 2^n, its bits are those of 0: were
   there anything, times a logit of -1e38 it would count. What sees to LOWEST must be a loop before this one's: in the same
   loop, compilers make a branch of it. */
static inline float exponential(float x)
{
    int32_t n = (int32_t)(x * 1.44269504f - 0.5f);
    float r = x - n * 0.693359375f + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    union {
        uint32_t bits;
        float value;
    } two_to_n = {((uint32_t)n + 127) << 23};
    return (p * r * r + r + 1) * two_to_n.value;
}
