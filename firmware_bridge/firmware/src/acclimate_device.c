#include "acclimate.h"

#include <string.h>

/* What happens of itself. Of two at the same time the first one goes first. */
enum { EXPIRE, WATCHDOG, RAMP, OBS };
enum { NEUTRAL, DRIVE, STOP };
enum { WATCHDOG_MS = 1, OBS_PERIOD_US = 2 };
enum { DONE, UNKNOWN_KEY, OUT_OF_RANGE, LATCHED_AGAIN, CAUSE_LASTS };

#define ANNOUNCE_US 100000u /* at most one unasked CAPS in this time */
#define RAMP_US 1000u
#define US_PER_MS UINT32_C(1000) /* of 32 bits also where an int has 16 */
#define OBS_FASTEST_US 1000u
#define OBS_SLOWEST_US 1000000u
#define ALL_SENT 255u
#define RAW 4u /* where the header begins in `out.bytes` */
#define PAYLOAD (RAW + ACCLIMATE_HEADER)
#define OBS_VALUES ((PAYLOAD + 18u) / 4u) /* in `out.values` */

/* A frame that has arrived; its fields are not aligned. */
typedef struct {
    const uint8_t *payload;
    uint32_t t_us;
    uint16_t seq;
} frame;

static uint16_t get16(const uint8_t *from)
{
    uint16_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static uint32_t get32(const uint8_t *from)
{
    uint32_t value;

    memcpy(&value, from, sizeof value);
    return value;
}

static uint8_t *put16(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, 2);
    return to + 2;
}

static uint8_t *put32(uint8_t *to, uint32_t value)
{
    memcpy(to, &value, 4);
    return to + 4;
}

static uint32_t clock_us(const acclimate_device *d)
{
    return d->now - d->boot_us;
}

static void arm(acclimate_device *d, unsigned which, uint32_t after_us)
{
    d->due[which] = d->now + after_us;
    d->armed = (uint8_t)(d->armed | 1u << which);
}

static void disarm(acclimate_device *d, unsigned which)
{
    d->armed = (uint8_t)(d->armed & ~(1u << which));
}

/* Seal the payload that lies in `out`, and send it. */
static bool send(acclimate_device *d, uint8_t type)
{
    uint8_t *to = d->out.bytes + RAW + 1;

    *to++ = type;
    to = put16(to, d->seq++);
    to = put32(to, clock_us(d));
    put16(to, d->session);
    to = d->out.bytes + RAW - 1;
    return d->board->write(d->board->context, to, acclimate_encode(to, &d->layout));
}

static void send_caps(acclimate_device *d)
{
    const acclimate_profile *p = d->profile;
    uint8_t *to = d->out.bytes + PAYLOAD;

    to = put32(to, d->nonce);
    to = put32(to, d->boot_id);
    to = put32(to, d->schema_hash);
    *to++ = p->sensor_count;
    *to++ = p->actuator_count;
    to = put16(to, d->latches);
    to = put32(to, p->rate_mhz);
    to = put16(to, d->watchdog_us / US_PER_MS);
    to = put16(to, p->watchdog_min_ms);
    to = put16(to, p->watchdog_max_ms);
    memcpy(to, p->firmware, sizeof p->firmware);
    send(d, ACCLIMATE_CAPS);
}

/* What CHANNEL number `i` of all carries, in `out`. */
static void describe(acclimate_device *d, unsigned i)
{
    const acclimate_profile *p = d->profile;
    bool actuator = i >= p->sensor_count;
    unsigned number = actuator ? i - p->sensor_count : i;
    uint8_t *to = d->out.bytes + PAYLOAD;

    *to++ = actuator;
    *to++ = (uint8_t)number;
    memcpy(to, (actuator ? p->actuators : p->sensors) + number, sizeof(acclimate_channel));
}

/* Send the channels that are left, as far as the board takes them. */
static void introduce(acclimate_device *d)
{
    unsigned channels = (unsigned)d->profile->sensor_count + d->profile->actuator_count;

    while (d->channel < channels) {
        describe(d, d->channel);
        if (!send(d, ACCLIMATE_CHANNEL)) {
            d->seq--;
            return;
        }
        d->channel++;
    }
    d->channel = ALL_SENT;
}

static uint32_t schema_hash(acclimate_device *d)
{
    static const uint8_t VERSION[1] = {ACCLIMATE_VERSION};
    unsigned channels = (unsigned)d->profile->sensor_count + d->profile->actuator_count;
    uint32_t crc = acclimate_crc(0, VERSION, sizeof VERSION);

    for (unsigned i = 0; i < channels; i++) {
        describe(d, i);
        crc = acclimate_crc(crc, d->out.bytes + PAYLOAD, 2u + sizeof(acclimate_channel));
    }
    return crc;
}

/* A host learns by it that it talks to a device that has forgotten it, or that speaks another version. */
static void announce(acclimate_device *d)
{
    if (d->announced)
        return;
    d->announced = true;
    d->announce_at = d->now + ANNOUNCE_US;
    send_caps(d);
}

static void send_obs(acclimate_device *d)
{
    uint8_t *to = d->out.bytes + PAYLOAD;

    d->board->sense(d->board->context, d->out.values + OBS_VALUES);
    to = put16(to, d->last_cmd);
    *to++ = (uint8_t)acclimate_state_now(d);
    *to++ = d->faults;
    to = put16(to, d->latches);
    to = put32(to, d->cmd_t_us);
    to = put16(to, d->bad);
    to = put16(to, d->stale);
    to = put16(to, d->refused);
    put16(to, d->expired);
    send(d, ACCLIMATE_OBS);
}

static void send_ack(acclimate_device *d, uint8_t type, uint8_t result, uint16_t seq, uint32_t value)
{
    uint8_t *to = d->out.bytes + PAYLOAD;

    *to++ = type;
    *to++ = result;
    to = put16(to, seq);
    put32(to, value);
    send(d, ACCLIMATE_ACK);
}

/* Actuators neutral; one that is held stays where it was when it came to rest. */
static void rest(acclimate_device *d)
{
    const acclimate_profile *p = d->profile;
    bool held = false;

    if (d->resting)
        return;
    d->resting = true;
    disarm(d, RAMP);
    for (unsigned i = 0; i < p->actuator_count; i++)
        held |= p->limits[i].hold != 0;
    if (held)
        d->board->sense(d->board->context, d->out.values);
    for (unsigned i = 0; i < p->actuator_count; i++) {
        const acclimate_limits *limits = p->limits + i;
        d->applied[i] = limits->hold ? d->out.values[limits->hold - 1] : limits->neutral;
    }
    d->board->apply(d->board->context, d->applied, false);
}

/* Actuators neutral, and commands refused until a CLEAR that knows of this very latching. */
static void latch(acclimate_device *d, uint8_t why)
{
    d->faults |= why;
    d->latches++;
    d->driving = false;
    disarm(d, WATCHDOG);
    disarm(d, EXPIRE);
    rest(d);
}

static int32_t clamped(int32_t value, const acclimate_limits *limits)
{
    return value < limits->low ? limits->low : value > limits->high ? limits->high : value;
}

/* One step from where the target is towards where it is wanted. */
static int32_t stepped(int32_t from, int32_t to, int32_t slew)
{
    uint32_t step = (uint32_t)slew;

    if (to > from)
        return (uint32_t)to - (uint32_t)from > step ? from + slew : to;
    return (uint32_t)from - (uint32_t)to > step ? from - slew : to;
}

static void apply_driven(acclimate_device *d)
{
    size_t bytes = d->profile->actuator_count * sizeof d->goal[0];

    if (memcmp(d->applied, d->goal, bytes) == 0)
        disarm(d, RAMP);
    else if (!(d->armed >> RAMP & 1u))
        arm(d, RAMP, RAMP_US);
    d->board->apply(d->board->context, d->applied, true);
}

static void ramp(acclimate_device *d)
{
    for (unsigned i = 0; i < d->profile->actuator_count; i++) {
        if (d->applied[i] != d->goal[i])
            d->applied[i] = stepped(d->applied[i], d->goal[i], d->profile->limits[i].slew);
    }
    d->due[RAMP] += RAMP_US;
    apply_driven(d);
}

static void drive(acclimate_device *d, const uint8_t *targets)
{
    d->resting = false;
    for (unsigned i = 0; i < d->profile->actuator_count; i++) {
        const acclimate_limits *limits = d->profile->limits + i;
        bool at_once = limits->slew == 0 || d->applied[i] == ACCLIMATE_NO_VALUE;
        d->goal[i] = clamped((int32_t)get32(targets + 4 * i), limits);
        d->applied[i] = at_once ? d->goal[i] : clamped(d->applied[i], limits);
    }
    apply_driven(d);
}

static bool lacks_a_target(const acclimate_device *d, const uint8_t *targets)
{
    for (unsigned i = 0; i < d->profile->actuator_count; i++) {
        if ((int32_t)get32(targets + 4 * i) == ACCLIMATE_NO_VALUE)
            return true;
    }
    return false;
}

static void on_cmd(acclimate_device *d, const frame *f)
{
    uint32_t ttl_us = US_PER_MS * get16(f->payload), age_us = clock_us(d) - f->t_us;
    uint8_t mode = f->payload[2];
    const uint8_t *targets = f->payload + 4;
    uint16_t ahead = (uint16_t)(f->seq - d->last_cmd);
    bool overtaken = d->commanded && (ahead == 0 || ahead >= 0x8000u);

    if (overtaken || (mode == DRIVE && age_us > ttl_us)) {
        d->stale++;
        return;
    }
    if (mode > STOP || (mode != STOP && d->faults) || (mode == DRIVE && lacks_a_target(d, targets))) {
        d->refused++;
        return;
    }
    d->commanded = true;
    d->last_cmd = f->seq;
    d->cmd_at = d->now;
    d->cmd_t_us = clock_us(d);
    if (mode == STOP) {
        if (!(d->faults & ACCLIMATE_SESSION))
            latch(d, ACCLIMATE_SESSION);
    } else if (mode == DRIVE) {
        d->driving = true;
        arm(d, WATCHDOG, d->watchdog_us);
        arm(d, EXPIRE, ttl_us - age_us);
        drive(d, targets);
    } else {
        d->driving = false;
        disarm(d, WATCHDOG);
        disarm(d, EXPIRE);
        rest(d);
    }
}

static void on_ping(acclimate_device *d, const frame *f)
{
    put32(put32(d->out.bytes + PAYLOAD, f->seq), clock_us(d));
    send(d, ACCLIMATE_PONG);
}

static void on_clear(acclimate_device *d, const frame *f)
{
    uint8_t result = f->payload[0] != d->latches ? LATCHED_AGAIN : d->causes ? CAUSE_LASTS : DONE;

    if (result == DONE)
        d->faults = 0;
    send_ack(d, ACCLIMATE_CLEAR, result, f->seq, d->latches);
}

static void set_watchdog(acclimate_device *d, uint32_t ms)
{
    uint32_t since = d->now - d->cmd_at;

    d->watchdog_us = US_PER_MS * ms;
    if (d->driving)
        arm(d, WATCHDOG, d->watchdog_us > since ? d->watchdog_us - since : 0u);
}

static void on_cfg(acclimate_device *d, const frame *f)
{
    uint8_t key = f->payload[0], result = DONE;
    uint32_t value = get32(f->payload + 4);

    if (key == WATCHDOG_MS) {
        if (value < d->profile->watchdog_min_ms || value > d->profile->watchdog_max_ms)
            result = OUT_OF_RANGE;
        else
            set_watchdog(d, value);
        value = d->watchdog_us / US_PER_MS;
    } else if (key == OBS_PERIOD_US) {
        if (value < OBS_FASTEST_US || value > OBS_SLOWEST_US)
            result = OUT_OF_RANGE;
        else
            arm(d, OBS, d->obs_period_us = value);
        value = d->obs_period_us;
    } else {
        result = UNKNOWN_KEY;
    }
    send_ack(d, ACCLIMATE_CFG, result, f->seq, value);
}

static void open_session(acclimate_device *d, uint32_t nonce)
{
    uint8_t mixed[10];
    uint16_t drawn, before = d->session;

    put16(put32(put32(mixed, d->boot_id), nonce), before);
    drawn = (uint16_t)acclimate_crc(0, mixed, sizeof mixed);
    for (unsigned i = 0; d->session == before || d->session == 0; i++)
        d->session = (uint16_t)(drawn ^ i);
    d->nonce = nonce;
    d->commanded = false;
    d->last_cmd = 0;
    d->cmd_t_us = 0;
    arm(d, OBS, d->obs_period_us);
    latch(d, ACCLIMATE_SESSION);
}

static void on_hello(acclimate_device *d, uint32_t nonce)
{
    if (nonce == 0) {
        d->refused++;
        return;
    }
    if (d->session == 0 || nonce != d->nonce)
        open_session(d, nonce);
    send_caps(d);
    d->channel = 0;
    introduce(d);
}

static void handle(acclimate_device *d, const uint8_t *raw)
{
    uint8_t type = raw[1];
    uint16_t session = get16(raw + 8);
    frame f = {raw + ACCLIMATE_HEADER, get32(raw + 4), get16(raw + 2)};

    if (type == ACCLIMATE_HELLO) {
        on_hello(d, get32(f.payload));
    } else if (type == ACCLIMATE_ESTOP) {
        latch(d, ACCLIMATE_EMERGENCY);
    } else if (type != ACCLIMATE_CMD && type != ACCLIMATE_PING && type != ACCLIMATE_CLEAR && type != ACCLIMATE_CFG) {
        d->refused++; /* its own words, echoed: an answer would be echoed, too */
    } else if (session != d->session || session == 0) {
        d->refused++;
        announce(d);
    } else if (type == ACCLIMATE_CMD) {
        on_cmd(d, &f);
    } else if (type == ACCLIMATE_PING) {
        on_ping(d, &f);
    } else if (type == ACCLIMATE_CLEAR) {
        on_clear(d, &f);
    } else {
        on_cfg(d, &f);
    }
}

/* What comes first of what is due within `ahead` µs; -1 for nothing. */
static int next_due(const acclimate_device *d, uint32_t ahead)
{
    int first = -1;

    for (int i = OBS; i >= 0; i--) {
        uint32_t after = d->due[i] - d->now;
        if (d->armed >> i & 1u && after <= ahead) {
            first = i;
            ahead = after;
        }
    }
    return first;
}

static void happen(acclimate_device *d, int what)
{
    if (what == EXPIRE) {
        d->expired++;
        disarm(d, EXPIRE);
        rest(d);
    } else if (what == WATCHDOG) {
        latch(d, ACCLIMATE_WATCHDOG);
    } else if (what == RAMP) {
        ramp(d);
    } else {
        send_obs(d);
        d->due[OBS] += d->obs_period_us;
    }
}

void acclimate_begin(acclimate_device *d, const acclimate_profile *profile, const acclimate_board *board,
                     uint32_t boot_id, uint8_t causes, uint32_t now_us)
{
    memset(d, 0, sizeof *d);
    d->profile = profile;
    d->board = board;
    d->now = d->boot_us = now_us;
    d->boot_id = boot_id;
    d->causes = causes;
    d->faults = ACCLIMATE_SESSION | causes;
    d->latches = 1;
    d->channel = ALL_SENT;
    d->watchdog_us = US_PER_MS * profile->watchdog_ms;
    d->obs_period_us = (1000000000u + profile->rate_mhz / 2u) / profile->rate_mhz;
    d->layout.sensors = profile->sensor_count;
    d->layout.actuators = profile->actuator_count;
    d->schema_hash = schema_hash(d);
    d->layout.seed = acclimate_seed(d->schema_hash);
    rest(d);
    announce(d);
}

void acclimate_take(acclimate_device *d, const uint8_t *bytes, size_t length, uint32_t now_us)
{
    acclimate_advance(d, now_us);
    for (; length; length--) {
        acclimate_verdict verdict = acclimate_decode(&d->in, &d->layout, *bytes++);
        if (verdict == ACCLIMATE_FRAME)
            handle(d, d->in.bytes + 1);
        else if (verdict != ACCLIMATE_MORE)
            d->bad++;
        if (verdict == ACCLIMATE_OTHER_VERSION)
            announce(d);
    }
}

void acclimate_advance(acclimate_device *d, uint32_t now_us)
{
    int what;

    if (now_us - d->now >= 0x80000000u)
        return; /* a clock that runs back: no time has passed */
    while ((what = next_due(d, now_us - d->now)) >= 0) {
        d->now = d->due[what];
        happen(d, what);
    }
    d->now = now_us;
    if (d->announced && d->now - d->announce_at < 0x80000000u)
        d->announced = false;
    if (d->channel != ALL_SENT)
        introduce(d);
}

uint32_t acclimate_idle_us(const acclimate_device *d)
{
    int what = next_due(d, UINT32_MAX);

    return what < 0 ? UINT32_MAX : d->due[what] - d->now;
}

acclimate_state acclimate_state_now(const acclimate_device *d)
{
    return d->faults ? ACCLIMATE_SAFE : d->driving ? ACCLIMATE_DRIVING : ACCLIMATE_IDLE;
}

void acclimate_trip(acclimate_device *d, uint8_t why, uint32_t now_us)
{
    acclimate_advance(d, now_us);
    latch(d, why);
}

void acclimate_cause(acclimate_device *d, uint8_t why, bool lasts, uint32_t now_us)
{
    bool begins = lasts && (d->causes & why) != why;

    d->causes = (uint8_t)(lasts ? d->causes | why : d->causes & ~why);
    if (begins)
        acclimate_trip(d, why, now_us);
}

void acclimate_log(acclimate_device *d, uint8_t level, const char *text)
{
    uint8_t *to = d->out.bytes + PAYLOAD;
    size_t length = 0;

    if (d->session == 0)
        return;
    while (length < 63 && text[length])
        length++;
    while (length && ((uint8_t)text[length] & 0xC0u) == 0x80u)
        length--; /* whole characters of UTF-8 only */
    *to++ = level;
    memset(to, 0, 63);
    memcpy(to, text, length);
    send(d, ACCLIMATE_LOG);
}
