/* A servo that is not there: a motor with a gear, viscous and dry friction, and an encoder of 4096 steps. */
#include "machine.h"

#define SUBSTEP_US 250u
#define SUBSTEP_S 250e-6f
#define SUPPLY 7.2f      /* V */
#define KT 1.62f         /* N m/A, and V s/rad, at the output */
#define RESISTANCE 3.95f /* ohm */
#define INERTIA 0.03f    /* kg m^2, load included */
#define DRY 0.09f        /* N m */
#define VISCOUS 0.0117f  /* N m s/rad */
#define STOP 6.2f        /* rad, where it hits its end */
#define COUNTS_PER_RAD 651.8986f
#define WIRE_PER_RAD 1048576.0f /* of position */
#define WIRE_PER_RAD_S 65536.0f /* of velocity */
#define WIRE_PER_DUTY 1048576.0f

static struct {
    float angle, speed, duty; /* rad, rad/s */
    uint32_t at;              /* us */
    bool begun;
} servo;

static void substep(void)
{
    float torque = KT * (SUPPLY * servo.duty - KT * servo.speed) / RESISTANCE - VISCOUS * servo.speed;
    float push = servo.speed + SUBSTEP_S * torque / INERTIA, hold = SUBSTEP_S * DRY / INERTIA;

    servo.speed = push > hold ? push - hold : push < -hold ? push + hold : 0.0f;
    servo.angle += SUBSTEP_S * servo.speed;
    if (servo.angle > STOP || servo.angle < -STOP) {
        servo.angle = servo.angle > 0.0f ? STOP : -STOP;
        servo.speed = 0.0f;
    }
}

void machine_advance(uint32_t now_us)
{
    if (!servo.begun) {
        servo.begun = true;
        servo.at = now_us;
    }
    while (now_us - servo.at >= SUBSTEP_US && now_us - servo.at < 0x80000000u) {
        servo.at += SUBSTEP_US;
        substep();
    }
}

void machine_sense(void *context, int32_t *values)
{
    float counts = servo.angle * COUNTS_PER_RAD;

    (void)context;
    values[0] = (int32_t)((float)(int32_t)counts / COUNTS_PER_RAD * WIRE_PER_RAD);
    values[1] = (int32_t)(servo.speed * WIRE_PER_RAD_S);
}

void machine_apply(void *context, const int32_t *targets, bool driven)
{
    (void)context;
    (void)driven; /* its neutral is duty 0, which a bridge short-circuits or lets go */
    servo.duty = (float)targets[0] / WIRE_PER_DUTY;
}
