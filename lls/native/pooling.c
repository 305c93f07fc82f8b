/* lls/layers/pooling.py's MaxPoolReLU, of images in NHWC. */

#include "simd.h"
#include "threads.h"

enum { WIDE = 8, NOTHING = 4 };

/* A pixel's channels are gone through WIDE at a time, beyond its end if need be: what is written there is written again
   by the next pixel, and rows are kept where there is room behind them. */
#define CHANNELS(i, c) for (int64_t i = 0; i < (c); i += WIDE)
#define LANES(l) SIMD for (int l = 0; l < WIDE; l++)

struct pooling {
    const float *x, *grad; /* forwards if grad is NULL */
    float *y, *grad_x;
    uint8_t *chosen;
    int64_t n, height, width, c;
    int failed;
};

/* Two rows of pixels, and the one that comes of them. */
struct rows {
    float *restrict above, *restrict below, *restrict y;
    int32_t *restrict chosen;
};

static void pool(struct rows of, int64_t columns, int64_t c)
{
    for (int64_t p = 0; p < columns; p++)
        CHANNELS(i, c)
        {
            const int64_t from = 2 * p * c + i, to = p * c + i;
            LANES(l)
            {
                const float pixels[] = {of.above[from + l], of.above[from + c + l], of.below[from + l],
                                        of.below[from + c + l]};
                float most = pixels[0];
                int32_t which = 0;
                for (int k = 1; k < 4; k++) {
                    const int more = (pixels[k] > most) | (pixels[k] != pixels[k]); /* as PyTorch has it of NaN */
                    most = more ? pixels[k] : most;
                    which = more ? k : which;
                }
                of.y[to + l] = most < 0 ? 0 : most;
                of.chosen[to + l] = most <= 0 ? NOTHING : which;
            }
        }
}

static void unpool(struct rows of, int64_t columns, int64_t c)
{
    for (int64_t p = 0; p < columns; p++)
        for (int right = 0; right < 2; right++)
            CHANNELS(i, c)
            {
                const int64_t from = p * c + i, to = (2 * p + right) * c + i;
                LANES(l)
                {
                    of.above[to + l] = of.chosen[from + l] == right ? of.y[from + l] : 0;
                    of.below[to + l] = of.chosen[from + l] == right + 2 ? of.y[from + l] : 0;
                }
            }
}

static void work(void *data, struct share own)
{
    struct pooling *of = data;
    const int64_t c = of->c, rows = of->height / 2, columns = of->width / 2, pair = of->width * c, one = columns * c;
    float *memory = calloc(2 * (pair + WIDE) + 2 * (one + WIDE), sizeof(float));
    if (!memory) {
        of->failed = 1;
        return;
    }
    float *y = memory + 2 * (pair + WIDE);
    const struct rows its = {memory, memory + pair + WIDE, y, (int32_t *)(y + one + WIDE)};
    for (int64_t at = begin(own, of->n * rows); at < end(own, of->n * rows); at++) {
        const int64_t first = (at / rows * of->height + at % rows * 2) * pair;
        uint8_t *restrict chosen = of->chosen + at * one;
        if (!of->grad) {
            memcpy(its.above, of->x + first, sizeof(float) * pair);
            memcpy(its.below, of->x + first + pair, sizeof(float) * pair);
            pool(its, columns, c);
            memcpy(of->y + at * one, its.y, sizeof(float) * one);
            SIMD for (int64_t i = 0; i < one; i++) chosen[i] = (uint8_t)its.chosen[i];
            continue;
        }
        memcpy(its.y, of->grad + at * one, sizeof(float) * one);
        SIMD for (int64_t i = 0; i < one; i++) its.chosen[i] = chosen[i];
        unpool(its, columns, c);
        if (of->width % 2) /* a column that no 2x2 pixels have */
            memset(its.above + 2 * one, 0, sizeof(float) * c), memset(its.below + 2 * one, 0, sizeof(float) * c);
        memcpy(of->grad_x + first, its.above, sizeof(float) * pair);
        memcpy(of->grad_x + first + pair, its.below, sizeof(float) * pair);
        if (of->height % 2 && at % rows == rows - 1)
            memset(of->grad_x + first + 2 * pair, 0, sizeof(float) * pair);
    }
    free(memory);
}

/* x `[n, height, width, c]` to y `[n, height/2, width/2, c]`, and which of four pixels that was, or NOTHING where it is
   not above 0: chosen, likewise. Returns DONE or OUT_OF_MEMORY. */
int lls_max_pool_relu(const float *x, int64_t n, int64_t height, int64_t width, int64_t c, float *y, uint8_t *chosen)
{
    struct pooling of = {.x = x, .y = y, .chosen = chosen, .n = n, .height = height, .width = width, .c = c};
    share_out(work, &of, n * height * width * c);
    return of.failed ? OUT_OF_MEMORY : DONE;
}

/* The gradient to x, of that to y. */
int lls_max_pool_relu_backward(const float *grad, uint8_t *chosen, int64_t n, int64_t height, int64_t width, int64_t c,
                               float *grad_x)
{
    struct pooling of = {.grad = grad, .grad_x = grad_x, .chosen = chosen, .n = n, .height = height, .width = width,
                         .c = c};
    share_out(work, &of, n * height * width * c);
    return of.failed ? OUT_OF_MEMORY : DONE;
}
