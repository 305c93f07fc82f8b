/* lls/sparse_kl.py on a CPU, in float32. Symbols as there. */

#include "kl.h"

enum { CHUNK = 1024 }; /* classes whose numbers stay in the innermost cache */

static inline float log_add(float a, float b)
{
    return a > b ? a + log1pf(expf(b - a)) : b + log1pf(expf(a - b));
}

/* loss: `factor` times the sum over the n samples, of logits z `[n, k]`, rows of q `[classes, m + 1]` that y `[n]`
   chooses, and candidates `[n, m]`. grad_z `[n, k]`, grad_q `[classes, m + 1]`: its gradients, samples added to the
   rows in their order. Returns OUT_OF_RANGE, and has done nothing, if a y or a candidate is no class. */
int lls_sparse_kl(const float *z, const float *q, const int64_t *candidates, const int64_t *y, int64_t n, int64_t k,
                  int64_t classes, int64_t m, double alpha, double factor, float *loss, float *grad_z, float *grad_q)
{
    const float log_alpha = (float)log(alpha), log_rest = (float)log((double)(k - m)), rest = (float)(k - m);
    const float by = (float)factor;
    double total = 0;
    if (!in_range(y, n, classes) || !in_range(candidates, n * m, k))
        return OUT_OF_RANGE;
    float *to_row = malloc(sizeof(float) * (2 * m + 1)), *at = to_row + m + 1;
    if (!to_row)
        return OUT_OF_MEMORY;
    memset(grad_q, 0, sizeof(float) * classes * (m + 1));

    for (int64_t b = 0; b < n; b++, z += k, grad_z += k, candidates += m) {
        const float *v = q + y[b] * (m + 1), top = largest(z, k);
        float sum = 0, sum_ex = 0, sum_x = 0, lowered[CHUNK];
        for (int64_t from = 0; from < k; from += CHUNK) {
            const int64_t size = k - from < CHUNK ? k - from : CHUNK;
            const float *restrict z_from = z + from;
            float *restrict exp_z = grad_z + from;
            SIMD for (int64_t i = 0; i < size; i++) lowered[i] = z_from[i] - top < LOWEST ? LOWEST : z_from[i] - top;
            SUM(sum, sum_ex, sum_x) for (int64_t i = 0; i < size; i++)
            {
                float x = z_from[i] - top, e = exponential(lowered[i]);
                exp_z[i] = e;
                sum += e;
                sum_ex += e * x;
                sum_x += x;
            }
        }
        const float log_sum = logf(sum), H = sum_ex / sum - log_sum, L = sum_x - k * log_sum;

        float top_v = v[m] + log_rest, sum_v = 0; /* to_row is log w at first, then h */
        for (int64_t c = 0; c < m; c++)
            top_v = v[c] > top_v ? v[c] : top_v;
        for (int64_t c = 0; c <= m; c++)
            sum_v += expf(to_row[c] = v[c] + (c == m ? log_rest : 0) - top_v);
        const float log_sum_v = logf(sum_v);
        for (int64_t c = 0; c <= m; c++)
            to_row[c] -= log_sum_v;

        const float log_s = to_row[m] + log_alpha - log_rest, s = expf(log_s), w_rest = expf(to_row[m]);
        float sample_loss = H - s * L, sum_p = 0, sum_log_p = 0, sum_pg = 0, sum_h = 0;
        for (int64_t c = 0; c < m; c++) {
            float log_t = to_row[c] + log_alpha, learned = 1;
            if (c == 0 && alpha < 1) {
                float log_t_y = log_add(log_t, (float)log1p(-alpha));
                learned = expf(log_t - log_t_y);
                log_t = log_t_y;
            }
            const float t = expf(log_t), g = log_t - log_s, log_p = z[candidates[c]] - top - log_sum;
            const float p = expf(log_p), h = (t * (g - log_p) + t - p) * learned;
            sample_loss += t * g - p * g - (t - s) * log_p;
            sum_p += p, sum_log_p += log_p, sum_pg += p * g, sum_h += h;
            at[c] = s - t - p * g;
            to_row[c] = h;
        }
        to_row[m] = s * (rest - L + sum_log_p) - 1 + sum_p;
        sum_h += to_row[m];
        float *row = grad_q + y[b] * (m + 1);
        for (int64_t c = 0; c < m; c++)
            row[c] += by * (to_row[c] - expf(v[c] - top_v - log_sum_v) * sum_h);
        row[m] += by * (to_row[m] - w_rest * sum_h);

        const float by_p = by / sum, add = 1 + sum_pg - H - log_sum - top, off = by * s;
        SIMD for (int64_t i = 0; i < k; i++) grad_z[i] = by_p * grad_z[i] * (z[i] + add) - off;
        for (int64_t c = 0; c < m; c++)
            grad_z[candidates[c]] += by * at[c];
        total += sample_loss;
    }
    free(to_row);
    *loss = (float)(factor * total);
    return DONE;
}
