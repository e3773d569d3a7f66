/* A machine that stands still, so that the firmware can be looked at on a computer. */
#include "machine.h"

#include "channels.h"

void machine_advance(uint32_t now_us)
{
    (void)now_us;
}

void machine_sense(void *context, int32_t *values)
{
    (void)context;
@STANDING@
}

void machine_apply(void *context, const int32_t *targets, bool driven)
{
    (void)context;
    (void)targets;
    (void)driven;
}
