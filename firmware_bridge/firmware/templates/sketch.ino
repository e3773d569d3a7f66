/* @NAME@: what is measured and driven. Everything else is in channels.c and src/. */
#include "channels.h"
#include "src/acclimate_arduino.h"

const uint8_t NOISE_PIN = A5; /* nothing is connected to it */

void sense(void *, int32_t *values)
{
@SENSE@
}

void apply(void *, const int32_t *targets, bool driven)
{
@APPLY@
}

AcclimateArduino device(Serial, MACHINE, sense, apply);

void setup()
{
    Serial.begin(@BAUD@);
    device.begin(acclimate_boot_id(NOISE_PIN));
}

void loop()
{
    /* What must stop the machine: acclimate_cause(&device.device, ACCLIMATE_EMERGENCY, is it pressed?, micros()); */
    device.poll();
}
