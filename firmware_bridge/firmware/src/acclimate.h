/* The device's side of Acclimate's serial link: bytes and time in, bytes out. No heap, no clock, no port.
 *
 * A board gives the device three functions (`acclimate_board`), and says again and again what has arrived and what time
 * it is:
 *
 *     acclimate_begin(&device, &profile, &board, boot_id, micros());
 *     for (;;) {
 *         while (a byte has arrived) acclimate_take(&device, &byte, 1, micros());
 *         acclimate_advance(&device, micros());
 *     }
 *
 * None of these functions may be called from an interrupt while another one runs. docs/firmware.md says more.
 */
#ifndef ACCLIMATE_H
#define ACCLIMATE_H

#include "acclimate_frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Values are in wire integers: times the channel's scale they are in its unit. */
#define ACCLIMATE_NO_VALUE INT32_MIN /* a sensor that fails; an actuator that is held by one has no target then */
#define ACCLIMATE_LARGEST INT32_MAX  /* and its negative: whatever is larger */

/* Why a device is latched. */
enum {
    ACCLIMATE_SESSION = 1, /* booted, a new session, or stopped by its host: nobody has cleared it since */
    ACCLIMATE_WATCHDOG = 2,
    ACCLIMATE_EMERGENCY = 4,
    ACCLIMATE_OVERLOAD = 8,
    ACCLIMATE_TEMPERATURE = 16,
    ACCLIMATE_SUPPLY = 32,
    ACCLIMATE_SENSOR = 64,
    ACCLIMATE_OTHER = 128 /* say what in a log */
};

typedef enum { ACCLIMATE_SAFE, ACCLIMATE_IDLE, ACCLIMATE_DRIVING } acclimate_state;

enum { ACCLIMATE_DEBUG = 1, ACCLIMATE_INFO, ACCLIMATE_WARNING, ACCLIMATE_ERROR };

/* A channel as it is described to the host: exactly what CHANNEL carries. */
typedef struct {
    char name[32], unit[12];
    float scale, minimum, maximum;
} acclimate_channel;

/* What of an actuator the host is not told. All in wire integers. */
typedef struct {
    int32_t low, high;  /* targets are clamped to these */
    int32_t neutral;    /* where it goes when nobody drives */
    int32_t slew;       /* how far the target moves in a millisecond at most; 0 for at once, as neutral always is */
    uint8_t hold;       /* 0; or 1 + the sensor of the same scale whose reading is the neutral target instead */
} acclimate_limits;

/* What of a range a wire integer can express. */
#define ACCLIMATE_LOW(minimum, scale) \
    ((int32_t)((minimum) / (scale)) + ((double)(int32_t)((minimum) / (scale)) * (scale) < (minimum)))
#define ACCLIMATE_HIGH(maximum, scale) \
    ((int32_t)((maximum) / (scale)) - ((double)(int32_t)((maximum) / (scale)) * (scale) > (maximum)))

/* What a device is, apart from what it is doing. */
typedef struct {
    char firmware[24]; /* name and version, for people */
    const acclimate_channel *sensors, *actuators;
    const acclimate_limits *limits; /* of each actuator */
    uint8_t sensor_count, actuator_count;
    uint32_t rate_mhz; /* control rate, in thousandths of a hertz */
    uint16_t watchdog_ms, watchdog_min_ms, watchdog_max_ms;
} acclimate_profile;

/* What a board does for its device. `context` is handed through. */
typedef struct {
    void *context;
    /* Send all of it, or nothing and return false. It may not wait. */
    bool (*write)(void *context, const uint8_t *bytes, size_t length);
    /* Measure now, every sensor. */
    void (*sense)(void *context, int32_t *values);
    /* Make these the actuators' targets. driven: false where they are neutral. */
    void (*apply)(void *context, const int32_t *targets, bool driven);
} acclimate_board;

/* One device. Its fields are its own. */
typedef struct {
    const acclimate_profile *profile;
    const acclimate_board *board;
    uint32_t now, boot_us; /* of the board's clock, in µs */
    uint32_t boot_id, schema_hash, nonce;
    uint32_t due[4]; /* when what happens of itself will happen */
    uint32_t obs_period_us, watchdog_us, announce_at;
    uint32_t cmd_at, cmd_t_us; /* when the last accepted CMD came, by the board's clock and the device's */
    acclimate_layout layout;
    uint16_t seq, session, last_cmd;
    uint16_t bad, stale, refused, expired;
    uint8_t armed;            /* a bit for each of `due` */
    uint8_t faults, causes;   /* latched for; lasting now */
    uint8_t latches, channel; /* how often; the next CHANNEL to be sent */
    bool driving, resting, commanded, announced;
    acclimate_decoder in;
    union {
        uint8_t bytes[3 + ACCLIMATE_MAX_FRAME]; /* so that the values of OBS are aligned */
        int32_t values[33];
    } out;
    int32_t goal[ACCLIMATE_MAX_ACTUATORS], applied[ACCLIMATE_MAX_ACTUATORS];
} acclimate_device;

/* A value in its unit as a wire integer, and back, for boards that reckon with floating point. */
static inline int32_t acclimate_to_wire(float value, float scale)
{
    float steps = value / scale;

    if (steps != steps)
        return ACCLIMATE_NO_VALUE;
    if (steps >= 2147483648.0f || steps <= -2147483648.0f)
        return steps > 0.0f ? ACCLIMATE_LARGEST : -ACCLIMATE_LARGEST;
    return (int32_t)(steps + (steps < 0.0f ? -0.5f : 0.5f));
}

static inline float acclimate_from_wire(int32_t value, float scale)
{
    return (float)value * scale;
}

/* Boot, or reboot. boot_id: as random as the board can make it. `causes` are what would latch it at once, as a pressed
 * emergency stop. Needs `profile` and `board` for as long as the device lives. */
void acclimate_begin(acclimate_device *device, const acclimate_profile *profile, const acclimate_board *board,
                     uint32_t boot_id, uint8_t causes, uint32_t now_us);

/* Take bytes that have arrived by now. */
void acclimate_take(acclimate_device *device, const uint8_t *bytes, size_t length, uint32_t now_us);

/* Let time pass until now: whatever is due happens. To be called every millisecond, or more often. */
void acclimate_advance(acclimate_device *device, uint32_t now_us);

/* For how many µs from the last call on nothing will happen of itself. */
uint32_t acclimate_idle_us(const acclimate_device *device);

acclimate_state acclimate_state_now(const acclimate_device *device);

/* Latch now, for one of the reasons above. */
void acclimate_trip(acclimate_device *device, uint8_t why, uint32_t now_us);

/* Say whether a reason lasts, as often as you like: it latches when it begins, and cannot be cleared before it ends. */
void acclimate_cause(acclimate_device *device, uint8_t why, bool lasts, uint32_t now_us);

/* Send a line for people, of which 63 bytes fit, if there is a host to hear it. At most ten a second. */
void acclimate_log(acclimate_device *device, uint8_t level, const char *text);

#ifdef __cplusplus
}
#endif

#endif
