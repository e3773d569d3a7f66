/* A servo of one's own: a motor with a gear behind an H-bridge, and a quadrature encoder at the motor.
 *
 *     PWM_PIN -> enable of the bridge (L298, TB6612), FORWARD_PIN and BACKWARD_PIN -> its inputs
 *     A_PIN, B_PIN <- the encoder's two tracks; A_PIN must be able to interrupt
 *     STOP_PIN <- an emergency stop that opens: closed to ground while it is not pressed
 *
 * The angle is 0 where it stands when it boots. Any bundle for servos drives it:
 * acclimate run examples/bundles/servo_wide_rl2.acclimate --port /dev/ttyACM0 */
#include <acclimate_arduino.h>

const uint8_t PWM_PIN = 9, FORWARD_PIN = 7, BACKWARD_PIN = 8, A_PIN = 2, B_PIN = 3, NOISE_PIN = A5, STOP_PIN = 4;
const float COUNTS_PER_TURN = 2.0f * 11.0f * 98.8f; /* of the output: edges of A, lines, gear */
const float RAD_PER_COUNT = 6.2831853f / COUNTS_PER_TURN;
const uint32_t SAMPLE_US = 1000;
const float SMOOTHING = 0.1f; /* of the velocity, per sample: about 10 ms */

/* The scale is the encoder's own step: positions go out as they are counted. */
#define SPEED_SCALE 1.52587890625e-05f  /* 2^-16 rad/s */
#define DUTY_SCALE 9.5367431640625e-07f /* 2^-20 */

const acclimate_channel SENSORS[] = {
    {"position", "rad", RAD_PER_COUNT, -6.2f, 6.2f},
    {"velocity", "rad/s", SPEED_SCALE, -30.0f, 30.0f},
};
const acclimate_channel ACTUATORS[] = {
    {"duty", "1", DUTY_SCALE, -1.0f, 1.0f},
};
/* The duty changes by at most 2 % in a millisecond, which spares the gear. */
const acclimate_limits LIMITS[] = {
    {ACCLIMATE_LOW(-1.0f, DUTY_SCALE), ACCLIMATE_HIGH(1.0f, DUTY_SCALE), 0, ACCLIMATE_HIGH(0.02f, DUTY_SCALE), 0},
};
/* firmware, sensors, actuators, limits, how many of each; rate in mHz; watchdog in ms: now, shortest, longest */
const acclimate_profile MACHINE = {"hbridge-encoder 1", SENSORS, ACTUATORS, LIMITS, 2, 1, 100000, 100, 20, 1000};

volatile int32_t counted; /* by the interrupt */
int32_t counts;
float speed;      /* rad/s */
uint32_t sampled; /* us */

void on_edge()
{
    counted += digitalRead(A_PIN) == digitalRead(B_PIN) ? 1 : -1;
}

void sense(void *, int32_t *values)
{
    values[0] = counts;
    values[1] = acclimate_to_wire(speed, SPEED_SCALE);
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
    int32_t before = counts;

    noInterrupts();
    counts = counted;
    interrupts();
    speed += SMOOTHING * ((float)(counts - before) * RAD_PER_COUNT * (1e6f / (float)SAMPLE_US) - speed);
    acclimate_cause(&device.device, ACCLIMATE_EMERGENCY, digitalRead(STOP_PIN) == HIGH, micros());
}

void setup()
{
    pinMode(PWM_PIN, OUTPUT);
    pinMode(FORWARD_PIN, OUTPUT);
    pinMode(BACKWARD_PIN, OUTPUT);
    pinMode(A_PIN, INPUT_PULLUP);
    pinMode(B_PIN, INPUT_PULLUP);
    pinMode(STOP_PIN, INPUT_PULLUP);
    attachInterrupt(digitalPinToInterrupt(A_PIN), on_edge, CHANGE);
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
