/* lls/sparse_kl.py on a CPU, in float32. Symbols as there. */

#include "kl.h"
#include "threads.h"

enum { CHUNK = 1024 }; /* classes whose numbers stay in the innermost cache */

struct task {
    const float *z, *q;
    const int64_t *candidates, *y;
    int64_t n, k, classes, m;
    double alpha;
    float factor, *grad_z, *grad_q;
    double *losses; /* of the samples */
    int failed;
};

static inline float log_add(float a, float b)
{
    return a > b ? a + log1pf(expf(b - a)) : b + log1pf(expf(a - b));
}

/* Sample b: returns its loss; its gradients go to where the task has them. to_row: memory of m + 1 numbers, at: m. */
static inline double sample(const struct task *task, int64_t b, float *restrict to_row, float *restrict at)
{
    const int64_t k = task->k, m = task->m, *candidates = task->candidates + b * m;
    const float *z = task->z + b * k, *v = task->q + task->y[b] * (m + 1), top = largest(z, k), by = task->factor;
    const float log_alpha = (float)log(task->alpha), log_rest = (float)log((double)(k - m)), rest = (float)(k - m);
    float *grad_z = task->grad_z + b * k, *row = task->grad_q + task->y[b] * (m + 1);
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
    float loss = H - s * L, sum_p = 0, sum_log_p = 0, sum_pg = 0, sum_h = 0;
    for (int64_t c = 0; c < m; c++) {
        float log_t = to_row[c] + log_alpha, learned = 1;
        if (c == 0 && task->alpha < 1) {
            float log_t_y = log_add(log_t, (float)log1p(-task->alpha));
            learned = expf(log_t - log_t_y);
            log_t = log_t_y;
        }
        const float t = expf(log_t), g = log_t - log_s, log_p = z[candidates[c]] - top - log_sum;
        const float p = expf(log_p), h = (t * (g - log_p) + t - p) * learned;
        loss += t * g - p * g - (t - s) * log_p;
        sum_p += p, sum_log_p += log_p, sum_pg += p * g, sum_h += h;
        at[c] = s - t - p * g;
        to_row[c] = h;
    }
    to_row[m] = s * (rest - L + sum_log_p) - 1 + sum_p;
    sum_h += to_row[m];
    for (int64_t c = 0; c < m; c++)
        row[c] += by * (to_row[c] - expf(v[c] - top_v - log_sum_v) * sum_h);
    row[m] += by * (to_row[m] - w_rest * sum_h);

    const float by_p = by / sum, add = 1 + sum_pg - H - log_sum - top, off = by * s;
    SIMD for (int64_t i = 0; i < k; i++) grad_z[i] = by_p * grad_z[i] * (z[i] + add) - off;
    for (int64_t c = 0; c < m; c++)
        grad_z[candidates[c]] += by * at[c];
    return loss;
}

/* A thread has the samples of a range of classes, in their order: these rows of Q are its alone. */
static void work(void *data, struct share own)
{
    struct task *task = data;
    const int64_t width = task->m + 1, first = begin(own, task->classes), last = end(own, task->classes);
    float *to_row = malloc(sizeof(float) * 2 * width);
    if (!to_row) {
        task->failed = 1;
        return;
    }
    memset(task->grad_q + first * width, 0, sizeof(float) * width * (last - first));
    for (int64_t b = 0; b < task->n; b++)
        if (task->y[b] >= first && task->y[b] < last)
            task->losses[b] = sample(task, b, to_row, to_row + width);
    free(to_row);
}

/* loss: `factor` times the sum over the n samples, of logits z `[n, k]`, rows of q `[classes, m + 1]` that y `[n]`
   chooses, and candidates `[n, m]`. grad_z `[n, k]`, grad_q `[classes, m + 1]`: its gradients, samples added to the
   rows in their order. Returns DONE, OUT_OF_MEMORY, or OUT_OF_RANGE if a y or a candidate is no class. */
int lls_sparse_kl(const float *z, const float *q, const int64_t *candidates, const int64_t *y, int64_t n, int64_t k,
                  int64_t classes, int64_t m, double alpha, double factor, float *loss, float *grad_z, float *grad_q)
{
    if (!in_range(y, n, classes) || !in_range(candidates, n * m, k))
        return OUT_OF_RANGE;
    struct task task = {z, q, candidates, y, n, k, classes, m, alpha, (float)factor, grad_z, grad_q,
                        malloc(sizeof(double) * n), 0};
    if (!task.losses)
        return OUT_OF_MEMORY;
    share_out(work, &task, n * k);
    *loss = (float)(factor * sum_in_order(task.losses, n));
    free(task.losses);
    return task.failed ? OUT_OF_MEMORY : DONE;
}
