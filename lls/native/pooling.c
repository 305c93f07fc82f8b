/* lls/layers.py's MaxPoolReLU, of images in NHWC. */

#include "simd.h"
#include "threads.h"

enum { WIDE = 8, NOTHING = 4, WORTH = 1 << 14 };

/* A pixel's channels are gone through WIDE at a time, beyond its end if need be: what is written there is written again
   by the next pixel, and rows are kept where there is room behind them. */
#define CHANNELS(i, c) for (int64_t i = 0; i < (c); i += WIDE)
#define LANES(l) SIMD for (int l = 0; l < WIDE; l++)

struct pooling {
    const float *x;
    const float *grad;
    float *y, *grad_x;
    uint8_t *chosen;
    int64_t n, height, width, c;
    int failed;
};

static void pool(void *data)
{
    struct pooling *of = data;
    const struct share own = own_share();
    const int64_t c = of->c, rows = of->height / 2, columns = of->width / 2, long_row = of->width * c, row = columns * c;
    float *memory = calloc(2 * (long_row + WIDE) + 2 * (row + WIDE), sizeof(float));
    if (!memory) {
        of->failed = 1;
        return;
    }
    float *restrict above = memory, *restrict below = above + long_row + WIDE, *restrict y = below + long_row + WIDE;
    int32_t *restrict chosen = (int32_t *)(y + row + WIDE);
    for (int64_t at = begin(own, of->n * rows); at < end(own, of->n * rows); at++) {
        const float *x = of->x + (at / rows * of->height + at % rows * 2) * long_row;
        memcpy(above, x, sizeof(float) * long_row);
        memcpy(below, x + long_row, sizeof(float) * long_row);
        for (int64_t p = 0; p < columns; p++)
            CHANNELS(i, c)
            {
                const int64_t from = 2 * p * c + i, to = p * c + i;
                LANES(l)
                {
                    const float of_4[] = {above[from + l], above[from + c + l], below[from + l], below[from + c + l]};
                    float most = of_4[0];
                    int32_t which = 0;
                    for (int k = 1; k < 4; k++) {
                        const int more = (of_4[k] > most) | (of_4[k] != of_4[k]); /* as PyTorch has it of what is NaN */
                        most = more ? of_4[k] : most;
                        which = more ? k : which;
                    }
                    y[to + l] = most < 0 ? 0 : most;
                    chosen[to + l] = most <= 0 ? NOTHING : which;
                }
            }
        memcpy(of->y + at * row, y, sizeof(float) * row);
        uint8_t *restrict out = of->chosen + at * row;
        SIMD for (int64_t i = 0; i < row; i++) out[i] = (uint8_t)chosen[i];
    }
    free(memory);
}

static void unpool(void *data)
{
    struct pooling *of = data;
    const struct share own = own_share();
    const int64_t c = of->c, rows = of->height / 2, columns = of->width / 2, long_row = of->width * c, row = columns * c;
    float *memory = calloc(2 * (long_row + WIDE) + 2 * (row + WIDE), sizeof(float));
    if (!memory) {
        of->failed = 1;
        return;
    }
    float *restrict above = memory, *restrict below = above + long_row + WIDE, *restrict grad = below + long_row + WIDE;
    int32_t *restrict chosen = (int32_t *)(grad + row + WIDE);
    for (int64_t at = begin(own, of->n * rows); at < end(own, of->n * rows); at++) {
        const uint8_t *restrict in = of->chosen + at * row;
        float *grad_x = of->grad_x + (at / rows * of->height + at % rows * 2) * long_row;
        SIMD for (int64_t i = 0; i < row; i++) chosen[i] = in[i];
        memcpy(grad, of->grad + at * row, sizeof(float) * row);
        for (int64_t p = 0; p < columns; p++)
            for (int right = 0; right < 2; right++)
                CHANNELS(i, c)
                {
                    const int64_t to = (2 * p + right) * c + i, from = p * c + i;
                    LANES(l)
                    {
                        above[to + l] = chosen[from + l] == right ? grad[from + l] : 0;
                        below[to + l] = chosen[from + l] == right + 2 ? grad[from + l] : 0;
                    }
                }
        if (of->width % 2) /* a column that no 2x2 pixels have */
            memset(above + 2 * row, 0, sizeof(float) * c), memset(below + 2 * row, 0, sizeof(float) * c);
        memcpy(grad_x, above, sizeof(float) * long_row);
        memcpy(grad_x + long_row, below, sizeof(float) * long_row);
        if (of->height % 2 && at % rows == rows - 1)
            memset(grad_x + 2 * long_row, 0, sizeof(float) * long_row);
    }
    free(memory);
}

/* x `[n, height, width, c]` to y `[n, height/2, width/2, c]`, and which of four pixels that was, or NOTHING where it is
   not above 0: chosen, likewise. Returns DONE or OUT_OF_MEMORY. */
int lls_max_pool_relu(const float *x, int64_t n, int64_t height, int64_t width, int64_t c, float *y, uint8_t *chosen)
{
    struct pooling of = {.x = x, .y = y, .chosen = chosen, .n = n, .height = height, .width = width, .c = c};
    share_out(pool, &of, n * height * width * c > WORTH);
    return of.failed ? OUT_OF_MEMORY : DONE;
}

/* The gradient to x, of that to y. */
int lls_max_pool_relu_backward(const float *grad, uint8_t *chosen, int64_t n, int64_t height, int64_t width, int64_t c,
                               float *grad_x)
{
    struct pooling of = {.grad = grad, .grad_x = grad_x, .chosen = chosen, .n = n, .height = height, .width = width,
                         .c = c};
    share_out(unpool, &of, n * height * width * c > WORTH);
    return of.failed ? OUT_OF_MEMORY : DONE;
}
