/* lls/data/batches.py: a batch of windows into images, normalised. */

#include "simd.h"
#include "threads.h"

struct windows {
    const uint8_t *images;
    const int64_t *image, *top, *left;
    int64_t of_image, of_row, n, height, row, c;
    const float *scale, *shift; /* of a row's numbers */
    float *out;
};

static void cut(void *data, struct share own)
{
    const struct windows *w = data;
    for (int64_t b = begin(own, w->n); b < end(own, w->n); b++) {
        const uint8_t *from = w->images + w->image[b] * w->of_image + w->top[b] * w->of_row + w->left[b] * w->c;
        for (int64_t y = 0; y < w->height; y++) {
            const uint8_t *restrict in = from + y * w->of_row;
            const float *restrict scale = w->scale, *restrict shift = w->shift;
            float *restrict out = w->out + (b * w->height + y) * w->row;
            SIMD for (int64_t i = 0; i < w->row; i++) out[i] = shift[i] + in[i] * scale[i];
        }
    }
}

/* out `[n, height, width, c]`: shift + scale times the windows at (top, left), each `[n]`, of images `[.., .., .., c]`
   chosen by `image` `[n]`; of_image and of_row numbers lie between the first ones of two images and rows. scale, shift:
   `[c]`. Returns DONE or OUT_OF_MEMORY. */
int lls_windows(const uint8_t *images, int64_t of_image, int64_t of_row, const int64_t *image, const int64_t *top,
                const int64_t *left, int64_t n, int64_t height, int64_t width, int64_t c, const float *scale,
                const float *shift, float *out)
{
    const int64_t row = width * c;
    float *repeated = malloc(sizeof(float) * 2 * row);
    if (!repeated)
        return OUT_OF_MEMORY;
    for (int64_t i = 0; i < row; i++)
        repeated[i] = scale[i % c], repeated[row + i] = shift[i % c];
    struct windows of = {images, image, top, left, of_image, of_row, n, height, row, c, repeated, repeated + row, out};
    share_out(cut, &of, n * height * row);
    free(repeated);
    return DONE;
}
