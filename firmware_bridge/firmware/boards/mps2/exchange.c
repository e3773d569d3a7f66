/* How many instructions the core takes on a Cortex-M4F, counted by QEMU with `-icount shift=10`, where an instruction
 * takes 1.024 us: the timer, at 25 MHz, then counts 25.6 for each. Prints lines of a name and a number, and ends. */
#include "machine.h"
#include "mps2.h"

#define EXCHANGES 100u
#define TARGETS 1

static uint8_t wire[ACCLIMATE_MAX_FRAME];
static size_t sent;
static acclimate_device device;
static uint8_t latches;
static uint16_t session;

static bool keep(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    (void)bytes;
    sent += length;
    return true;
}

static void sense(void *context, int32_t *values)
{
    (void)context;
    values[0] = 123456;
    values[1] = -654321;
}

static void apply(void *context, const int32_t *targets, bool driven)
{
    (void)context;
    (void)targets;
    (void)driven;
}

static void print(const char *text)
{
    for (; *text; text++) {
        while (UART0->state & UART_FULL)
            ;
        UART0->data = (uint8_t)*text;
    }
}

static void print_number(const char *name, uint32_t number)
{
    char digits[12], *at = digits + sizeof digits - 1;

    *at = 0;
    do
        *--at = (char)('0' + number % 10u);
    while (number /= 10u);
    print(name);
    print(" ");
    print(at);
    print("\n");
}

/* A frame of the host, in `wire`. */
static size_t from_host(uint8_t type, uint16_t seq, uint32_t t_us, const uint8_t *payload, size_t length)
{
    uint8_t *raw = wire + 1;

    raw[1] = type;
    raw[2] = (uint8_t)seq;
    raw[3] = (uint8_t)(seq >> 8);
    for (unsigned i = 0; i < 4; i++)
        raw[4 + i] = (uint8_t)(t_us >> (8 * i));
    raw[8] = (uint8_t)session;
    raw[9] = (uint8_t)(session >> 8);
    for (size_t i = 0; i < length; i++)
        raw[ACCLIMATE_HEADER + i] = payload[i];
    return acclimate_encode(wire, &device.layout);
}

static void prepare(const acclimate_board *board)
{
    static const uint8_t NONCE[4] = {1, 2, 3, 4};

    acclimate_begin(&device, &MACHINE, board, 1, 0, 0);
    acclimate_take(&device, wire, from_host(ACCLIMATE_HELLO, 0, 0, NONCE, 4), 0);
    session = device.session;
    latches = device.latches;
    acclimate_take(&device, wire, from_host(ACCLIMATE_CLEAR, 1, 0, &latches, 1), 0);
}

/* Timer ticks of 10 ms of a device that is driven: a CMD is taken, an OBS is sent. */
static uint32_t exchange(uint16_t seq, uint32_t now)
{
    uint8_t payload[4 + 4 * TARGETS] = {100, 0, 1, 0, (uint8_t)seq, 1, 2, 0};
    size_t length = from_host(ACCLIMATE_CMD, seq, now, payload, sizeof payload);
    uint32_t before = TIMER0->value;

    acclimate_take(&device, wire, length, now);
    acclimate_advance(&device, now + 10000u);
    return before - TIMER0->value;
}

static uint32_t nothing(void)
{
    uint32_t before = TIMER0->value;

    return before - TIMER0->value;
}

static void leave(void)
{
    static const uint32_t EXIT = 0x20026u; /* ADP_Stopped_ApplicationExit */

    __asm volatile("mov r0, #0x18\n mov r1, %0\n bkpt 0xAB" : : "r"(EXIT) : "r0", "r1");
}

int main(void)
{
    static const acclimate_board BOARD = {0, keep, sense, apply};
    uint32_t ticks = 0;

    TIMER0->reload = TIMER0->value = 0xFFFFFFFFu;
    TIMER0->control = 1;
    UART0->control = UART_SENDS;
    prepare(&BOARD);
    sent = 0;
    for (uint16_t i = 0; i < EXCHANGES; i++)
        ticks += exchange((uint16_t)(2u + i), 10000u * i) - nothing();
    print_number("instructions_per_exchange", (ticks * 10u / 256u + EXCHANGES / 2u) / EXCHANGES);
    print_number("bytes_per_exchange", sent / EXCHANGES);
    print_number("state", acclimate_state_now(&device));
    leave();
    return 0;
}
