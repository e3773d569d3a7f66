/* A servo of one's own: a motor with a gear behind an H-bridge, and a potentiometer at its output.
 *
 *     PWM_PIN -> enable of the bridge (L298, TB6612), FORWARD_PIN and BACKWARD_PIN -> its inputs
 *     POT_PIN <- the potentiometer's middle, its ends at ground and supply
 *     STOP_PIN <- an emergency stop that opens: closed to ground while it is not pressed
 *
 * Any bundle for servos drives it: acclimate run examples/bundles/servo_wide_rl2.acclimate --port /dev/ttyACM0 */
#include <acclimate_arduino.h>

const uint8_t PWM_PIN = 9, FORWARD_PIN = 7, BACKWARD_PIN = 8, POT_PIN = A0, NOISE_PIN = A5, STOP_PIN = 4;
const float TRAVEL = 4.71f;        /* rad, from one end of the potentiometer to the other */
const int LOWEST = 8, HIGHEST = 1015; /* beyond them it is not a position: the wire is broken */
const uint32_t SAMPLE_US = 1000;
const float SMOOTHING = 0.1f; /* of the velocity, per sample: about 10 ms */

#define ANGLE_SCALE 4.76837158203125e-07f /* 2^-21 rad */
#define SPEED_SCALE 1.52587890625e-05f    /* 2^-16 rad/s */
#define DUTY_SCALE 9.5367431640625e-07f   /* 2^-20 */

const acclimate_channel SENSORS[] = {
    {"position", "rad", ANGLE_SCALE, -2.4f, 2.4f},
    {"velocity", "rad/s", SPEED_SCALE, -30.0f, 30.0f},
};
const acclimate_channel ACTUATORS[] = {
    {"duty", "1", DUTY_SCALE, -1.0f, 1.0f},
};
const acclimate_limits LIMITS[] = {
    {ACCLIMATE_LOW(-1.0f, DUTY_SCALE), ACCLIMATE_HIGH(1.0f, DUTY_SCALE), 0, 0, 0},
};
/* firmware, sensors, actuators, limits, how many of each; rate in mHz; watchdog in ms: now, shortest, longest */
const acclimate_profile MACHINE = {"hbridge-pot 1", SENSORS, ACTUATORS, LIMITS, 2, 1, 100000, 100, 20, 1000};

float angle, speed; /* rad, rad/s */
bool broken;        /* the potentiometer's wire */
uint32_t sampled;   /* us */

void sense(void *, int32_t *values)
{
    values[0] = broken ? ACCLIMATE_NO_VALUE : acclimate_to_wire(angle, ANGLE_SCALE);
    values[1] = broken ? ACCLIMATE_NO_VALUE : acclimate_to_wire(speed, SPEED_SCALE);
}

void apply(void *, const int32_t *targets, bool driven)
{
    float duty = acclimate_from_wire(targets[0], DUTY_SCALE);

    digitalWrite(FORWARD_PIN, driven && duty > 0.0f);
    digitalWrite(BACKWARD_PIN, driven && duty < 0.0f);
    analogWrite(PWM_PIN, driven ? (int)(255.0f * (duty < 0.0f ? -duty : duty)) : 0);
}

AcclimateArduino device(Serial, MACHINE, sense, apply);

void sample()
{
    int raw = analogRead(POT_PIN);
    float before = angle;

    broken = raw < LOWEST || raw > HIGHEST;
    angle = ((float)raw / 1023.0f - 0.5f) * TRAVEL;
    speed += SMOOTHING * ((angle - before) * (1e6f / (float)SAMPLE_US) - speed);
    acclimate_cause(&device.device, ACCLIMATE_SENSOR, broken, micros());
    acclimate_cause(&device.device, ACCLIMATE_EMERGENCY, digitalRead(STOP_PIN) == HIGH, micros());
}

void setup()
{
    pinMode(PWM_PIN, OUTPUT);
    pinMode(FORWARD_PIN, OUTPUT);
    pinMode(BACKWARD_PIN, OUTPUT);
    pinMode(STOP_PIN, INPUT_PULLUP);
    Serial.begin(115200);
    device.begin(acclimate_boot_id(NOISE_PIN), digitalRead(STOP_PIN) == HIGH ? ACCLIMATE_EMERGENCY : 0);
    sampled = micros();
}

void loop()
{
    if (micros() - sampled >= SAMPLE_US) {
        sampled += SAMPLE_US;
        sample();
    }
    device.poll();
}
