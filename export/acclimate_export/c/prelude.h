/*
 * Arithmetic that the code below calls. C99, without state, and written so that compilers vectorise it.
 */
#include <math.h>
#include <stdint.h>

/* ONNX hands a NaN on where C's fmaxf and fminf drop it; a clipped NaN would drive an actuator to its limit. */
static inline float acclimate_max(float a, float b) {
    return a >= b || a != a ? a : b;
}

static inline float acclimate_min(float a, float b) {
    return a <= b || a != a ? a : b;
}

/* tanh x = x P(x^2) / Q(x^2), fitted on |x| < 8.5 to 1.2e-8; with rounding it is within 4e-7, relatively, everywhere. */
static inline float acclimate_tanh(float a) {
    const float x = a > 8.5f ? 8.5f : (a < -8.5f ? -8.5f : a);
    const float u = x * x;
    const float p = (((1.42697774e-08f * u + 2.12514842e-05f) * u + 0.00353405531f) * u + 0.134132713f) * u + 1.0f;
    const float q = (((8.14536122e-07f * u + 0.000334891025f) * u + 0.0260228608f) * u + 0.467465937f) * u + 1.0f;
    const float y = x * p / q;
    return y > 1.0f ? 1.0f : (y < -1.0f ? -1.0f : y);
}

#if defined(__GNUC__)
#define ACCLIMATE_INLINE static inline __attribute__((always_inline, unused)) /* so that sizes are constants */
#else
#define ACCLIMATE_INLINE static inline
#endif

/* Columns of a tile: with four rows, what fits into vector registers. */
#if defined(__AVX__) || defined(__aarch64__)
#define ACCLIMATE_TILE 16
#else
#define ACCLIMATE_TILE 8
#endif

/* Columns from `begin` to `end` of out[m][n] = a[m][k] b[k][n], along rows of b, four of them at a time. */
ACCLIMATE_INLINE void acclimate_along_rows(
    int32_t m, int32_t k, int32_t n, int32_t begin, int32_t end,
    const float *restrict a, const float *restrict b, float *restrict out
) {
    for (int32_t i = 0; i < m; ++i, a += k, out += n) {
        const float *restrict row = b;
        int32_t l = 0;
        for (int32_t j = begin; j < end; ++j) {
            out[j] = 0.0f;
        }
        for (; l + 4 <= k; l += 4, row += 4 * n) {
            const float a0 = a[l], a1 = a[l + 1], a2 = a[l + 2], a3 = a[l + 3];
            for (int32_t j = begin; j < end; ++j) {
                out[j] += (a0 * row[j] + a1 * row[n + j]) + (a2 * row[2 * n + j] + a3 * row[3 * n + j]);
            }
        }
        for (; l < k; ++l, row += n) {
            for (int32_t j = begin; j < end; ++j) {
                out[j] += a[l] * row[j];
            }
        }
    }
}

/* Four rows of out[4][n] = a[4][k] b[k][n], columns from 0 to `end`, a tile at a time. */
ACCLIMATE_INLINE void acclimate_in_tiles(
    int32_t k, int32_t n, int32_t end, const float *restrict a, const float *restrict b, float *restrict out
) {
    for (int32_t j = 0; j < end; j += ACCLIMATE_TILE) {
        float s0[ACCLIMATE_TILE] = {0}, s1[ACCLIMATE_TILE] = {0}, s2[ACCLIMATE_TILE] = {0}, s3[ACCLIMATE_TILE] = {0};
        for (int32_t l = 0; l < k; ++l) {
            const float *restrict row = b + l * n + j;
            const float a0 = a[l], a1 = a[k + l], a2 = a[2 * k + l], a3 = a[3 * k + l];
            for (int32_t t = 0; t < ACCLIMATE_TILE; ++t) {
                s0[t] += a0 * row[t];
                s1[t] += a1 * row[t];
                s2[t] += a2 * row[t];
                s3[t] += a3 * row[t];
            }
        }
        for (int32_t t = 0; t < ACCLIMATE_TILE; ++t) {
            out[j + t] = s0[t];
            out[n + j + t] = s1[t];
            out[2 * n + j + t] = s2[t];
            out[3 * n + j + t] = s3[t];
        }
    }
}

/* out[m][n] = a[m][k] b[k][n] */
ACCLIMATE_INLINE void acclimate_matmul(
    int32_t m, int32_t k, int32_t n, const float *restrict a, const float *restrict b, float *restrict out
) {
    const int32_t rows = m - m % 4, end = n - n % ACCLIMATE_TILE;
    for (int32_t i = 0; i < rows; i += 4) {
        acclimate_in_tiles(k, n, end, a + i * k, b, out + i * n);
    }
    acclimate_along_rows(rows, k, n, end, n, a, b, out);
    acclimate_along_rows(m - rows, k, n, 0, n, a + rows * k, b, out + rows * n);
}

/* out[m][n] += row[n] */
ACCLIMATE_INLINE void acclimate_add_rows(int32_t m, int32_t n, const float *restrict row, float *restrict out) {
    for (int32_t i = 0; i < m; ++i, out += n) {
        for (int32_t j = 0; j < n; ++j) {
            out[j] += row[j];
        }
    }
}

#define fmaxf acclimate_max
#define fminf acclimate_min
#define tanhf acclimate_tanh
