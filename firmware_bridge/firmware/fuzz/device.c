/* A device and whatever may happen to it: time, bytes, frames of its host in any order, causes, a board without room.
 *
 * What must hold all the time: targets within their limits; nothing driven while it is latched, or for longer after a
 * reading than its host allowed; every frame that it sends is one. */
#include <string.h>

#include "fuzz.h"

enum { SENSORS = 2, ACTUATORS = 3 };
enum { LOW = -1000, HIGH = 2000, NEUTRAL = 5 };

static const acclimate_channel CHANNELS[SENSORS + ACTUATORS] = {
    {"q", "rad", 1.0f, -3e3f, 3e3f}, {"v", "rad/s", 1.0f, -3e3f, 3e3f}, {"q", "rad", 1.0f, LOW, HIGH},
    {"u", "1", 1.0f, LOW, HIGH},     {"w", "1", 1.0f, LOW, HIGH},
};
static const acclimate_limits LIMITS[ACTUATORS] = {
    {LOW, HIGH, 0, 0, 1}, {LOW, HIGH, NEUTRAL, 0, 0}, {LOW, HIGH, NEUTRAL, 3, 0},
};
static const acclimate_profile PROFILE = {
    "fuzz 1", CHANNELS, CHANNELS + SENSORS, LIMITS, SENSORS, ACTUATORS, 100000, 100, 20, 1000,
};

static struct {
    acclimate_device device;
    acclimate_decoder heard; /* by its host */
    uint32_t now, seq;
    uint64_t until;     /* on the device's clock: how long the newest command that it has taken lets it be driven */
    int32_t reading;
    bool driven, accepted, room;
    const uint8_t *data;
    size_t left;
} world;

static uint8_t next(void)
{
    if (world.left == 0)
        return 0;
    world.left--;
    return *world.data++;
}

static uint32_t next32(void)
{
    uint32_t value = next();

    value |= (uint32_t)next() << 8;
    value |= (uint32_t)next() << 16;
    return value | (uint32_t)next() << 24;
}

static bool hear(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    if (!world.room)
        return false;
    PROMISE(length <= ACCLIMATE_MAX_FRAME);
    for (size_t i = 0; i + 1 < length; i++)
        PROMISE(acclimate_decode(&world.heard, &world.device.layout, bytes[i]) == ACCLIMATE_MORE);
    PROMISE(acclimate_decode(&world.heard, &world.device.layout, bytes[length - 1]) == ACCLIMATE_FRAME);
    return true;
}

static void sense(void *context, int32_t *values)
{
    (void)context;
    values[0] = world.reading;
    values[1] = world.reading / 2;
}

static void apply(void *context, const int32_t *targets, bool driven)
{
    (void)context;
    world.driven = world.accepted = driven;
    if (!driven) {
        PROMISE(targets[1] == NEUTRAL && targets[2] == NEUTRAL);
        return;
    }
    PROMISE(acclimate_state_now(&world.device) == ACCLIMATE_DRIVING);
    for (unsigned i = 0; i < ACTUATORS; i++)
        PROMISE(targets[i] >= LOW && targets[i] <= HIGH);
}

static uint32_t device_clock(void)
{
    return world.now - world.device.boot_us;
}

/* A frame as its host would seal it: what is in it is the fuzzer's. */
static void send(uint8_t type)
{
    static const uint8_t LENGTHS[ACCLIMATE_TYPES] = {
        0, 4, 50, 58, 4 + 4 * ACTUATORS, 18 + 4 * SENSORS, 0, 8, 0, 1, 8, 8, 64,
    };
    uint8_t wire[ACCLIMATE_MAX_FRAME] = {0}, *raw = wire + 1, how = next();
    uint16_t session = how & 1 ? (uint16_t)next32() : world.device.session;
    uint32_t age = how & 2 ? next32() : next() * 1000u, t_us = device_clock() - age;
    uint32_t ttl_us;
    bool drives;

    world.seq += how & 4 ? next32() : 1;
    raw[1] = type;
    memcpy(raw + 2, &world.seq, 2);
    memcpy(raw + 4, &t_us, 4);
    memcpy(raw + 8, &session, 2);
    for (unsigned i = 0; i < LENGTHS[type]; i++)
        raw[ACCLIMATE_HEADER + i] = next();
    if (type == ACCLIMATE_CLEAR && how & 8)
        raw[ACCLIMATE_HEADER] = world.device.latches;
    if (type == ACCLIMATE_CMD && how & 16)
        raw[ACCLIMATE_HEADER + 1] = 0; /* a short time to live, which ends before the watchdog does */
    ttl_us = 1000u * (raw[ACCLIMATE_HEADER] | (uint32_t)raw[ACCLIMATE_HEADER + 1] << 8);
    drives = type == ACCLIMATE_CMD && raw[ACCLIMATE_HEADER + 2] == 1 && age <= ttl_us;
    world.accepted = false;
    acclimate_take(&world.device, wire, acclimate_encode(wire, &world.device.layout), world.now);
    if (world.accepted && drives)
        world.until = (uint64_t)device_clock() + ttl_us - age;
}

static void garbage(void)
{
    uint8_t bytes[256], n = next();

    for (unsigned i = 0; i < n; i++)
        bytes[i] = next();
    acclimate_take(&world.device, bytes, n, world.now);
}

static void begin(void)
{
    static const acclimate_board BOARD = {NULL, hear, sense, apply};

    memset(&world.heard, 0, sizeof world.heard);
    world.until = 0;
    acclimate_begin(&world.device, &PROFILE, &BOARD, next32(), world.device.causes, world.now);
}

static void happen(uint8_t what)
{
    char text[80] = {0};

    if (what < 160) {
        send((uint8_t)(1 + what % (ACCLIMATE_TYPES - 1)));
    } else if (what < 200) {
        world.now += next() * 256u;
    } else if (what < 210) {
        world.now += next() * 16384u;
    } else if (what < 225) {
        garbage();
    } else if (what < 235) {
        acclimate_cause(&world.device, next() | 4u, next() & 1, world.now);
    } else if (what < 240) {
        world.room = !world.room;
    } else if (what < 245) {
        world.reading = (int32_t)next32();
    } else if (what < 250) {
        for (unsigned i = 0; i < sizeof text - 1; i++)
            text[i] = (char)next();
        acclimate_log(&world.device, next(), text);
    } else if (what < 253) {
        acclimate_trip(&world.device, next() | 1u, world.now);
    } else {
        begin();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    memset(&world, 0, sizeof world);
    world.data = data;
    world.left = size;
    world.room = true;
    world.now = next32();
    begin();
    while (world.left) {
        happen(next());
        acclimate_advance(&world.device, world.now);
        PROMISE(!world.driven || acclimate_state_now(&world.device) == ACCLIMATE_DRIVING);
        PROMISE(!world.driven || device_clock() < world.until);
    }
    return 0;
}
