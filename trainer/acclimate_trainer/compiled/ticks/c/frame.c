/* Roll-outs: blocks of LANES episodes, tick by tick, forwards and, from a tape of what each tick began with, backwards.
 *
 * Arrays of the caller are rows of numbers, in C order: carried (T·E, C), uniform (T or 1, U), machine (T, K, M),
 * segment (T, S), now (T·E, S, N), record (T·E, S, R). Blocks write to places of their own, so that they may run in any
 * order and at once.
 */
enum { CARRIED = @CARRIED@, FADING = @FADING@, UNIFORM = @UNIFORM@, MACHINE = @MACHINE@, NOW = @NOW@, RECORD = @RECORD@, LOGGED = @LOGGED@ };
enum { TICKS_IN_LOG = 16 };
#define SOME(count) ((count) ? (count) : 1)

typedef struct {
    int64_t episodes, ticks, segments, uniform_step;
    const int32_t *row;       /* of each lane of each block; -1: none */
    const int32_t *sum_row;   /* of each block, where its first task's sums go; a task's lanes are side by side */
    const int32_t *segment;
    const float *carried, *uniform, *machine, *now;
    float *carried_out, *record, *tape;
    const float *d_carried_out, *d_record;
    float *d_carried, *d_machine, *d_now, *sums;
    float decay;
} Job;

@FUNCTIONS@

typedef struct {
    const Job *job;
    int64_t row[LANES], task[LANES]; /* a lane that is not used does what the first one does */
    int used, weights;
} Block;

static Block block_of(const Job *job, int64_t number)
{
    Block b = {.job = job};
    const int32_t *row = job->row + number * LANES;
    for (int l = 0; l < LANES; l++) {
        b.used += row[l] >= 0;
        b.row[l] = row[l] >= 0 ? row[l] : row[0];
        b.task[l] = b.row[l] / job->episodes;
    }
    b.weights = (int)b.task[0];
    return b;
}

static void read_lanes(lanes *to, const float *from, const int64_t *place, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        for (int l = 0; l < LANES; l++)
            to[i][l] = from[place[l] + i];
}

static void write_lanes(float *to, const lanes *from, const int64_t *place, int64_t count, int used)
{
    for (int64_t i = 0; i < count; i++)
        for (int l = 0; l < used; l++)
            to[place[l] + i] = from[i][l];
}

static void places(int64_t *place, const Block *b, int64_t of_row, int64_t of_tick)
{
    for (int l = 0; l < LANES; l++)
        place[l] = b->row[l] * of_row + of_tick;
}

/* Bring in the numbers of the machines as they are at a tick, where any of them is another than before. */
static void read_machines(lanes *machine, int64_t *segment, const Block *b, int64_t tick)
{
    int changed = 0;
    for (int l = 0; l < LANES; l++) {
        int64_t now = b->job->segment[b->task[l] * b->job->ticks + tick];
        changed |= now != segment[l];
        segment[l] = now;
    }
    int64_t place[LANES];
    for (int l = 0; l < LANES; l++)
        place[l] = (b->task[l] * b->job->segments + segment[l]) * MACHINE;
    if (changed)
        read_lanes(machine, b->job->machine, place, MACHINE);
}

static void begin(int64_t *segment)
{
    for (int l = 0; l < LANES; l++)
        segment[l] = -1;
}

int32_t acclimate_lanes(void) { return LANES; }

void acclimate_forward(const Job *job, int64_t first, int64_t end)
{
    for (int64_t number = first; number < end; number++) {
        Block b = block_of(job, number);
        lanes carried[2][SOME(CARRIED)], machine[SOME(MACHINE)], now[SOME(NOW)], record[SOME(RECORD)];
        int64_t place[LANES], segment[LANES];
        const float *uniform = job->uniform + b.weights * job->uniform_step;
        begin(segment);
        places(place, &b, CARRIED, 0);
        read_lanes(carried[0], job->carried, place, CARRIED);
        for (int64_t tick = 0; tick < job->ticks; tick++) {
            lanes *here = carried[tick & 1];
            if (job->tape)
                memcpy(job->tape + (number * job->ticks + tick) * CARRIED * LANES, here, CARRIED * sizeof(lanes));
            read_machines(machine, segment, &b, tick);
            places(place, &b, job->ticks * NOW, tick * NOW);
            read_lanes(now, job->now, place, NOW);
            tick_forward(here, uniform, machine, now, carried[~tick & 1], record);
            places(place, &b, job->ticks * RECORD, tick * RECORD);
            write_lanes(job->record, record, place, RECORD, b.used);
        }
        places(place, &b, CARRIED, 0);
        write_lanes(job->carried_out, carried[job->ticks & 1], place, CARRIED, b.used);
    }
}

/* Backwards. */

/* Each task's sum over its lanes, in their order. */
static void add_up(const lanes *sum, const Block *b, int64_t number)
{
    float *to = b->job->sums + (int64_t)b->job->sum_row[number] * UNIFORM;
    for (int l = 0; l < b->used; l++) {
        if (l && b->task[l] != b->task[l - 1])
            to += UNIFORM;
        int begins = !l || b->task[l] != b->task[l - 1];
        for (int64_t i = 0; i < UNIFORM; i++)
            to[i] = begins ? sum[i][l] : to[i] + sum[i][l];
    }
}

static void add_machines(const lanes *d_machine, const int64_t *segment, const Block *b)
{
    for (int l = 0; l < b->used; l++) {
        float *to = b->job->d_machine + (b->row[l] * b->job->segments + segment[l]) * MACHINE;
        for (int64_t i = 0; i < MACHINE; i++)
            to[i] += d_machine[i][l];
    }
}

static void scale(lanes *x, float factor, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] *= splat(factor);
}

/* Returns 0, or 1 where there is no memory. */
int32_t acclimate_backward(const Job *job, int64_t first, int64_t end)
{
    size_t room = sizeof(lanes) * (SOME(UNIFORM) + TICKS_IN_LOG * SOME(LOGGED));
    lanes *sum = aligned_alloc(sizeof(lanes), room), *log = sum + SOME(UNIFORM);
    if (!sum)
        return 1;
    for (int64_t number = first; number < end; number++) {
        Block b = block_of(job, number);
        lanes d_carried[2][SOME(CARRIED)], machine[SOME(MACHINE)], now[SOME(NOW)], d_record[SOME(RECORD)];
        lanes d_machine[SOME(MACHINE)], d_now[SOME(NOW)];
        int64_t place[LANES], segment[LANES], logged = 0;
        const float *uniform = job->uniform + b.weights * job->uniform_step;
        memset(sum, 0, SOME(UNIFORM) * sizeof(lanes));
        begin(segment);
        places(place, &b, CARRIED, 0);
        read_lanes(d_carried[job->ticks & 1], job->d_carried_out, place, CARRIED);
        for (int64_t tick = job->ticks - 1; tick >= 0; tick--) {
            const lanes *here = (const lanes *)(job->tape + (number * job->ticks + tick) * CARRIED * LANES);
            lanes *d_next = d_carried[~tick & 1];
            read_machines(machine, segment, &b, tick);
            places(place, &b, job->ticks * NOW, tick * NOW);
            read_lanes(now, job->now, place, NOW);
            places(place, &b, job->ticks * RECORD, tick * RECORD);
            read_lanes(d_record, job->d_record, place, RECORD);
            scale(d_next, job->decay, FADING);
            if (job->d_machine)
                memset(d_machine, 0, sizeof d_machine);
            tick_backward(here, uniform, machine, now, d_next, d_record, d_carried[tick & 1], sum, d_machine, d_now,
                          log + logged * LOGGED);
            if (job->d_machine)
                add_machines(d_machine, segment, &b);
            if (job->d_now) {
                places(place, &b, job->ticks * NOW, tick * NOW);
                write_lanes(job->d_now, d_now, place, NOW, b.used);
            }
            if (++logged == TICKS_IN_LOG || tick == 0) {
                tick_flush(sum, log, logged);
                logged = 0;
            }
        }
        places(place, &b, CARRIED, 0);
        write_lanes(job->d_carried, d_carried[0], place, CARRIED, b.used);
        add_up(sum, &b, number);
    }
    free(sum);
    return 0;
}
