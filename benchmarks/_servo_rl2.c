/* RL² on servos and its adjoint, written by hand: what compiled roll-outs are measured against.
 *
 * The equations are those of networks/recurrent.py, algorithms/rl2/rl2.py and tasks/servo/dynamics.py. Vectors, tanh
 * and the like are those of compiled/ticks/c/lanes.c, which comes before this file; compiler and flags are the same.
 */
#include <stddef.h>

#define RATE 100.0f
#define STOP 1.7f
#define FLOOR 0.1f
enum { IN = 6, HIDDEN = 17, GATES = 3 * HIDDEN, LAG = 4, SERVO = 6 + LAG };

/* Of numbers in the net, and of lanes in its gradient. */
#define NET(number)                                                                                       \
    struct {                                                                                              \
        number input[IN][GATES], input_bias[GATES], recurrent[HIDDEN][GATES], recurrent_bias[GATES];      \
        number direct[IN], offset[HIDDEN], gain[HIDDEN], gain_bias, offset_bias, sigma;                   \
    }
typedef NET(float) Net;
typedef NET(lanes) NetGradient;

typedef struct {
    lanes decay, drive, gravity, friction, before, after, lag[LAG];
} Servo;

typedef struct {
    lanes hidden[HIDDEN], previous, begins, q, omega, measured, commands[LAG], earlier;
} State; /* `earlier`, the reading before the last, is the only one whose gradient does not fade */

typedef struct {
    lanes x[IN], r[HIDDEN], z[HIDDEN], n[HIDDEN], h_n[HIDDEN];
    lanes straight, gain, root, mean, action, free, slides, moved;
} Kept;

typedef struct {
    int64_t rows, ticks;
    float decay;
    const float *net, *servo, *start, *reference, *noise, *encoder; /* (rows, …), row by row */
    float *obs, *action;                                            /* (rows, ticks, 4), (rows, ticks) */
    const float *d_obs, *d_action;
    float *gradient; /* (rows, numbers of the net), each row's own */
} Job;

INLINE lanes fetch(const float *from, int64_t row, int64_t step)
{
    lanes x;
    for (int l = 0; l < LANES; l++)
        x[l] = from[(row + l) * step];
    return x;
}

INLINE void put(float *to, int64_t row, int64_t step, lanes x)
{
    for (int l = 0; l < LANES; l++)
        to[(row + l) * step] = x[l];
}

INLINE lanes clipped(lanes x, lanes low, lanes high) { return at_most(at_least(x, low), high); }

static void observe(lanes *obs, const State *s, lanes target, lanes rate)
{
    obs[0] = s->measured;
    obs[1] = (s->measured - s->earlier) * RATE;
    obs[2] = target;
    obs[3] = rate;
}

static void act(Kept *k, const Net *net, const State *s, const lanes *obs, lanes noise, lanes *hidden)
{
    k->x[0] = tanh_of((obs[2] - obs[0]) * 6.0f);
    k->x[1] = tanh_of(obs[1] * 0.12f);
    k->x[2] = tanh_of(obs[3] * 0.4f);
    k->x[3] = tanh_of(obs[0] * 0.4f);
    k->x[4] = tanh_of(s->previous * 0.7f);
    k->x[5] = tanh_of(s->begins);
    lanes of_x[GATES], of_h[GATES];
    for (int j = 0; j < GATES; j++) {
        lanes a = splat(net->input_bias[j]), b = splat(net->recurrent_bias[j]);
        for (int i = 0; i < IN; i++)
            a += net->input[i][j] * k->x[i];
        for (int i = 0; i < HIDDEN; i++)
            b += net->recurrent[i][j] * s->hidden[i];
        of_x[j] = a;
        of_h[j] = b;
    }
    lanes gain = splat(net->gain_bias), y = splat(net->offset_bias), straight = {};
    for (int i = 0; i < HIDDEN; i++) {
        k->r[i] = sigmoid_of(of_x[i] + of_h[i]);
        k->z[i] = sigmoid_of(of_x[HIDDEN + i] + of_h[HIDDEN + i]);
        k->h_n[i] = of_h[2 * HIDDEN + i];
        k->n[i] = tanh_of(of_x[2 * HIDDEN + i] + k->r[i] * k->h_n[i]);
        hidden[i] = k->n[i] + k->z[i] * (s->hidden[i] - k->n[i]);
        gain += net->gain[i] * hidden[i];
        y += net->offset[i] * hidden[i];
    }
    for (int i = 0; i < IN; i++)
        straight += net->direct[i] * k->x[i];
    y += straight * gain;
    k->straight = straight;
    k->gain = gain;
    k->root = splat(1.0f) / square_root(splat(1.0f) + y * y);
    k->mean = y * k->root;
    k->action = k->mean + (net->sigma < FLOOR ? FLOOR : net->sigma) * noise;
}

static void move(State *to, Kept *k, const State *s, const Servo *c, lanes encoder)
{
    to->commands[0] = clipped(k->action, splat(-1.0f), splat(1.0f));
    for (int i = 1; i < LAG; i++)
        to->commands[i] = s->commands[i - 1];
    lanes command = {};
    for (int i = 0; i < LAG; i++)
        command += c->lag[i] * to->commands[i];
    k->free = c->decay * s->omega + c->drive * command + c->gravity * sin_of(s->q);
    lanes omega = k->free - clipped(k->free, -c->friction, c->friction);
    k->moved = s->q + c->before * s->omega + c->after * omega;
    to->q = clipped(k->moved, splat(-STOP), splat(STOP));
    k->slides = one_if(to->q == k->moved);
    to->omega = k->slides * omega;
    to->measured = to->q + encoder;
    to->earlier = s->measured;
    to->previous = to->commands[0];
    to->begins = splat(0.0f);
}

static void tick(State *to, Kept *k, const Net *net, const Servo *c, const State *s, lanes *obs, const Job *job,
                 int64_t row, int64_t t)
{
    const float *reference = job->reference + 2 * t;
    observe(obs, s, fetch(reference, row, 2 * job->ticks), fetch(reference + 1, row, 2 * job->ticks));
    act(k, net, s, obs, fetch(job->noise + t, row, job->ticks), to->hidden);
    move(to, k, s, c, fetch(job->encoder + t, row, job->ticks));
}

/* From the gradient of what a tick makes, `d` by its state and `d_action`, to that of what it is made of. */
static void move_back(State *d, lanes *d_action, const Kept *k, const State *s, const Servo *c)
{
    mask inside = (k->moved > splat(-STOP)) & (k->moved < splat(STOP));
    lanes d_moved = choose(inside, d->q + d->measured, splat(0.0f));
    lanes d_omega = k->slides * d->omega + c->after * d_moved;
    mask sticks = (k->free >= -c->friction) & (k->free <= c->friction);
    lanes d_free = choose(sticks, splat(0.0f), d_omega);
    mask unclipped = (k->action > splat(-1.0f)) & (k->action < splat(1.0f));
    lanes d_command = c->drive * d_free, d_newest = d->commands[0] + c->lag[0] * d_command + d->previous;
    *d_action += choose(unclipped, d_newest, splat(0.0f));
    for (int i = 1; i < LAG; i++)
        d->commands[i - 1] = d->commands[i] + c->lag[i] * d_command;
    d->commands[LAG - 1] = splat(0.0f);
    d->omega = c->decay * d_free + c->before * d_moved;
    d->q = d_moved + c->gravity * cos_of(s->q) * d_free;
    d->measured = d->earlier;
    d->earlier = splat(0.0f);
    d->previous = splat(0.0f);
}

static void act_back(State *d, NetGradient *g, const lanes *d_obs, lanes d_action, const Kept *k, const Net *net,
                     const State *s, const lanes *hidden, lanes noise)
{
    lanes d_x[IN], d_h[HIDDEN], d_of_x[GATES], d_of_h[GATES];
    if (net->sigma >= FLOOR)
        g->sigma += d_action * noise;
    lanes d_y = d_action * k->root * k->root * k->root;
    lanes d_straight = d_y * k->gain, d_gain = d_y * k->straight;
    g->gain_bias += d_gain;
    g->offset_bias += d_y;
    for (int i = 0; i < IN; i++) {
        g->direct[i] += d_straight * k->x[i];
        d_x[i] = d_straight * net->direct[i];
    }
    for (int i = 0; i < HIDDEN; i++) {
        lanes d_new = d->hidden[i] + d_gain * net->gain[i] + d_y * net->offset[i];
        g->gain[i] += d_gain * hidden[i];
        g->offset[i] += d_y * hidden[i];
        lanes d_z = d_new * (s->hidden[i] - k->n[i]), d_n = d_new * (splat(1.0f) - k->z[i]);
        lanes d_inner = d_n * (splat(1.0f) - k->n[i] * k->n[i]), d_r = d_inner * k->h_n[i];
        d_h[i] = d_new * k->z[i];
        d_of_x[i] = d_of_h[i] = d_r * k->r[i] * (splat(1.0f) - k->r[i]);
        d_of_x[HIDDEN + i] = d_of_h[HIDDEN + i] = d_z * k->z[i] * (splat(1.0f) - k->z[i]);
        d_of_x[2 * HIDDEN + i] = d_inner;
        d_of_h[2 * HIDDEN + i] = d_inner * k->r[i];
    }
    for (int j = 0; j < GATES; j++) {
        g->input_bias[j] += d_of_x[j];
        g->recurrent_bias[j] += d_of_h[j];
    }
    for (int i = 0; i < IN; i++) {
        lanes sum = d_x[i];
        for (int j = 0; j < GATES; j++) {
            g->input[i][j] += k->x[i] * d_of_x[j];
            sum += net->input[i][j] * d_of_x[j];
        }
        d_x[i] = sum * (splat(1.0f) - k->x[i] * k->x[i]);
    }
    for (int i = 0; i < HIDDEN; i++) {
        lanes sum = d_h[i];
        for (int j = 0; j < GATES; j++) {
            g->recurrent[i][j] += s->hidden[i] * d_of_h[j];
            sum += net->recurrent[i][j] * d_of_h[j];
        }
        d->hidden[i] = sum;
    }
    d->previous += d_x[4] * 0.7f;
    lanes d_velocity = (d_obs[1] + d_x[1] * 0.12f) * RATE;
    d->measured += d_obs[0] - d_x[0] * 6.0f + d_x[3] * 0.4f + d_velocity;
    d->earlier -= d_velocity;
}

static void fade(State *d, float factor)
{
    lanes *x = (lanes *)d;
    for (size_t i = 0; i < offsetof(State, earlier) / sizeof(lanes); i++)
        x[i] *= factor;
}

static void begin(State *s, Servo *c, const Job *job, int64_t row)
{
    memset(s, 0, sizeof *s);
    s->begins = splat(1.0f);
    s->q = s->measured = s->earlier = fetch(job->start, row, 1);
    for (int i = 0; i < SERVO; i++)
        ((lanes *)c)[i] = fetch(job->servo + i, row, SERVO);
}

int32_t by_hand(const Job *job)
{
    const Net *net = (const Net *)job->net;
    State *tape = aligned_alloc(sizeof(lanes), (job->ticks + 1) * sizeof(State));
    if (!tape)
        return 1;
    for (int64_t row = 0; row < job->rows; row += LANES) {
        Servo c;
        Kept k;
        lanes obs[4], d_obs[4];
        begin(tape, &c, job, row);
        for (int64_t t = 0; t < job->ticks; t++) {
            tick(tape + t + 1, &k, net, &c, tape + t, obs, job, row, t);
            for (int i = 0; i < 4; i++)
                put(job->obs + 4 * t + i, row, 4 * job->ticks, obs[i]);
            put(job->action + t, row, job->ticks, k.action);
        }
        State d = {};
        NetGradient g = {};
        for (int64_t t = job->ticks - 1; t >= 0; t--) {
            State next;
            tick(&next, &k, net, &c, tape + t, obs, job, row, t);
            for (int i = 0; i < 4; i++)
                d_obs[i] = fetch(job->d_obs + 4 * t + i, row, 4 * job->ticks);
            lanes d_action = fetch(job->d_action + t, row, job->ticks);
            fade(&d, job->decay);
            move_back(&d, &d_action, &k, tape + t, &c);
            act_back(&d, &g, d_obs, d_action, &k, net, tape + t, next.hidden,
                     fetch(job->noise + t, row, job->ticks));
        }
        const lanes *sums = (const lanes *)&g;
        for (size_t i = 0; i < sizeof(Net) / sizeof(float); i++)
            put(job->gradient + i, row, sizeof(Net) / sizeof(float), sums[i]);
    }
    free(tape);
    return 0;
}
