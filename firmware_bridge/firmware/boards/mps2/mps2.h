/* The few registers of mps2-an386 that are needed here (Arm, AN386 and CMSDK). */
#ifndef MPS2_H
#define MPS2_H

#include <stdint.h>

typedef struct {
    volatile uint32_t data, state, control, interrupt, divider;
} mps2_uart;

typedef struct {
    volatile uint32_t control, value, reload, interrupt;
} mps2_timer;

#define UART0 ((mps2_uart *)0x40004000u)
#define TIMER0 ((mps2_timer *)0x40000000u) /* counts down at 25 MHz */
#define TIMER1 ((mps2_timer *)0x40001000u)
#define NVIC_ENABLE (*(volatile uint32_t *)0xE000E100u)
#define FPU_ACCESS (*(volatile uint32_t *)0xE000ED88u)

enum { UART_FULL = 1, UART_READY = 2 };                                   /* state: sending, received */
enum { UART_SENDS = 1, UART_RECEIVES = 2, UART_SENT_IRQ = 4, UART_RECEIVED_IRQ = 8 }; /* control */
enum { UART_SENT = 1, UART_RECEIVED = 2 };                                /* interrupt; written to clear */
enum { TIMER_RUNS = 1, TIMER_IRQ = 8 };
enum { IRQ_UART0_RECEIVED = 0, IRQ_UART0_SENT = 1, IRQ_TIMER1 = 9 };
#define TICKS_PER_US 25u

void on_uart0_received(void);
void on_uart0_sent(void);
void on_timer1(void);
int main(void);
void reset(void);

#endif
