/* Products with the weights of a network, the lanes innermost: a weight is one number for all lanes. */

#define SUMS(F) F(0) F(1) F(2) F(3) F(4) F(5) F(6) F(7)
#define DOUBLE(F) SUMS(F) F(8) F(9) F(10) F(11) F(12) F(13) F(14) F(15)
#define HALF(F) F(0) F(1) F(2) F(3)
#define CLEAR(k) lanes y##k = {};
#define COLLECT(k) y##k += splat(c[k * by_output]) * v;
#define GIVE(k) y[j + k] = y##k;
#define COLUMNS(count, EACH_SUM)                                         \
    for (; j + count <= outputs; j += count) {                           \
        const float *c = w + j * by_output;                              \
        EACH_SUM(CLEAR)                                                  \
        for (long i = 0; i < inputs; i++, c += by_input) {               \
            lanes v = x[i];                                              \
            EACH_SUM(COLLECT)                                            \
        }                                                                \
        EACH_SUM(GIVE)                                                   \
    }

/* y[j] = Σᵢ w[i·by_input + j·by_output]·x[i] */
INLINE void multiply(lanes *restrict y, const lanes *restrict x, const float *restrict w, long inputs, long outputs,
                     long by_input, long by_output)
{
    long j = 0;
    COLUMNS(16, DOUBLE)
    COLUMNS(8, SUMS)
    COLUMNS(4, HALF)
    for (; j < outputs; j++) { /* four sums, since one would wait for itself */
        const float *c = w + j * by_output;
        lanes y0 = {}, y1 = {}, y2 = {}, y3 = {};
        long i = 0;
        for (; i + 4 <= inputs; i += 4, c += 4 * by_input) {
            y0 += splat(c[0]) * x[i];
            y1 += splat(c[by_input]) * x[i + 1];
            y2 += splat(c[2 * by_input]) * x[i + 2];
            y3 += splat(c[3 * by_input]) * x[i + 3];
        }
        for (; i < inputs; i++, c += by_input)
            y0 += splat(c[0]) * x[i];
        y[j] = (y0 + y1) + (y2 + y3);
    }
}

/* Sums of a tile: 4 by 4, then 1 by 8 and 8 by 1 for what is left, so that no sum waits for itself. */
#define TAKE(k) lanes z0##k = {}, z1##k = {}, z2##k = {}, z3##k = {};
#define TERMS(k)                                                         \
    {                                                                    \
        lanes v = q[k];                                                  \
        z0##k += p[0] * v;                                               \
        z1##k += p[1] * v;                                               \
        z2##k += p[2] * v;                                               \
        z3##k += p[3] * v;                                               \
    }
#define GIVE_TERMS(k)                                                    \
    {                                                                    \
        lanes *to = at + k * by_column;                                  \
        to[0] += z0##k;                                                  \
        to[by_row] += z1##k;                                             \
        to[2 * by_row] += z2##k;                                         \
        to[3 * by_row] += z3##k;                                         \
    }
#define TERM(k) y##k += q[k] * v;
#define GIVE_TERM(k) at[k * step] += y##k;

/* at[k·step] += Σ one·many[k] over ticks, for `count` of many. */
INLINE void add_line(lanes *restrict at, long step, const lanes *restrict one, const lanes *restrict many, long every,
                     long ticks, long count)
{
    for (; count >= 8; count -= 8, many += 8, at += 8 * step) {
        const lanes *p = one, *q = many;
        SUMS(CLEAR)
        for (long t = 0; t < ticks; t++, p += every, q += every) {
            lanes v = *p;
            SUMS(TERM)
        }
        SUMS(GIVE_TERM)
    }
    for (; count > 0; count--, many++, at += step) {
        const lanes *p = one, *q = many;
        lanes y0 = {}, y1 = {};
        for (long t = 0; t + 2 <= ticks; t += 2, p += 2 * every, q += 2 * every) {
            y0 += p[0] * q[0];
            y1 += p[every] * q[every];
        }
        if (ticks & 1)
            y0 += *p * *q;
        *at += y0 + y1;
    }
}

/* sum[i·by_row + j·by_column] += Σ a[i]·b[j] over ticks, whose a and b are `every` apart */
INLINE void add_outer(lanes *restrict sum, long by_row, long by_column, const lanes *restrict a,
                      const lanes *restrict b, long every, long ticks, long rows, long columns)
{
    long i = 0, whole = columns & ~3L;
    for (; i + 4 <= rows; i += 4)
        for (long j = 0; j < whole; j += 4) {
            const lanes *p = a + i, *q = b + j;
            lanes *at = sum + i * by_row + j * by_column;
            HALF(TAKE)
            for (long t = 0; t < ticks; t++, p += every, q += every) {
                HALF(TERMS)
            }
            HALF(GIVE_TERMS)
        }
    for (long j = whole; j < columns; j++)
        add_line(sum + j * by_column, by_row, b + j, a, every, ticks, i);
    for (; i < rows; i++)
        add_line(sum + i * by_row, by_column, a + i, b, every, ticks, columns);
}
