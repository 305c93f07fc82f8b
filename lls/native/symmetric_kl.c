/* lls/symmetric_kl.py on a CPU, in float32: the value and both gradients of a sample while its row is in the cache.
   Symbols as there. */

#include "kl.h"

/* A sample's logits z and row v = Q_y: log softmax(z) is z - top_z - log_z, and so for v. */
struct sample {
    const float *z, *v;
    float top_z, log_z, top_v, log_v, alpha;
};

/* Sums over classes. */
struct sums {
    float loss, pm, h;
};

/* softmax(x) in `out`; returns the log of the sum that it divided by. */
static inline float softmax(const float *restrict x, int64_t k, float top, float *restrict out)
{
    float sum = 0;
    lower(x, k, top, out);
    SUM(sum) for (int64_t i = 0; i < k; i++) sum += out[i] = exponential(out[i]);
    SIMD for (int64_t i = 0; i < k; i++) out[i] /= sum;
    return logf(sum);
}

/* M of a class that is not y. */
static inline float log_ratio(const struct sample s, int64_t i)
{
    return (s.v[i] - s.top_v) - (s.z[i] - s.top_z) + (s.log_z - s.log_v);
}

/* Adds up classes from..to, none of which is y. */
static inline struct sums add_up(const struct sample s, const float *restrict p, const float *restrict q, int64_t from,
                                 int64_t to)
{
    float loss = 0, pm = 0, h = 0;
    SUM(loss, pm, h) for (int64_t i = from; i < to; i++)
    {
        float m = log_ratio(s, i), t = s.alpha * q[i], d = t - p[i];
        loss += d * m;
        pm += p[i] * m;
        h += d + t * m;
    }
    return (struct sums){loss, pm, h};
}

/* In classes from..to, none of which is y: the gradient to the logits in place of p, and to the row in place of q. */
static inline void differentiate(const struct sample s, float *restrict p, float *restrict q, int64_t from, int64_t to,
                                 struct sums all)
{
    SIMD for (int64_t i = from; i < to; i++)
    {
        float m = log_ratio(s, i), t = s.alpha * q[i], d = t - p[i];
        p[i] = -d - p[i] * (m - all.pm);
        q[i] = d + t * m - q[i] * all.h;
    }
}

/* loss: `factor` times the sum over the n samples. to_z, to_q: `[n, k]`, the gradients, without the factor, to the
   logits z `[n, k]` and to the rows of q `[k, k]` that y `[n]` chooses. Returns 0, and has done nothing, if a y is no
   class. */
int lls_symmetric_kl(const float *z, const float *q, const int64_t *y, int64_t n, int64_t k, double alpha,
                     double factor, float *loss, float *to_z, float *to_q)
{
    const float odds = (float)((1 - alpha) / alpha);
    double total = 0;
    for (int64_t b = 0; b < n; b++)
        if (y[b] < 0 || y[b] >= k)
            return 0;
    for (int64_t b = 0; b < n; b++, z += k, to_z += k, to_q += k) {
        const int64_t c = y[b];
        struct sample s = {.z = z, .v = q + c * k, .alpha = (float)alpha};
        s.top_z = largest(s.z, k), s.top_v = largest(s.v, k);
        s.log_z = softmax(s.z, k, s.top_z, to_z), s.log_v = softmax(s.v, k, s.top_v, to_q);
        const struct sums low = add_up(s, to_z, to_q, 0, c), high = add_up(s, to_z, to_q, c + 1, k);

        const float p = to_z[c], q_y = to_q[c], t = s.alpha * (q_y + odds), d = t - p;
        const float log_t = odds > 0 ? logf(q_y + odds) : s.v[c] - s.top_v - s.log_v; /* t by alpha, as in other M */
        const float m = log_t - (s.z[c] - s.top_z - s.log_z);
        const float h = (d + t * m) * (odds > 0 ? q_y / (q_y + odds) : 1); /* q_y may be 0 */
        const struct sums all = {low.loss + high.loss + d * m, low.pm + high.pm + p * m, low.h + high.h + h};

        differentiate(s, to_z, to_q, 0, c, all);
        differentiate(s, to_z, to_q, c + 1, k, all);
        to_z[c] = -d - p * (m - all.pm);
        to_q[c] = h - q_y * all.h;
        total += all.loss;
    }
    *loss = (float)(factor * total);
    return 1;
}

/* The gradients times *grad and `factor`: grad_z `[n, k]`; grad_q `[k, k]`, rows added up in the order of samples. */
void lls_symmetric_kl_backward(const float *to_z, const float *to_q, const int64_t *y, int64_t n, int64_t k,
                               const float *grad, double factor, float *grad_z, float *grad_q)
{
    const float g = (float)(*grad * factor);
    SIMD for (int64_t i = 0; i < n * k; i++) grad_z[i] = g * to_z[i];
    memset(grad_q, 0, sizeof(float) * k * k);
    for (int64_t b = 0; b < n; b++, to_q += k) {
        float *row = grad_q + y[b] * k;
        SIMD for (int64_t i = 0; i < k; i++) row[i] += g * to_q[i];
    }
}
