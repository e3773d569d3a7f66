#include "mps2.h"

extern uint32_t stack_top;



static void halt(void)
{
    for (;;)
        ;
}

/* A board that has no use for an interrupt need not say so. */
static void nothing(void)
{
}

#pragma weak on_uart0_received = nothing
#pragma weak on_uart0_sent = nothing
#pragma weak on_timer1 = nothing

typedef struct {
    uint32_t *stack;
    void (*exceptions[15])(void);
    void (*interrupts[10])(void);
} vectors;

__attribute__((section(".vectors"), used)) static const vectors VECTORS = {
    &stack_top,
    {reset, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt, halt},
    {[IRQ_UART0_RECEIVED] = on_uart0_received, [IRQ_UART0_SENT] = on_uart0_sent, [2] = halt, halt, halt, halt, halt,
     halt, halt, [IRQ_TIMER1] = on_timer1},
};

void reset(void)
{
    FPU_ACCESS = FPU_ACCESS | 0xFu << 20;
    __asm volatile("dsb\n isb");
    main();
    halt();
}
