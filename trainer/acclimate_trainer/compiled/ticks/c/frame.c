/* Roll-outs: blocks of LANES episodes, tick by tick, forwards and, from a tape of what each tick began with, backwards.
 *
 * Arrays of the caller are rows of numbers, in C order: carried (T·E, C), uniform (T or 1, U), machine (T, K, M),
 * segment (T, S), now (T·E, S, N), record (T·E, S, R). Blocks write to places of their own, so that they may run in any
 * order and at once.
 */
enum { CARRIED = @CARRIED@, FADING = @FADING@, UNIFORM = @UNIFORM@, MACHINE = @MACHINE@, NOW = @NOW@, RECORD = @RECORD@, LOGGED = @LOGGED@ };
enum { TICKS = 16 }; /* that are read, written and added up at once */
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

static void places(int64_t *place, const Block *b, int64_t of_row, int64_t of_tick)
{
    for (int l = 0; l < LANES; l++)
        place[l] = b->row[l] * of_row + of_tick;
}

/* Bring in the numbers of the machines that hold at a tick, where any of them is another than before. */
static void read_machines(lanes *machine, mask *before, const Block *b, const mask *segment)
{
    if (!memcmp(before, segment, sizeof *segment))
        return;
    *before = *segment;
    int64_t place[LANES];
    for (int l = 0; l < LANES; l++)
        place[l] = (b->task[l] * b->job->segments + (*segment)[l]) * MACHINE;
    read_rows(machine, b->job->machine, place, MACHINE);
}

/* Which numbers of the machines hold at each of some ticks. */
static void read_segments(mask *segment, const Block *b, int64_t tick, int64_t count)
{
    int64_t place[LANES];
    for (int l = 0; l < LANES; l++)
        place[l] = b->task[l] * b->job->ticks + tick;
    read_rows((lanes *)segment, (const float *)b->job->segment, place, count);
}

static void read_now(lanes *now, const Block *b, int64_t tick, int64_t count)
{
    int64_t place[LANES];
    places(place, b, b->job->ticks * NOW, tick * NOW);
    read_rows(now, b->job->now, place, count * NOW);
}

int32_t acclimate_lanes(void) { return LANES; }

void acclimate_forward(const Job *job, int64_t first, int64_t end)
{
    for (int64_t number = first; number < end; number++) {
        Block b = block_of(job, number);
        lanes carried[2][SOME(CARRIED)], machine[SOME(MACHINE)], now[TICKS * SOME(NOW)], record[TICKS * SOME(RECORD)];
        mask segment[TICKS], before = all_of(-1);
        int64_t place[LANES];
        const float *uniform = job->uniform + b.weights * job->uniform_step;
        places(place, &b, CARRIED, 0);
        read_rows(carried[0], job->carried, place, CARRIED);
        for (int64_t begin = 0; begin < job->ticks; begin += TICKS) {
            int64_t count = job->ticks - begin < TICKS ? job->ticks - begin : TICKS;
            read_now(now, &b, begin, count);
            read_segments(segment, &b, begin, count);
            for (int64_t t = 0; t < count; t++) {
                lanes *here = carried[(begin + t) & 1], *next = carried[~(begin + t) & 1];
                if (job->tape)
                    memcpy(job->tape + (number * job->ticks + begin + t) * CARRIED * LANES, here, CARRIED * sizeof(lanes));
                read_machines(machine, &before, &b, segment + t);
                tick_forward(here, uniform, machine, now + t * NOW, next, record + t * RECORD);
            }
            places(place, &b, job->ticks * RECORD, begin * RECORD);
            write_rows(job->record, record, place, count * RECORD, b.used);
        }
        places(place, &b, CARRIED, 0);
        write_rows(job->carried_out, carried[job->ticks & 1], place, CARRIED, b.used);
    }
}

/* Backwards. */

/* Each task's sum over its lanes, in their order. */
static void add_up(const lanes *sum, const Block *b, int64_t number)
{
    float *to = b->job->sums + (int64_t)b->job->sum_row[number] * UNIFORM;
    for (int64_t i = 0; i < UNIFORM; i += LANES) {
        int64_t count = UNIFORM - i < LANES ? UNIFORM - i : LANES;
        float *at = to + i;
        lanes row[LANES], total = {};
        transpose(row, sum + i);
        for (int l = 0; l < b->used; l++) {
            total = l && b->task[l] == b->task[l - 1] ? total + row[l] : row[l];
            if (l + 1 == b->used || b->task[l + 1] != b->task[l]) {
                memcpy(at, &total, count * sizeof *at);
                at += UNIFORM;
            }
        }
    }
}

static void add_machines(const lanes *d_machine, const mask *segment, const Block *b)
{
    for (int l = 0; l < b->used; l++) {
        float *to = b->job->d_machine + (b->row[l] * b->job->segments + (*segment)[l]) * MACHINE;
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
    size_t sums = (UNIFORM + LANES - 1) / LANES * LANES, room = sizeof(lanes) * (sums + TICKS * SOME(LOGGED)); /* in whole tiles */
    lanes *sum = aligned_alloc(sizeof(lanes), room), *log = sum + sums;
    if (!sum)
        return 1;
    for (int64_t number = first; number < end; number++) {
        Block b = block_of(job, number);
        lanes d_carried[2][SOME(CARRIED)], machine[SOME(MACHINE)], now[TICKS * SOME(NOW)], d_record[TICKS * SOME(RECORD)];
        lanes d_machine[SOME(MACHINE)], d_now[TICKS * SOME(NOW)];
        mask segment[TICKS], before = all_of(-1);
        int64_t place[LANES];
        const float *uniform = job->uniform + b.weights * job->uniform_step;
        memset(sum, 0, sums * sizeof(lanes));
        places(place, &b, CARRIED, 0);
        read_rows(d_carried[job->ticks & 1], job->d_carried_out, place, CARRIED);
        for (int64_t begin, after = job->ticks; after > 0; after = begin) {
            begin = after > TICKS ? after - TICKS : 0;
            int64_t count = after - begin;
            read_now(now, &b, begin, count);
            read_segments(segment, &b, begin, count);
            places(place, &b, job->ticks * RECORD, begin * RECORD);
            read_rows(d_record, job->d_record, place, count * RECORD);
            for (int64_t t = count - 1; t >= 0; t--) {
                const lanes *here = (const lanes *)(job->tape + (number * job->ticks + begin + t) * CARRIED * LANES);
                lanes *d_here = d_carried[(begin + t) & 1], *d_next = d_carried[~(begin + t) & 1];
                read_machines(machine, &before, &b, segment + t);
                scale(d_next, job->decay, FADING);
                if (job->d_machine)
                    memset(d_machine, 0, sizeof d_machine);
                tick_backward(here, uniform, machine, now + t * NOW, d_next, d_record + t * RECORD, d_here, sum, d_machine,
                              d_now + t * NOW, log + (count - 1 - t) * LOGGED);
                if (job->d_machine)
                    add_machines(d_machine, segment + t, &b);
            }
            if (job->d_now) {
                places(place, &b, job->ticks * NOW, begin * NOW);
                write_rows(job->d_now, d_now, place, count * NOW, b.used);
            }
            tick_flush(sum, log, count);
        }
        places(place, &b, CARRIED, 0);
        write_rows(job->d_carried, d_carried[0], place, CARRIED, b.used);
        add_up(sum, &b, number);
    }
    free(sum);
    return 0;
}
