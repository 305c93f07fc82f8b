#include "simd.h"

/* x `[n]` times *by, in place: a pass that a loss nobody scaled can do without. */
void lls_scale(float *x, int64_t n, const float *by)
{
    const float factor = *by;
    if (factor == 1)
        return;
    SIMD for (int64_t i = 0; i < n; i++) x[i] *= factor;
}
