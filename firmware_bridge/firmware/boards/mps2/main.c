/* The device on a Cortex-M4F, as QEMU has it (mps2-an386). The UART works by interrupts, and the core sleeps where there
 * is nothing to do. */
#include "machine.h"
#include "mps2.h"

#define RING 512u /* bytes, a power of two */

/* One side puts, the other takes; one of them may be an interrupt. */
typedef struct {
    volatile uint32_t put, taken;
    uint8_t bytes[RING];
} ring;

static ring received, sending;
static acclimate_device device;

static bool ring_put(ring *r, uint8_t byte)
{
    if (r->put - r->taken == RING)
        return false;
    r->bytes[r->put % RING] = byte;
    r->put++;
    return true;
}

static bool ring_take(ring *r, uint8_t *byte)
{
    if (r->put == r->taken)
        return false;
    *byte = r->bytes[r->taken % RING];
    r->taken++;
    return true;
}

void on_uart0_received(void)
{
    UART0->interrupt = UART_RECEIVED; /* before the last byte is taken: the next one may come at once */
    while (UART0->state & UART_READY)
        ring_put(&received, (uint8_t)UART0->data);
}

void on_uart0_sent(void)
{
    uint8_t byte;

    UART0->interrupt = UART_SENT;
    while (!(UART0->state & UART_FULL) && ring_take(&sending, &byte))
        UART0->data = byte;
}

void on_timer1(void)
{
    TIMER1->control = 0; /* once is enough */
    TIMER1->interrupt = 1;
}

static bool uart_write(void *context, const uint8_t *bytes, size_t length)
{
    (void)context;
    if (RING - (sending.put - sending.taken) < length)
        return false;
    for (size_t i = 0; i < length; i++)
        ring_put(&sending, bytes[i]);
    __asm volatile("cpsid i");
    on_uart0_sent(); /* what comes then it sends by itself */
    __asm volatile("cpsie i");
    return true;
}

/* Called often enough that the timer, which wraps every 171 s, does not wrap twice. */
static uint32_t micros(void)
{
    static uint32_t last, rest, us;
    uint32_t ticks = 0u - TIMER0->value;

    rest += ticks - last;
    last = ticks;
    us += rest / TICKS_PER_US;
    rest %= TICKS_PER_US;
    return us;
}

/* Until something arrives, or `us` have passed. */
static void sleep(uint32_t us)
{
    us = us < 50000u ? us : 50000u;
    if (us == 0)
        return;
    TIMER1->value = TIMER1->reload = us * TICKS_PER_US;
    TIMER1->control = TIMER_RUNS | TIMER_IRQ;
    __asm volatile("cpsid i");
    if (received.put == received.taken)
        __asm volatile("wfi"); /* wakes also where interrupts are masked */
    __asm volatile("cpsie i");
}

static void begin(void)
{
    TIMER0->reload = TIMER0->value = 0xFFFFFFFFu;
    TIMER0->control = TIMER_RUNS;
    UART0->divider = 217; /* 115200 baud at 25 MHz; QEMU's is not paced */
    UART0->control = UART_SENDS | UART_RECEIVES | UART_SENT_IRQ | UART_RECEIVED_IRQ;
    NVIC_ENABLE = 1u << IRQ_UART0_RECEIVED | 1u << IRQ_UART0_SENT | 1u << IRQ_TIMER1;
}

int main(void)
{
    static const acclimate_board BOARD = {0, uart_write, machine_sense, machine_apply};
    uint8_t byte;

    begin();
    machine_advance(micros());
    /* Nothing here is random. A real board has a noisy input, or a count of its boots that outlives them. */
    acclimate_begin(&device, &MACHINE, &BOARD, 0xACC11A7Eu, 0, micros());
    for (;;) {
        uint32_t now = micros();
        machine_advance(now);
        acclimate_advance(&device, now);
        while (ring_take(&received, &byte))
            acclimate_take(&device, &byte, 1, now);
        sleep(acclimate_idle_us(&device));
    }
}
