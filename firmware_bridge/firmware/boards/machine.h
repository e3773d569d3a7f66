/* What a board drives. The boards here are written against this; what stands behind it is another matter. */
#ifndef MACHINE_H
#define MACHINE_H

#include "acclimate.h"

extern const acclimate_profile MACHINE;

void machine_advance(uint32_t now_us); /* before each acclimate_advance */
void machine_sense(void *context, int32_t *values);
void machine_apply(void *context, const int32_t *targets, bool driven);

#endif
