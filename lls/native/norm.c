/* lls/layers/norm.py: batch normalisation, something added to it, and ReLU, of n pixels of c channels each.

   Sums over pixels are made in BLOCKS, whoever has them, and added up in their order: threads change no bit. They are of
   doubles, so that one pass does for mean and variance. */

#include <math.h>

#include "simd.h"
#include "threads.h"

enum { BLOCKS = 32, ROWS = 4 };

struct norm {
    int64_t n, c;
    const float *x, *add, *y, *grad; /* add may be NULL */
    const float *scale, *shift, *mean;
    float *out, *masked;
    double *sums; /* `[BLOCKS, 2, c]`: of a and of a·x, where a is x itself, or what a gradient is after ReLU */
};

static void moments(void *data, struct share own)
{
    const struct norm *of = data;
    const int64_t n = of->n, c = of->c;
    for (int64_t block = begin(own, BLOCKS); block < end(own, BLOCKS); block++) {
        double *restrict sum = of->sums + block * 2 * c, *restrict square = sum + c;
        const struct share its = {block, BLOCKS};
        int64_t i = begin(its, n);
        memset(sum, 0, sizeof(double) * 2 * c);
        for (; i + ROWS <= end(its, n); i += ROWS) { /* several at once: less often read and written are the sums */
            const float *restrict x = of->x + i * c;
            SIMD for (int64_t j = 0; j < c; j++)
            {
                const double a = x[j], b = x[j + c], d = x[j + 2 * c], e = x[j + 3 * c];
                sum[j] += (a + b) + (d + e);
                square[j] += (a * a + b * b) + (d * d + e * e);
            }
        }
        for (; i < end(its, n); i++) {
            const float *restrict x = of->x + i * c;
            SIMD for (int64_t j = 0; j < c; j++)
            {
                const double a = x[j];
                sum[j] += a;
                square[j] += a * a;
            }
        }
    }
}

static void normalise(void *data, struct share own)
{
    const struct norm *of = data;
    const int64_t c = of->c;
    const float *restrict scale = of->scale, *restrict shift = of->shift;
    for (int64_t i = begin(own, of->n); i < end(own, of->n); i++) {
        const float *restrict x = of->x + i * c, *restrict add = of->add ? of->add + i * c : NULL;
        float *restrict out = of->out + i * c;
        if (add)
            SIMD for (int64_t j = 0; j < c; j++)
            {
                const float y = x[j] * scale[j] + shift[j] + add[j];
                out[j] = y < 0 ? 0 : y; /* NaN stays */
            }
        else
            SIMD for (int64_t j = 0; j < c; j++)
            {
                const float y = x[j] * scale[j] + shift[j];
                out[j] = y < 0 ? 0 : y;
            }
    }
}

static void mask(void *data, struct share own)
{
    const struct norm *of = data;
    const int64_t n = of->n, c = of->c;
    for (int64_t block = begin(own, BLOCKS); block < end(own, BLOCKS); block++) {
        double *restrict sum = of->sums + block * 2 * c, *restrict product = sum + c;
        const struct share its = {block, BLOCKS};
        memset(sum, 0, sizeof(double) * 2 * c);
        for (int64_t i = begin(its, n); i < end(its, n); i++) {
            const float *restrict x = of->x + i * c, *restrict y = of->y + i * c, *restrict grad = of->grad + i * c;
            float *restrict masked = of->masked + i * c;
            SIMD for (int64_t j = 0; j < c; j++)
            {
                const float a = y[j] <= 0 ? 0 : grad[j];
                masked[j] = a;
                sum[j] += a;
                product[j] += (double)a * x[j];
            }
        }
    }
}

static void differentiate(void *data, struct share own)
{
    const struct norm *of = data;
    const int64_t c = of->c;
    const float *restrict scale = of->scale, *restrict shift = of->shift, *restrict mean = of->mean;
    const float *restrict by_x = scale + c;
    for (int64_t i = begin(own, of->n); i < end(own, of->n); i++) {
        const float *restrict x = of->x + i * c;
        const float *masked = of->masked + i * c; /* it may be where the result goes */
        float *out = of->out + i * c;
        SIMD for (int64_t j = 0; j < c; j++) out[j] = scale[j] * masked[j] + by_x[j] * (x[j] - mean[j]) + shift[j];
    }
}

/* Of channel j, both sums. */
static inline void total(const struct norm *of, int64_t j, double *sum, double *other)
{
    *sum = *other = 0;
    for (int64_t block = 0; block < BLOCKS; block++) {
        *sum += of->sums[block * 2 * of->c + j];
        *other += of->sums[block * 2 * of->c + of->c + j];
    }
}

/* y `[n, c]`: ReLU of x, normalised with its own mean and variance, times weight plus bias `[c]`, plus `add` `[n, c]` if
   that is not NULL. mean, inverse `[c]`: that mean, and 1 / standard deviation. running_mean and running_var `[c]` take
   up `momentum` of the mean and of the unbiased variance. n > 1. Returns DONE or OUT_OF_MEMORY. */
int lls_norm_relu(const float *x, const float *add, int64_t n, int64_t c, const float *weight, const float *bias,
                  double eps, double momentum, float *running_mean, float *running_var, float *mean, float *inverse,
                  float *y)
{
    double *memory = malloc(sizeof(double) * (2 * BLOCKS + 1) * c);
    if (!memory)
        return OUT_OF_MEMORY;
    float *scale = (float *)(memory + 2 * BLOCKS * c), *shift = scale + c;
    struct norm of = {.n = n, .c = c, .x = x, .add = add, .scale = scale, .shift = shift, .out = y, .sums = memory};
    share_out(moments, &of, n * c);
    for (int64_t j = 0; j < c; j++) {
        double sum, squares;
        total(&of, j, &sum, &squares);
        const double m = sum / n, deviations = squares - sum * m, var = deviations < 0 ? 0 : deviations / n;
        mean[j] = (float)m;
        inverse[j] = (float)(1 / sqrt(var + eps));
        scale[j] = weight[j] * inverse[j];
        shift[j] = bias[j] - (float)m * scale[j];
        running_mean[j] += (float)(momentum * (m - running_mean[j]));
        running_var[j] += (float)(momentum * (var * n / (n - 1) - running_var[j]));
    }
    share_out(normalise, &of, n * c);
    free(memory);
    return DONE;
}

/* The gradients, of that to y: grad_x, grad_add `[n, c]`, grad_weight, grad_bias `[c]`; grad_add may be NULL. */
int lls_norm_relu_backward(const float *grad, const float *x, const float *y, int64_t n, int64_t c, const float *weight,
                           const float *mean, const float *inverse, float *grad_x, float *grad_add, float *grad_weight,
                           float *grad_bias)
{
    double *memory = malloc(sizeof(double) * (2 * BLOCKS + 2) * c);
    if (!memory)
        return OUT_OF_MEMORY;
    float *scale = (float *)(memory + 2 * BLOCKS * c), *by_x = scale + c, *shift = by_x + c;
    struct norm of = {.n = n, .c = c, .x = x, .y = y, .grad = grad, .scale = scale, .shift = shift, .mean = mean,
                      .out = grad_x, .masked = grad_add ? grad_add : grad_x, .sums = memory};
    share_out(mask, &of, n * c);
    for (int64_t j = 0; j < c; j++) {
        double sum, product;
        total(&of, j, &sum, &product);
        const double dot = (product - mean[j] * sum) * inverse[j], a = weight[j] * inverse[j];
        grad_weight[j] = (float)dot;
        grad_bias[j] = (float)sum;
        scale[j] = (float)a;
        by_x[j] = (float)(-a * inverse[j] * dot / n);
        shift[j] = (float)(-a * sum / n);
    }
    share_out(differentiate, &of, n * c);
    free(memory);
    return DONE;
}
