/* The device as a program on this computer, on a pseudo-terminal that is as slow as a serial line.
 *
 *     device [BAUD]     115200; 0 for a line that is not slow
 *
 * Prints the port and serves it until it is ended. SIGUSR1 restarts the device. */
#define _DEFAULT_SOURCE /* cfmakeraw */
#define _XOPEN_SOURCE 700

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "machine.h"

#define BITS 10u /* of a byte on the wire */
#define LONGEST_WAIT_NS 50000000u

/* A serial port's two directions, at the speed of the wire. Times are of the monotonic clock, in ns. */
static struct {
    int master;
    uint64_t byte_ns;
    uint64_t out_free, in_free; /* until when the wire is busy */
    uint8_t out[512], in[128];
    size_t queued, arriving;
} line;

static volatile sig_atomic_t restart;

static void on_restart(int number)
{
    (void)number;
    restart = 1;
}

static uint64_t now_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint32_t us(uint64_t ns)
{
    return (uint32_t)(ns / 1000u);
}

static bool line_write(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    if (line.queued + length > sizeof line.out)
        return false;
    if (line.queued == 0 && line.out_free < now_ns())
        line.out_free = now_ns();
    memcpy(line.out + line.queued, bytes, length);
    line.queued += length;
    return true;
}

/* Let out what has left the wire by now. What a full terminal does not take is lost, as on a wire. */
static void line_flush(uint64_t now)
{
    size_t gone = line.queued;

    if (line.byte_ns && now >= line.out_free && (now - line.out_free) / line.byte_ns < gone)
        gone = (size_t)((now - line.out_free) / line.byte_ns);
    if (gone == 0 || now < line.out_free)
        return;
    if (write(line.master, line.out, gone) < 0 && errno != EAGAIN)
        perror("device");
    line.queued -= gone;
    memmove(line.out, line.out + gone, line.queued);
    line.out_free += gone * line.byte_ns;
}

/* How many bytes have arrived whole by now. */
static size_t line_read(uint64_t now)
{
    if (line.arriving == 0) {
        ssize_t n = read(line.master, line.in, sizeof line.in);
        if (n <= 0)
            return 0;
        line.arriving = (size_t)n;
        line.in_free = (line.in_free > now ? line.in_free : now) + (size_t)n * line.byte_ns;
    }
    return line.in_free <= now ? line.arriving : 0;
}

static void line_wait(uint64_t now, uint64_t until)
{
    fd_set ports;
    uint64_t emptied = line.out_free + line.queued * line.byte_ns, wait;
    struct timespec time = {0, 0};

    until = line.queued && emptied < until ? emptied : until;
    until = line.arriving && line.in_free < until ? line.in_free : until;
    wait = until > now ? until - now : 0;
    time.tv_nsec = (long)(wait < LONGEST_WAIT_NS ? wait : LONGEST_WAIT_NS);
    FD_ZERO(&ports);
    if (line.arriving == 0)
        FD_SET(line.master, &ports);
    pselect(line.master + 1, &ports, NULL, NULL, &time, NULL);
}

static uint32_t random_number(void)
{
    uint32_t number = (uint32_t)now_ns();
    FILE *file = fopen("/dev/urandom", "rb");

    if (file) {
        if (fread(&number, sizeof number, 1, file) != 1)
            perror("device");
        fclose(file);
    }
    return number;
}

static bool line_open(unsigned long baud)
{
    struct termios raw;
    int slave;
    const char *name;

    line.byte_ns = baud ? BITS * 1000000000u / baud : 0;
    line.master = posix_openpt(O_RDWR | O_NOCTTY);
    if (line.master < 0 || grantpt(line.master) || unlockpt(line.master))
        return false;
    name = ptsname(line.master);
    slave = name ? open(name, O_RDWR | O_NOCTTY) : -1; /* kept open, so that hosts may come and go */
    if (slave < 0 || tcgetattr(slave, &raw))
        return false;
    cfmakeraw(&raw);
    if (tcsetattr(slave, TCSANOW, &raw) || fcntl(line.master, F_SETFL, O_NONBLOCK) < 0)
        return false;
    printf("%s\n", name);
    return fflush(stdout) == 0;
}

static void serve(acclimate_device *device, const acclimate_board *board)
{
    for (;;) {
        uint64_t now = now_ns();
        size_t arrived = line_read(now);

        if (restart) {
            restart = 0;
            acclimate_begin(device, &MACHINE, board, random_number(), 0, us(now));
        }
        machine_advance(us(now));
        acclimate_take(device, line.in, arrived, us(now));
        line.arriving -= arrived;
        acclimate_advance(device, us(now));
        line_flush(now);
        line_wait(now_ns(), now + 1000u * (uint64_t)acclimate_idle_us(device));
    }
}

int main(int argc, char **argv)
{
    static acclimate_device device;
    const acclimate_board board = {NULL, line_write, machine_sense, machine_apply};
    struct sigaction restarting;

    memset(&restarting, 0, sizeof restarting);
    restarting.sa_handler = on_restart;
    sigaction(SIGUSR1, &restarting, NULL);
#ifdef __linux__
    prctl(PR_SET_TIMERSLACK, 1);
#endif
    if (!line_open(argc > 1 ? strtoul(argv[1], NULL, 10) : 115200)) {
        perror("device: no pseudo-terminal");
        return 1;
    }
    machine_advance(us(now_ns()));
    acclimate_begin(&device, &MACHINE, &board, random_number(), 0, us(now_ns()));
    serve(&device, &board);
}
