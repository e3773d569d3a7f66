/* A device whose board writes down what it is told: the C core on a bench, for tests in Python. */
#include <stdlib.h>
#include <string.h>

#include "acclimate.h"

enum { OUT = 1 << 16, APPLIED = 1 << 14, ROWS = 64 };

typedef struct {
    acclimate_device device;
    acclimate_profile profile;
    acclimate_board board;
    acclimate_channel channels[ACCLIMATE_MAX_SENSORS + ACCLIMATE_MAX_ACTUATORS];
    acclimate_limits limits[ACCLIMATE_MAX_ACTUATORS];
    int32_t readings[ROWS][ACCLIMATE_MAX_SENSORS]; /* taken one after the other */
    unsigned measured;
    int32_t room; /* frames that the board still takes; negative for any number */
    size_t sent, applied;
    uint8_t out[OUT];
    int32_t log[APPLIED]; /* driven, then the targets */
} bench;

static bool write_out(void *context, const uint8_t *bytes, size_t length)
{
    bench *b = context;

    if (b->room == 0 || b->sent + length > OUT)
        return false;
    b->room -= b->room > 0;
    memcpy(b->out + b->sent, bytes, length);
    b->sent += length;
    return true;
}

static void sense(void *context, int32_t *values)
{
    bench *b = context;

    memcpy(values, b->readings[b->measured++ % ROWS], b->profile.sensor_count * sizeof *values);
}

static void apply(void *context, const int32_t *targets, bool driven)
{
    bench *b = context;
    size_t n = b->profile.actuator_count;

    if (b->applied + n + 1 > APPLIED)
        return;
    b->log[b->applied++] = driven;
    memcpy(b->log + b->applied, targets, n * sizeof *targets);
    b->applied += n;
}

bench *bench_new(const char *firmware, const acclimate_channel *channels, unsigned sensors, unsigned actuators,
                 const acclimate_limits *limits, const int32_t *readings, uint32_t rate_mhz, const uint16_t *watchdog)
{
    bench *b = calloc(1, sizeof *b);

    memcpy(b->channels, channels, (sensors + actuators) * sizeof *channels);
    memcpy(b->limits, limits, actuators * sizeof *limits);
    for (unsigned row = 0; row < ROWS; row++)
        memcpy(b->readings[row], readings + row * sensors, sensors * sizeof *readings);
    b->profile = (acclimate_profile){.sensors = b->channels, .actuators = b->channels + sensors, .limits = b->limits,
                                     .sensor_count = (uint8_t)sensors, .actuator_count = (uint8_t)actuators,
                                     .rate_mhz = rate_mhz, .watchdog_ms = watchdog[0],
                                     .watchdog_min_ms = watchdog[1], .watchdog_max_ms = watchdog[2]};
    strncpy(b->profile.firmware, firmware, sizeof b->profile.firmware);
    b->board = (acclimate_board){b, write_out, sense, apply};
    b->room = -1;
    return b;
}

void bench_free(bench *b) { free(b); }
void bench_begin(bench *b, uint32_t boot, uint8_t causes, uint32_t now)
{
    acclimate_begin(&b->device, &b->profile, &b->board, boot, causes, now);
}
void bench_take(bench *b, const uint8_t *bytes, size_t length, uint32_t now)
{
    acclimate_take(&b->device, bytes, length, now);
}
void bench_advance(bench *b, uint32_t now) { acclimate_advance(&b->device, now); }
void bench_trip(bench *b, uint8_t why, uint32_t now) { acclimate_trip(&b->device, why, now); }
void bench_cause(bench *b, uint8_t why, bool lasts, uint32_t now) { acclimate_cause(&b->device, why, lasts, now); }
void bench_log(bench *b, uint8_t level, const char *text) { acclimate_log(&b->device, level, text); }
int bench_state(const bench *b) { return acclimate_state_now(&b->device); }
uint32_t bench_idle(const bench *b) { return acclimate_idle_us(&b->device); }
void bench_room(bench *b, int32_t frames) { b->room = frames; }

/* What was sent, and applied, since the last call. */
size_t bench_sent(bench *b, uint8_t *to)
{
    size_t sent = b->sent;

    memcpy(to, b->out, sent);
    b->sent = 0;
    return sent;
}
size_t bench_applied(bench *b, int32_t *to)
{
    size_t applied = b->applied;

    memcpy(to, b->log, applied * sizeof *to);
    b->applied = 0;
    return applied;
}

/* Decode with this layout: a byte for each verdict but MORE, and the frames one behind the other in `frames`. */
size_t bench_decode(const uint8_t *bytes, size_t length, uint32_t seed, uint8_t sensors, uint8_t actuators,
                    uint8_t *verdicts, uint8_t *frames)
{
    acclimate_layout layout = {seed, sensors, actuators};
    acclimate_decoder decoder = {0};
    size_t found = 0;

    for (size_t i = 0; i < length; i++) {
        size_t collected = decoder.length;
        acclimate_verdict verdict = acclimate_decode(&decoder, &layout, bytes[i]);
        if (verdict != ACCLIMATE_MORE)
            verdicts[found++] = (uint8_t)verdict;
        if (verdict == ACCLIMATE_FRAME) {
            memcpy(frames, decoder.bytes + 1, collected - 5);
            frames += collected - 5;
        }
    }
    return found;
}

/* The frame as it goes on the wire, from its header and payload. */
size_t bench_encode(const uint8_t *raw, size_t length, uint32_t seed, uint8_t sensors, uint8_t actuators, uint8_t *wire)
{
    acclimate_layout layout = {seed, sensors, actuators};

    memcpy(wire + 1, raw, length);
    return acclimate_encode(wire, &layout);
}
