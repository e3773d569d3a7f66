/* One number of LANES episodes, and functions of it: plain C with the vector types of gcc and clang.
 *
 * No fast-math: infinities and NaN stay what they are, and sums are taken in the order in which they are written.
 * Errors are the largest found against double precision over all floats of the stated range, in units in the last
 * place (ulp); tests/trainer/compiled/test_lanes.py measures them.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__AVX512F__)
#define LANES 16
#elif defined(__AVX__)
#define LANES 8
#else
#define LANES 4
#endif

typedef float lanes __attribute__((vector_size(4 * LANES)));
typedef int32_t mask __attribute__((vector_size(4 * LANES))); /* -1 where true, else 0 */
#define INLINE static inline __attribute__((always_inline, unused))

INLINE lanes splat(float x) { return x - (lanes){}; }
INLINE mask all_of(int32_t x) { return x - (mask){}; }
INLINE lanes choose(mask m, lanes a, lanes b) { return (lanes)((m & (mask)a) | (~m & (mask)b)); }
INLINE lanes one_if(mask m) { return (lanes)(m & (mask)splat(1.0f)); }
INLINE mask is_nan(lanes x) { return x != x; }
INLINE mask nonzero(lanes x) { return x != splat(0.0f); }

/* Each passes NaN on, as torch does. */
INLINE lanes maximum(lanes a, lanes b) { return choose((a > b) | is_nan(a), a, b); }
INLINE lanes minimum(lanes a, lanes b) { return choose((a < b) | is_nan(a), a, b); }
INLINE lanes at_least(lanes x, lanes low) { return choose(x < low, low, x); }
INLINE lanes at_most(lanes x, lanes high) { return choose(x > high, high, x); }

INLINE lanes absolute(lanes x) { return (lanes)((mask)x & all_of(0x7fffffff)); }
INLINE lanes signed_as(lanes size, lanes sign) { return (lanes)((mask)size | ((mask)sign & all_of((int32_t)0x80000000))); }
INLINE lanes sign_of(lanes x) { return one_if(x > splat(0.0f)) - one_if(x < splat(0.0f)); }

/* `function` lane by lane: a loop that compilers vectorise where the processor can. */
#define EACH(name, function)                          \
    INLINE lanes name(lanes x)                        \
    {                                                 \
        lanes y;                                      \
        for (int l = 0; l < LANES; l++)               \
            y[l] = function(x[l]);                    \
        return y;                                     \
    }
#define EACH_PAIR(name, function)                     \
    INLINE lanes name(lanes a, lanes b)               \
    {                                                 \
        lanes y;                                      \
        for (int l = 0; l < LANES; l++)               \
            y[l] = function(a[l], b[l]);              \
        return y;                                     \
    }
EACH(square_root, __builtin_sqrtf)
EACH(floor_of, __builtin_floorf)
EACH(ceiling_of, __builtin_ceilf)
EACH(truncated, __builtin_truncf)
EACH(rounded, __builtin_rintf)
EACH(tan_of, tanf)
EACH(asin_of, asinf)
EACH(acos_of, acosf)
EACH(atan_of, atanf)
EACH(sinh_of, sinhf)
EACH(cosh_of, coshf)
EACH(asinh_of, asinhf)
EACH(acosh_of, acoshf)
EACH(atanh_of, atanhf)
EACH(erf_of, erff)
EACH_PAIR(atan2_of, atan2f)
EACH_PAIR(power_of, powf)
EACH_PAIR(fmod_of, fmodf)

INLINE lanes remainder_of(lanes a, lanes b) /* with the sign of b, as in Python */
{
    lanes r = fmod_of(a, b);
    return choose((r != splat(0.0f)) & ((r < splat(0.0f)) != (b < splat(0.0f))), r + b, r);
}

/* x = n·ln 2 + r with |r| at most ln 2 / 2: returns eʳ − 1. */
INLINE lanes reduced_expm1(lanes x, mask *n)
{
    lanes turns = x * splat(1.44269504f);
    *n = __builtin_convertvector(turns + signed_as(splat(0.5f), turns), mask);
    lanes whole = __builtin_convertvector(*n, lanes);
    lanes r = (x - whole * splat(0.693359375f)) + whole * splat(2.12194440e-4f);
    lanes p = splat(1.0f / 5040.0f);
    p = p * r + splat(1.0f / 720.0f);
    p = p * r + splat(1.0f / 120.0f);
    p = p * r + splat(1.0f / 24.0f);
    p = p * r + splat(1.0f / 6.0f);
    p = p * r + splat(0.5f);
    return (p * r) * r + r;
}
INLINE lanes power_of_two(mask n) { return (lanes)((n + 127) << 23); } /* n from -126 to 127 */

/* 2 ulp where the result is a normal number. */
INLINE lanes exp_of(lanes x)
{
    mask n;
    lanes p = reduced_expm1(at_most(at_least(x, splat(-104.0f)), splat(89.0f)), &n);
    lanes half = power_of_two(n >> 1);
    lanes y = (half * p + half) * power_of_two(n - (n >> 1));
    return choose(x > splat(88.7228394f), splat(INFINITY), y);
}

/* 3 ulp. */
INLINE lanes expm1_of(lanes x)
{
    mask n;
    lanes p = reduced_expm1(at_most(at_least(x, splat(-20.0f)), splat(87.0f)), &n), scale = power_of_two(n);
    return choose(x > splat(87.0f), exp_of(x), scale * p + (scale - splat(1.0f)));
}

/* 3 ulp. */
INLINE lanes tanh_of(lanes x)
{
    mask n;
    lanes size = at_most(absolute(x), splat(9.1f));
    lanes p = reduced_expm1(size + size, &n), scale = power_of_two(n);
    lanes t = scale * p + (scale - splat(1.0f)); /* e²ˣ − 1 */
    return signed_as(t / (t + splat(2.0f)), x);
}

/* 3 ulp where the result is a normal number. */
INLINE lanes sigmoid_of(lanes x)
{
    mask n;
    lanes p = reduced_expm1(at_most(at_least(-x, splat(-87.0f)), splat(87.0f)), &n), scale = power_of_two(n);
    return splat(1.0f) / (splat(1.0f) + (scale * p + scale));
}

/* 2 ulp. */
INLINE lanes log_of(lanes x)
{
    mask tiny = x < splat(1.17549435e-38f);
    lanes y = choose(tiny, x * splat(8388608.0f), x);
    mask bits = (mask)y - all_of(0x3f3504f3); /* of √½ */
    mask n = (bits >> 23) - (tiny & all_of(23));
    lanes f = (lanes)((bits & all_of(0x7fffff)) + all_of(0x3f3504f3)) - splat(1.0f);
    lanes s = f / (splat(2.0f) + f), z = s * s, half = splat(0.5f) * f * f;
    lanes p = splat(2.0f / 9.0f);
    p = p * z + splat(2.0f / 7.0f);
    p = p * z + splat(2.0f / 5.0f);
    p = p * z + splat(2.0f / 3.0f);
    lanes whole = __builtin_convertvector(n, lanes);
    y = whole * splat(0.693359375f) - ((half - (s * (half + p * z) - whole * splat(2.12194440e-4f))) - f);
    y = choose(x == splat(0.0f), splat(-INFINITY), choose(x < splat(0.0f), splat(NAN), y));
    return choose((x == splat(INFINITY)) | is_nan(x), x, y);
}

/* 4 ulp: Kahan's way, by the rounding error of 1 + x. */
INLINE lanes log1p_of(lanes x)
{
    lanes u = splat(1.0f) + x, y = log_of(u) * (x / (u - splat(1.0f)));
    y = choose(u == splat(1.0f), x, y);
    return choose((x == splat(INFINITY)) | (u == splat(0.0f)), log_of(u), y);
}

/* Sine of x and of x + quarters·π/2. |x| up to 8192: absolute error 1.2e-7; where one lane is beyond, libm for all. */
INLINE lanes sine(lanes x, int32_t quarters)
{
    mask far = ~(absolute(x) <= splat(8192.0f));
    int32_t any = 0;
    for (int l = 0; l < LANES; l++)
        any |= far[l];
    if (__builtin_expect(any, 0)) {
        lanes y;
        for (int l = 0; l < LANES; l++)
            y[l] = quarters ? cosf(x[l]) : sinf(x[l]);
        return y;
    }
    lanes turns = x * splat(0.636619772f);
    mask n = __builtin_convertvector(turns + signed_as(splat(0.5f), turns), mask);
    lanes whole = __builtin_convertvector(n, lanes);
    lanes r = x - whole * splat(1.5703125f); /* π/2 in three parts, the first two of few digits */
    r = r - whole * splat(0.0004837512969970703f);
    r = r - whole * splat(7.54979013e-08f);
    lanes z = r * r;
    lanes s = splat(2.75573192e-6f);
    s = s * z + splat(-1.98412698e-4f);
    s = s * z + splat(8.33333333e-3f);
    s = s * z + splat(-1.66666667e-1f);
    s = (s * z) * r + r;
    lanes c = splat(2.48015873e-5f);
    c = c * z + splat(-1.38888889e-3f);
    c = c * z + splat(4.16666667e-2f);
    c = (c * z) * z + (splat(1.0f) - splat(0.5f) * z);
    n += quarters;
    lanes y = choose((n & 1) != 0, c, s);
    return (lanes)((mask)y ^ ((n & 2) << 30));
}
INLINE lanes sin_of(lanes x) { return sine(x, 0); }
INLINE lanes cos_of(lanes x) { return sine(x, 1); }
