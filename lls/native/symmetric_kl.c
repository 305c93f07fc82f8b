/* lls/symmetric_kl.py on a CPU, in float32: the value and both gradients of a sample while its row is in the cache.
   Symbols as there. */

#include "kl.h"
#include "threads.h"

enum { PADDING = 16 };

struct task {
    const float *z, *q;
    const int64_t *y;
    int64_t n, k;
    float alpha, factor, odds;
    float *grad_z, *grad_q; /* grad_q may be NULL */
    double *losses;         /* of the samples */
    int failed;
};

/* What is known of a sample's classes, in memory of its own, up to a multiple of PADDING: there is no rest to go through
   one by one. What is 0 in all three adds nothing to any sum. */
struct row {
    float *restrict p, *restrict q; /* times their sums */
    float *restrict ratio;          /* log q - log p, but for the same number in all */
    int64_t k, padded;
};

/* Sums over classes. */
struct sums {
    float loss, pm, h;
};

/* exp(x) in its place; returns the sum. */
static inline float exponentials(float *restrict x, int64_t n)
{
    float sum = 0;
    SUM(sum) for (int64_t i = 0; i < n; i++) sum += x[i] = exponential(x[i]);
    return sum;
}

static inline void load(struct row of, const float *restrict z, const float *restrict v, float top_z, float top_v)
{
    SIMD for (int64_t i = 0; i < of.k; i++)
    {
        const float x = z[i] - top_z, w = v[i] - top_v;
        of.p[i] = x < LOWEST ? LOWEST : x;
        of.q[i] = w < LOWEST ? LOWEST : w;
        of.ratio[i] = w - x;
    }
    for (int64_t i = of.k; i < of.padded; i++)
        of.p[i] = of.q[i] = LOWEST, of.ratio[i] = 0;
}

static inline struct sums add_up(struct row of, float by_p, float by_t, float log_by)
{
    float loss = 0, pm = 0, h = 0;
    SUM(loss, pm, h) for (int64_t i = 0; i < of.padded; i++)
    {
        const float m = of.ratio[i] + log_by, p = by_p * of.p[i], t = by_t * of.q[i], d = t - p;
        loss += d * m;
        pm += p * m;
        h += d + t * m;
    }
    return (struct sums){loss, pm, h};
}

/* `by` times the gradient to the logits, and to the row of Q, which is added to `row`. */
static inline void differentiate(struct row of, float by_p, float by_q, float log_by, float alpha, struct sums all,
                                 float by, float *restrict grad_z, float *restrict row)
{
    SIMD for (int64_t i = 0; i < of.k; i++)
    {
        const float m = of.ratio[i] + log_by, p = by_p * of.p[i], q = by_q * of.q[i], t = alpha * q, d = t - p;
        grad_z[i] = by * (-d - p * (m - all.pm));
        row[i] += by * (d + t * m - q * all.h);
    }
}

/* Sample b: returns its loss; its gradients go to where the task has them, that to its row of Q else to `unwanted`. */
static inline double sample(const struct task *task, int64_t b, struct row of, float *unwanted)
{
    const int64_t c = task->y[b], k = task->k;
    const float *z = task->z + b * k, *v = task->q + c * k, top_z = largest(z, k), top_v = largest(v, k);
    const float a = task->alpha, odds = task->odds, by = task->factor;
    float *grad_z = task->grad_z + b * k, *row = task->grad_q ? task->grad_q + c * k : unwanted;
    load(of, z, v, top_z, top_v);
    const float sum_z = exponentials(of.p, of.padded), sum_v = exponentials(of.q, of.padded);
    const float by_p = 1 / sum_z, by_q = 1 / sum_v, log_z = logf(sum_z), log_v = logf(sum_v);
    const float p = by_p * of.p[c], q_y = by_q * of.q[c]; /* the true class differs, and is done by itself */
    of.p[c] = of.q[c] = of.ratio[c] = 0;
    const struct sums others = add_up(of, by_p, a * by_q, log_z - log_v);

    const float t = a * (q_y + odds), d = t - p;
    const float log_t = odds > 0 ? logf(q_y + odds) : v[c] - top_v - log_v; /* t by alpha, as in other M */
    const float m = log_t - (z[c] - top_z - log_z);
    const float h = (d + t * m) * (odds > 0 ? q_y / (q_y + odds) : 1); /* q_y may be 0 */
    const struct sums all = {others.loss + d * m, others.pm + p * m, others.h + h};
    differentiate(of, by_p, by_q, log_z - log_v, a, all, by, grad_z, row);
    grad_z[c] = by * (-d - p * (m - all.pm));
    row[c] += by * (h - q_y * all.h);
    return all.loss;
}

/* A thread has the samples of a range of classes, in their order: these rows of Q are its alone. */
static void work(void *data, struct share own)
{
    struct task *task = data;
    const int64_t k = task->k, first = begin(own, k), last = end(own, k), padded = (k + PADDING - 1) / PADDING * PADDING;
    float *memory = calloc(4 * padded, sizeof(float));
    if (!memory) {
        task->failed = 1;
        return;
    }
    if (task->grad_q)
        memset(task->grad_q + first * k, 0, sizeof(float) * k * (last - first));
    const struct row of = {memory, memory + padded, memory + 2 * padded, k, padded};
    for (int64_t b = 0; b < task->n; b++)
        if (task->y[b] >= first && task->y[b] < last)
            task->losses[b] = sample(task, b, of, memory + 3 * padded);
    free(memory);
}

/* loss: `factor` times the sum over the n samples. grad_z `[n, k]`, grad_q `[k, k]`: its gradients to the logits z
   `[n, k]` and to q `[k, k]`, to whose rows the samples of their classes y `[n]` are added in their order; without
   grad_q, that is left out. Returns DONE, OUT_OF_MEMORY, or OUT_OF_RANGE if a y is no class. */
int lls_symmetric_kl(const float *z, const float *q, const int64_t *y, int64_t n, int64_t k, double alpha,
                     double factor, float *loss, float *grad_z, float *grad_q)
{
    if (!in_range(y, n, k))
        return OUT_OF_RANGE;
    struct task task = {z, q, y, n, k, (float)alpha, (float)factor, (float)((1 - alpha) / alpha), grad_z, grad_q,
                        malloc(sizeof(double) * n), 0};
    if (!task.losses)
        return OUT_OF_MEMORY;
    share_out(work, &task, n * k);
    *loss = (float)(factor * sum_in_order(task.losses, n));
    free(task.losses);
    return task.failed ? OUT_OF_MEMORY : DONE;
}
