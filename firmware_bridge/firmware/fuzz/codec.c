/* Any bytes: no access outside, and whatever is read as a frame is sent as one that is read as the same. */
#include <string.h>

#include "fuzz.h"

static void sent_alike(const acclimate_layout *layout, const uint8_t *raw, size_t length)
{
    uint8_t wire[ACCLIMATE_MAX_FRAME];
    acclimate_decoder decoder = {0};
    size_t sent;

    memcpy(wire + 1, raw, length);
    sent = acclimate_encode(wire, layout);
    PROMISE(sent == length + 6 && sent <= sizeof wire);
    for (size_t i = 0; i + 1 < sent; i++)
        PROMISE(wire[i] != 0 && acclimate_decode(&decoder, layout, wire[i]) == ACCLIMATE_MORE);
    PROMISE(wire[sent - 1] == 0 && acclimate_decode(&decoder, layout, 0) == ACCLIMATE_FRAME);
    PROMISE(memcmp(decoder.bytes + 1, raw, length) == 0);
}

/* The first bytes say how many channels there are. What follows arrives as it is, and then once more as a sealed frame. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    acclimate_layout layout = {acclimate_seed(0x12345678), 0, 0};
    acclimate_decoder decoder = {0};

    if (size < 2)
        return 0;
    layout.sensors = data[0] % (ACCLIMATE_MAX_SENSORS + 1);
    layout.actuators = data[1] % (ACCLIMATE_MAX_ACTUATORS + 1);
    for (size_t i = 2; i < size; i++) {
        size_t length = decoder.length;
        acclimate_verdict verdict = acclimate_decode(&decoder, &layout, data[i]);
        if (verdict == ACCLIMATE_FRAME)
            sent_alike(&layout, decoder.bytes + 1, length - 5);
    }
    if (size >= 2 + ACCLIMATE_HEADER) {
        uint8_t raw[ACCLIMATE_MAX_FRAME] = {0};
        acclimate_decoder other = {0};
        memcpy(raw + 1, data + 2, size - 2 < 122 ? size - 2 : 122);
        raw[2] = (uint8_t)(1 + raw[2] % (ACCLIMATE_TYPES - 1));
        for (size_t i = 0, sent = acclimate_encode(raw, &layout); i < sent; i++)
            PROMISE(acclimate_decode(&other, &layout, raw[i]) == (i + 1 < sent ? ACCLIMATE_MORE : ACCLIMATE_FRAME));
    }
    return 0;
}
