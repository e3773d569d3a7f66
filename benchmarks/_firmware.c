/* Frames that are corrupted in every way that a wire has, by the million, through the codec of the firmware.
 *
 *     corruption SEED FRAMES
 *
 * Prints how many frames were corrupted, how many pieces were dropped, and how many frames came out that nobody had
 * sent. The damage is that of benchmarks/_corruption.py, which does the same to the codec of the host. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "acclimate_frame.h"

enum { POOL = 2000, KINDS = 5 };

static struct {
    acclimate_layout layout;
    size_t length; /* of a frame on the wire */
    uint8_t wire[POOL][ACCLIMATE_MAX_FRAME], raw[POOL][ACCLIMATE_MAX_FRAME];
} pool;

static acclimate_decoder decoder;
static uint64_t state, corrupted, dropped, wrong;

static uint32_t draw(uint32_t below)
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (uint32_t)(((state * 0x2545F4914F6CDD1Du >> 32) * below) >> 32);
}

/* Driving commands; the sequence number of each is where it lies. */
static void fill(uint8_t actuators)
{
    pool.layout = (acclimate_layout){acclimate_seed(draw(UINT32_MAX)), 1, actuators};
    for (unsigned i = 0; i < POOL; i++) {
        uint8_t *raw = pool.wire[i] + 1;
        for (unsigned k = 4; k < ACCLIMATE_HEADER + 4u + 4u * actuators; k++)
            raw[k] = (uint8_t)draw(256);
        raw[0] = ACCLIMATE_VERSION;
        raw[1] = ACCLIMATE_CMD;
        raw[2] = (uint8_t)i;
        raw[3] = (uint8_t)(i >> 8);
        memcpy(pool.raw[i], raw, ACCLIMATE_MAX_FRAME - 1);
        pool.length = acclimate_encode(pool.wire[i], &pool.layout);
    }
}

static void hear(const uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        acclimate_verdict verdict = acclimate_decode(&decoder, &pool.layout, bytes[i]);
        if (verdict == ACCLIMATE_FRAME) {
            const uint8_t *raw = decoder.bytes + 1;
            unsigned seq = raw[2] | (unsigned)raw[3] << 8;
            wrong += seq >= POOL || memcmp(raw, pool.raw[seq], pool.length - 6) != 0;
        } else if (verdict != ACCLIMATE_MORE) {
            dropped++;
        }
    }
}

/* One to eight bits, anywhere, the zero at the end included. */
static size_t flip(uint8_t *bytes, size_t length)
{
    for (uint32_t n = 1 + draw(8); n; n--)
        bytes[draw((uint32_t)length)] ^= (uint8_t)(1u << draw(8));
    return length;
}

/* A run of up to 16 bytes of noise. */
static size_t burst(uint8_t *bytes, size_t length)
{
    size_t begin = draw((uint32_t)length), end = begin + 1 + draw(16);

    for (; begin < end && begin < length; begin++)
        bytes[begin] = (uint8_t)draw(256);
    return length;
}

/* One to four bytes lost, anywhere: also the zero between two frames. */
static size_t cut(uint8_t *bytes, size_t length)
{
    for (uint32_t n = 1 + draw(4); n; n--) {
        size_t at = draw((uint32_t)length);
        memmove(bytes + at, bytes + at + 1, length - at - 1);
        length--;
    }
    return length;
}

/* The beginning of one frame and the end of another; both are different ones from the result, or it does not count. */
static size_t splice(uint8_t *bytes, size_t length)
{
    const uint8_t *other = pool.wire[draw(POOL)];
    size_t at = 1 + draw((uint32_t)length - 1);

    memcpy(bytes + at, other + at, length - at);
    corrupted -= memcmp(bytes, other, length) == 0;
    return length;
}

/* All bits shifted, as where a start bit was missed. */
static size_t shift(uint8_t *bytes, size_t length)
{
    unsigned by = 1 + draw(7), carried = 0;

    for (size_t i = 0; i < length; i++) {
        unsigned wide = (unsigned)bytes[i] << by;
        bytes[i] = (uint8_t)(wide | carried);
        carried = wide >> 8;
    }
    return length;
}

static size_t (*const DAMAGE[KINDS])(uint8_t *, size_t) = {flip, burst, cut, splice, shift};

static void corrupt_one(uint64_t number)
{
    uint8_t bytes[ACCLIMATE_MAX_FRAME];
    unsigned sent = draw(POOL);
    size_t length;

    memcpy(bytes, pool.wire[sent], pool.length);
    length = DAMAGE[number % KINDS](bytes, pool.length);
    corrupted += length != pool.length || memcmp(bytes, pool.wire[sent], length) != 0;
    hear(bytes, length);
}

int main(int argc, char **argv)
{
    static const uint8_t ACTUATORS[] = {1, 2, 6, 27};
    uint64_t frames = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;

    state = 0x9E3779B97F4A7C15u ^ (argc > 1 ? strtoull(argv[1], NULL, 10) : 0);
    for (uint64_t block = 0; corrupted < frames; block++) {
        fill(ACTUATORS[block % sizeof ACTUATORS]);
        for (uint64_t number = 0; number < 100000; number++)
            corrupt_one(number);
    }
    printf("corrupted %llu\ndropped %llu\nwrong %llu\n", (unsigned long long)corrupted, (unsigned long long)dropped,
           (unsigned long long)wrong);
    return 0;
}
