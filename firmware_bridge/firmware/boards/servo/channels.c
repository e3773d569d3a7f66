#include "machine.h"

#define ANGLE 0x1p-20 /* rad */
#define SPEED 0x1p-16 /* rad/s */
#define DUTY 0x1p-20
#ifndef RATE_MHZ
#define RATE_MHZ 100000
#endif

static const acclimate_channel SENSORS[] = {
    {"position", "rad", (float)ANGLE, -6.2831855f, 6.2831855f},
    {"velocity", "rad/s", (float)SPEED, -100.0f, 100.0f},
};
static const acclimate_channel ACTUATORS[] = {
    {"duty", "1", (float)DUTY, -1.0f, 1.0f},
};
static const acclimate_limits LIMITS[] = {
    {.low = ACCLIMATE_LOW(-1.0, DUTY), .high = ACCLIMATE_HIGH(1.0, DUTY)},
};

const acclimate_profile MACHINE = {
    .firmware = "acclimate-servo 1",
    .sensors = SENSORS,
    .actuators = ACTUATORS,
    .limits = LIMITS,
    .sensor_count = sizeof SENSORS / sizeof *SENSORS,
    .actuator_count = sizeof ACTUATORS / sizeof *ACTUATORS,
    .rate_mhz = RATE_MHZ,
    .watchdog_ms = 100,
    .watchdog_min_ms = 20,
    .watchdog_max_ms = 1000,
};
