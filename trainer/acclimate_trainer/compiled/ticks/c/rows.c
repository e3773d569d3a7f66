/* LANES rows of numbers, as a caller keeps them, and the same side by side, a vector for each place in a row. */

#if LANES == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define LAST_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define LAST_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#else
#define FIRST_HALVES 0, 4, 1, 5
#define LAST_HALVES 2, 6, 3, 7
#endif
#ifdef __clang__
#define MERGED(a, b, order) __builtin_shufflevector(a, b, order)
#else
#define MERGED(a, b, ...) __builtin_shuffle(a, b, (mask){__VA_ARGS__})
#endif

/* to[i][j] = from[j][i]: merging the first rows with the last, as cards are shuffled, as often as LANES halves. */
INLINE void transpose(lanes *restrict to, const lanes *restrict from)
{
    lanes a[LANES], b[LANES];
    memcpy(a, from, sizeof a);
    for (int n = LANES; n > 1; n /= 2) {
        for (int i = 0; i < LANES / 2; i++) {
            b[2 * i] = MERGED(a[i], a[i + LANES / 2], FIRST_HALVES);
            b[2 * i + 1] = MERGED(a[i], a[i + LANES / 2], LAST_HALVES);
        }
        memcpy(a, b, sizeof a);
    }
    memcpy(to, a, sizeof a);
}

/* `place` is where each row begins, `count` how many numbers of it are meant. */
static void read_rows(lanes *restrict to, const float *restrict from, const int64_t *place, int64_t count)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes row[LANES];
        for (int l = 0; l < LANES; l++)
            memcpy(&row[l], from + place[l] + i, sizeof row[l]);
        transpose(to + i, row);
    }
    for (; i < count; i++)
        for (int l = 0; l < LANES; l++)
            to[i][l] = from[place[l] + i];
}

/* The first `used` rows. */
static void write_rows(float *restrict to, const lanes *restrict from, const int64_t *place, int64_t count, int used)
{
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        lanes row[LANES];
        transpose(row, from + i);
        for (int l = 0; l < used; l++)
            memcpy(to + place[l] + i, &row[l], sizeof row[l]);
    }
    for (; i < count; i++)
        for (int l = 0; l < used; l++)
            to[place[l] + i] = from[i][l];
}
