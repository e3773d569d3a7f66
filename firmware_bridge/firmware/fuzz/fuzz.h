/* What is fuzzed, by libFuzzer or by driver.c, and how a broken promise is told. */
#ifndef FUZZ_H
#define FUZZ_H

#include <stdio.h>
#include <stdlib.h>

#include "acclimate.h"

#define PROMISE(what)                                                   \
    do {                                                                \
        if (!(what)) {                                                  \
            fprintf(stderr, "%s:%d: broken: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                    \
        }                                                               \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#endif
